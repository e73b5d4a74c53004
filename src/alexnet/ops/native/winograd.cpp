// The two linear maps around the products of a 3 x 3 convolution by Winograd's F(2 x 2, 3 x 3) (alexnet/ops/winograd.py).
//
// A map of H x W pixels has R x Q tiles of 2 x 2 output pixels; each reads 4 x 4 input pixels, from one row and column
// before its own on. Pixels outside the map count as zero. Maps are channels last; between the two maps values lie as
// [16 points][groups][images * R * Q tiles][channels of the group].
//
// With AVX-512 BF16 the products are here too: weights that do not change lie as its instruction reads them, and are read
// once, where a library's product of matrices would lay them out anew for each image.
#include "exports.h"

namespace {

struct Winograd {
    int64_t images, height, width;     // of the maps, in and out
    int64_t rows, columns;             // of tiles
    int64_t groups, channels;          // channels of one group: of the input to split, of the output to join
    int32_t relu, threads;
};

constexpr int SIDE = 4, POINTS = SIDE * SIDE;

// B^T d for one row or column of four: (d0 - d2, d1 + d2, d2 - d1, d1 - d3).
inline void spread(const Floats* d, long step, Floats* out, long out_step) {
    out[0] = d[0] - d[2 * step];
    out[out_step] = d[step] + d[2 * step];
    out[2 * out_step] = d[2 * step] - d[step];
    out[3 * out_step] = d[step] - d[3 * step];
}

// A^T m for one row or column of four: (m0 + m1 + m2, m1 - m2 - m3).
inline void gather(const Floats* m, long step, Floats* out, long out_step) {
    out[0] = m[0] + m[step] + m[2 * step];
    out[out_step] = m[step] - m[2 * step] - m[3 * step];
}

template <class T>
void split(const Winograd& job, const T* x, T* v) {
    const long wide = job.groups * job.channels, tiles = job.images * job.rows * job.columns;
    parallel(job.images * job.rows, job.threads, 0, [&](long task, float*) {
        const T* image = x + task / job.rows * job.height * job.width * wide;
        const long top = task % job.rows * 2 - 1;
        for (long column = 0; column < job.columns; column++)
            for (long channel = 0; channel < wide; channel += LANES) {
                const long group = channel / job.channels;
                Floats d[POINTS], half[POINTS], out[POINTS];
                for (long i = 0; i < POINTS; i++) {
                    const long row = top + i / SIDE, place = column * 2 - 1 + i % SIDE;
                    const bool inside = row >= 0 && row < job.height && place >= 0 && place < job.width;
                    d[i] = inside ? load(image + (row * job.width + place) * wide + channel) : all(0);
                }
                for (long i = 0; i < SIDE; i++) spread(d + i, SIDE, half + i, SIDE);
                for (long i = 0; i < SIDE; i++) spread(half + SIDE * i, 1, out + SIDE * i, 1);
                T* to = v + (group * tiles + task * job.columns + column) * job.channels + channel % job.channels;
                for (long i = 0; i < POINTS; i++) store(to + i * tiles * wide, out[i]);
            }
    });
}

template <class T>
void join(const Winograd& job, const T* m, const float* bias, T* y) {
    const long wide = job.groups * job.channels, tiles = job.images * job.rows * job.columns;
    const float floor = job.relu ? 0.0f : -__builtin_inff();
    parallel(job.images * job.rows, job.threads, 0, [&](long task, float*) {
        T* image = y + task / job.rows * job.height * job.width * wide;
        const long top = task % job.rows * 2;
        for (long column = 0; column < job.columns; column++)
            for (long channel = 0; channel < wide; channel += LANES) {
                const long group = channel / job.channels;
                const T* from = m + (group * tiles + task * job.columns + column) * job.channels + channel % job.channels;
                Floats d[POINTS], half[2 * SIDE], out[4];
                for (long i = 0; i < POINTS; i++) d[i] = load(from + i * tiles * wide);
                for (long i = 0; i < SIDE; i++) gather(d + i, SIDE, half + i, SIDE);
                for (long i = 0; i < 2; i++) gather(half + SIDE * i, 1, out + 2 * i, 1);
                for (long i = 0; i < 4; i++) {
                    const long row = top + i / 2, place = column * 2 + i % 2;
                    if (row < job.height && place < job.width)
                        store(image + (row * job.width + place) * wide + channel,
                              at_least(out[i] + load(bias + channel), floor));
                }
            }
    });
}

#if defined(__AVX512BF16__)

constexpr int MOST_ROWS = 6, MOST_COLUMNS = 4;  // 24 sums, 4 vectors of weights and a pair of inputs in 32 registers

// ROWS rows of the input by COLUMNS * 16 columns of the weights: sums of products of `pairs` pairs of channels.
// input: [rows][2 * pairs]; weights: [columns / 16][pairs][16][2]; output: [rows][wide].
template <int ROWS, int COLUMNS>
void product(long pairs, const bf16* input, const bf16* weights, bf16* output, long wide) {
    __m512 sums[ROWS][COLUMNS];
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < COLUMNS; column++) sums[row][column] = _mm512_setzero_ps();
    for (long pair = 0; pair < pairs; pair++) {
        __m512bh right[COLUMNS];
        for (int column = 0; column < COLUMNS; column++)
            right[column] = bits_of<__m512bh>(_mm512_loadu_si512(weights + (column * pairs + pair) * 2 * LANES));
        for (int row = 0; row < ROWS; row++) {
            int32_t both;
            std::memcpy(&both, input + (row * pairs + pair) * 2, sizeof both);
            const __m512bh left = bits_of<__m512bh>(_mm512_set1_epi32(both));
            for (int column = 0; column < COLUMNS; column++)
                sums[row][column] = _mm512_dpbf16_ps(sums[row][column], left, right[column]);
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < COLUMNS; column++)
            store(output + row * wide + column * LANES, bits_of<Floats>(sums[row][column]));
}

// As `product`, for a number of rows from 1 to ROWS.
template <int ROWS, int COLUMNS>
void product_of(long rows, long pairs, const bf16* input, const bf16* weights, bf16* output, long wide) {
    if (rows >= ROWS)
        product<ROWS, COLUMNS>(pairs, input, weights, output, wide);
    else if constexpr (ROWS > 1)
        product_of<ROWS - 1, COLUMNS>(rows, pairs, input, weights, output, wide);
}

// As `product`, for any number of rows and 1 to COLUMNS vectors of columns.
template <int COLUMNS>
void products_of(long columns, long rows, long pairs, const bf16* input, const bf16* weights, bf16* output, long wide) {
    if (columns >= COLUMNS)
        for (long row = 0; row < rows; row += MOST_ROWS)
            product_of<MOST_ROWS, COLUMNS>(
                rows - row, pairs, input + row * pairs * 2, weights, output + row * wide, wide);
    else if constexpr (COLUMNS > 1)
        products_of<COLUMNS - 1>(columns, rows, pairs, input, weights, output, wide);
}

// At each point and in each group the product of all tiles with the weights, [points * groups] of `product`'s layout.
void multiply(const Winograd& in, long outputs, const bf16* v, const bf16* weights, bf16* m) {
    const long tiles = in.images * in.rows * in.columns, pairs = in.channels / 2, vectors = outputs / LANES;
    const long parts = (vectors + MOST_COLUMNS - 1) / MOST_COLUMNS;
    parallel(POINTS * in.groups * parts, in.threads, 0, [&](long task, float*) {
        const long matrix = task / parts, first = task % parts * MOST_COLUMNS;
        products_of<MOST_COLUMNS>(vectors - first, tiles, pairs, v + matrix * tiles * in.channels,
                                  weights + (matrix * outputs + first * LANES) * in.channels,
                                  m + matrix * tiles * outputs + first * LANES, outputs);
    });
}

#endif

}  // namespace

#if defined(__AVX512BF16__)
// The whole convolution; v and m are memory for the values before and after the products.
EXPORT NAME(winograd, convolve, bfloat16, ISA)(const Winograd* in, const Winograd* out, const bf16* x,
                                               const bf16* weights, const float* bias, bf16* v, bf16* m, bf16* y) {
    split(*in, x, v);
    multiply(*in, out->channels, v, weights, m);
    join(*out, m, bias, y);
}
#endif

EXPORT NAME(winograd, split, float32, ISA)(const Winograd* job, const float* x, float* v) { split(*job, x, v); }
EXPORT NAME(winograd, split, bfloat16, ISA)(const Winograd* job, const bf16* x, bf16* v) { split(*job, x, v); }
EXPORT NAME(winograd, join, float32, ISA)(const Winograd* job, const float* m, const float* bias, float* y) {
    join(*job, m, bias, y);
}
EXPORT NAME(winograd, join, bfloat16, ISA)(const Winograd* job, const bf16* m, const float* bias, bf16* y) {
    join(*job, m, bias, y);
}
