// Space-to-depth transform that turns a strided convolution into one with stride 1 (alexnet/ops/blocks.py).
//
// An output pixel holds a block of stride x stride image pixels, row by row in memory order, followed by zeros up to
// `channels`. Pixels outside the image count as zero.
#include "exports.h"

namespace {

struct Blocks {
    int64_t images, height, width, colors;  // the input, channels last
    int64_t stride, padding;                // of the convolution
    int64_t rows, columns, channels;        // the output, channels last
    int32_t threads;
};

// Copies the values from `from` to `to` of a row that exist to their position in a block.
template <class T>
inline void copy_run(const T* row, long from, long to, long pitch, T* block) {
    const long begin = from < 0 ? 0 : from, end = to < pitch ? to : pitch;
    for (long i = begin; i < end; i++) block[i - from] = row[i];
}

template <class T>
void gather(const Blocks& job, const T* x, T* out) {
    const long pitch = job.width * job.colors, run = job.stride * job.colors;
    parallel(job.images * job.rows, job.threads, 0, [&](long task, float*) {
        const T* image = x + task / job.rows * job.height * pitch;
        const long top = task % job.rows * job.stride - job.padding;
        T* target = out + task * job.columns * job.channels;
        std::memset(target, 0, job.columns * job.channels * sizeof(T));
        for (long y = top < 0 ? 0 : top; y < top + job.stride && y < job.height; y++)
            for (long column = 0; column < job.columns; column++) {
                const long from = (column * job.stride - job.padding) * job.colors;
                copy_run(image + y * pitch, from, from + run, pitch, target + column * job.channels + (y - top) * run);
            }
    });
}

}  // namespace

EXPORT NAME(blocks, gather, float32, ISA)(const Blocks* job, const float* x, float* out) { gather(*job, x, out); }
EXPORT NAME(blocks, gather, bfloat16, ISA)(const Blocks* job, const bf16* x, bf16* out) { gather(*job, x, out); }
