// Mixup and CutMix within a batch, in place (Zhang et al. 2017; Yun et al. 2019).
//
// Image n of N is mixed with its partner, image N - 1 - n: share * x + (1 - share) * partner outside the box, the partner
// inside it. Images are (size, size, 3).
#include "exports.h"

namespace {

struct Mixed {
    float share;                        // 0..1, the weight of image n
    int32_t top, bottom, left, right;  // rows top ... bottom - 1; empty if bottom == top
};

// out <- share * x + (1 - share) * other, values from `begin` to `end` of a row.
template <class T>
void blend(const float* x, const float* other, float share, long begin, long end, T* out) {
    for (long i = begin; i < end; i += LANES) {
        Floats partner = load(other + i, end - i);
        store(out + i, partner + share * (load(x + i, end - i) - partner), end - i);
    }
}

template <class T>
void mix_row(const Mixed& how, long y, const float* x, const float* other, long size, T* out) {
    const bool boxed = y >= how.top && y < how.bottom;
    const long left = boxed ? how.left : size, right = boxed ? how.right : size;
    blend(x, other, how.share, 0, 3 * left, out);
    blend(x, other, 0.0f, 3 * left, 3 * right, out);
    blend(x, other, how.share, 3 * right, 3 * size, out);
}

template <class T>
void read_row(const T* from, long values, float* row) {
    for (long i = 0; i < values; i += LANES) store(row + i, load(from + i, values - i));
}

template <class T>
void mix(long count, long size, int threads, const Mixed* how, T* images) {
    const long values = 3 * size, pixels = size * values;
    parallel((count + 1) / 2, threads, 2 * padded(values), [&](long n, float* own) {
        const long m = count - 1 - n;
        T *one = images + n * pixels, *two = images + m * pixels;
        float *x = own, *other = own + padded(values);
        for (long y = 0; y < size; y++) {
            read_row(one + y * values, values, x);
            read_row(two + y * values, values, other);
            mix_row(how[n], y, x, other, size, one + y * values);
            if (n != m) mix_row(how[m], y, other, x, size, two + y * values);
        }
    });
}

}  // namespace

#define EXPORT_MIX(T, type)                                                                            \
    EXPORT NAME(mix, images, type, ISA)(int64_t count, int64_t size, int32_t threads, const Mixed* how, T* images) { \
        mix(count, size, threads, how, images);                                                        \
    }

EXPORT_MIX(float, float32)
EXPORT_MIX(bf16, bfloat16)
