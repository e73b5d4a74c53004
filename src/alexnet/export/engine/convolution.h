// Convolutions in groups: directly, or transformed (Winograd; Lavin and Gray 2015, arXiv 1509.09308).
#pragma once
#include "weights.h"

enum { MOST = 6, SIDE = 6, PLACES = SIDE * SIDE };  // rows in a product; the transformed tile

// The inputs of an output pixel: `outer` times `inner` runs of `length` floats, so far from each other.
typedef struct {
    int outer, outer_jump, inner, inner_jump, length;
} Window;

// sum (rows, 8) += windows at `at` x weights (window, 8). `rows` is a constant wherever this is called.
__attribute__((always_inline)) static inline void multiply(int rows, const float* const* at, Window window,
                                                           const float* weights, V (*sum)[2]) {
    V total[MOST][2];
    for (int row = 0; row < rows; row++) total[row][0] = sum[row][0], total[row][1] = sum[row][1];
    for (int y = 0; y < window.outer; y++)
        for (int x = 0; x < window.inner; x++) {
            const float* from[MOST];
            for (int row = 0; row < rows; row++) from[row] = at[row] + y * window.outer_jump + x * window.inner_jump;
            for (int i = 0; i < window.length; i++, weights += BLOCK) {
                const V first = load(weights), second = load(weights + LANES);
#pragma clang loop unroll(full)
                for (int row = 0; row < rows; row++) {
                    const V value = splat(from[row][i]);
                    total[row][0] = madd(value, first, total[row][0]);
                    total[row][1] = madd(value, second, total[row][1]);
                }
            }
        }
    for (int row = 0; row < rows; row++) sum[row][0] = total[row][0], sum[row][1] = total[row][1];
}

static void multiply_rows(int rows, const float* const* at, Window window, const float* weights, V (*sum)[2]) {
    switch (rows) {
        case 1: return multiply(1, at, window, weights, sum);
        case 2: return multiply(2, at, window, weights, sum);
        case 3: return multiply(3, at, window, weights, sum);
        case 4: return multiply(4, at, window, weights, sum);
        case 5: return multiply(5, at, window, weights, sum);
        default: return multiply(6, at, window, weights, sum);
    }
}

typedef int32_t Bits __attribute__((vector_size(16)));

static inline V positive(V v) { return (V)((Bits)(v > splat(0)) & (Bits)v); }

static void finish(const Op* op, float* to, const V sum[2], int count) {
    V values[2] = {sum[0], sum[1]};
    if (op->relu) values[0] = positive(values[0]), values[1] = positive(values[1]);
    if (count == BLOCK) {
        store(to, values[0]);
        store(to + LANES, values[1]);
        return;
    }
    for (int i = 0; i < count; i++) to[i] = values[i / LANES][i % LANES];
}

static float* padded;  // scratch for the widest padded input

static int tile_of(const Op* op) { return SIDE + 1 - op->kernel; }

static int tiles(const Op* op, int length) { return (length + tile_of(op) - 1) / tile_of(op); }

static int padded_side(const Op* op, int in, int out) {
    const int direct = in + 2 * op->pad;
    return op->transformed ? larger(direct, tiles(op, out) * tile_of(op) + op->kernel - 1) : direct;
}

// The input in zeros, as wide as `padded_side`.
static const float* surrounded(const Op* op, int height, int width) {
    if (height == op->height && width == op->width) return op->in;
    const int row = op->width * op->channels;
    clear(padded, height * width * op->channels);
    for (int y = 0; y < op->height; y++)
        memcpy(padded + ((y + op->pad) * width + op->pad) * op->channels, op->in + y * row, 4 * row);
    return padded;
}

static void convolve_directly(const uint8_t* model, const Op* op) {
    const int height = padded_side(op, op->height, op->out_height), width = padded_side(op, op->width, op->out_width);
    const int channels = op->channels / op->groups, outs = op->out_channels / op->groups, kernel = op->kernel;
    const float *in = surrounded(op, height, width), *bias = (const float*)(model + op->bias), *weights = op->packed;
    const int whole = op->groups == 1, line = width * op->channels, pixels = op->out_height * op->out_width;
    const Window window = {kernel, line, whole ? 1 : kernel, op->channels, whole ? kernel * channels : channels};
    for (int group = 0; group < op->groups; group++)
        for (int block = 0; block < outs; block += BLOCK, weights += BLOCK * kernel * kernel * channels) {
            const int count = smaller(BLOCK, outs - block), out = group * outs + block;
            V start[2] = {};
            for (int i = 0; i < count; i++) start[i / LANES][i % LANES] = bias[out + i];
            for (int pixel = 0; pixel < pixels; pixel += MOST) {
                const int rows = smaller(MOST, pixels - pixel);
                const float* at[MOST];
                V sum[MOST][2];
                for (int row = 0; row < rows; row++) {
                    const int y = (pixel + row) / op->out_width, x = (pixel + row) % op->out_width;
                    at[row] = in + op->stride * (y * line + x * op->channels) + group * channels;
                    sum[row][0] = start[0], sum[row][1] = start[1];
                }
                multiply_rows(rows, at, window, weights, sum);
                for (int row = 0; row < rows; row++)
                    finish(op, op->out + (pixel + row) * op->out_channels + out, sum[row], count);
            }
        }
}

// Tiles of 4 x 4 outputs of a 3 x 3 kernel, or 2 x 2 of 5 x 5, by 36 products, at the points 0, 1, -1, 2, -2, infinity.
static float *transformed_in, *transformed_out;  // scratch: (36, tiles, channels)

__attribute__((always_inline)) static inline void transform_line(V* d, int step) {
    const V a = d[0], b = d[step], c = d[2 * step], e = d[3 * step], f = d[4 * step], g = d[5 * step];
    const V two = splat(2), four = splat(4), five = splat(5);
    d[0] = four * a - five * c + f;
    d[step] = (f + e) - four * (b + c);
    d[2 * step] = (f - e) + four * (b - c);
    d[3 * step] = (f - c) + two * (e - b);
    d[4 * step] = (f - c) - two * (e - b);
    d[5 * step] = four * b - five * e + g;
}

static void transform_in(const Op* op, const float* in, int width, int down, int across) {
    const int channels = op->channels, step = tile_of(op), all = down * across;
    for (int tile = 0; tile < all; tile++) {
        const float* corner = in + step * (tile / across * width + tile % across) * channels;
        for (int c = 0; c < channels; c += LANES) {
            V d[PLACES];
            for (int i = 0; i < PLACES; i++) d[i] = load(corner + (i / SIDE * width + i % SIDE) * channels + c);
            for (int i = 0; i < SIDE; i++) transform_line(d + i, SIDE);
            for (int i = 0; i < SIDE; i++) transform_line(d + i * SIDE, 1);
            for (int i = 0; i < PLACES; i++) store(transformed_in + (i * all + tile) * channels + c, d[i]);
        }
    }
}

static void multiply_tiles(const Op* op, int all) {
    const int channels = op->channels / op->groups, outs = op->out_channels / op->groups;
    const Window window = {1, 0, 1, 0, channels};
    const int parts = (all + MOST - 1) / MOST;
    const float* weights = op->packed;
    for (int place = 0; place < PLACES; place++)
        for (int group = 0; group < op->groups; group++)
            for (int block = 0; block < outs; block += BLOCK, weights += BLOCK * channels)
                for (int part = 0; part < parts; part++) {
                    const int first = all * part / parts, rows = all * (part + 1) / parts - first;
                    const float* in = transformed_in + (place * all + first) * op->channels + group * channels;
                    float* out = transformed_out + (place * all + first) * op->out_channels + group * outs + block;
                    const float* at[MOST];
                    V sum[MOST][2] = {};
                    for (int row = 0; row < rows; row++) at[row] = in + row * op->channels;
                    multiply_rows(rows, at, window, weights, sum);
                    for (int row = 0; row < rows; row++) {
                        store(out + row * op->out_channels, sum[row][0]);
                        store(out + row * op->out_channels + LANES, sum[row][1]);
                    }
                }
}

// `side` sums of six values, at the points' powers.
__attribute__((always_inline)) static inline void untransform_line(const V* m, int step, int side, V* out, int out_step) {
    const V a = m[step] + m[2 * step], b = m[step] - m[2 * step], c = m[3 * step] + m[4 * step],
            d = m[3 * step] - m[4 * step], two = splat(2);
    out[0] = m[0] + a + c;
    out[out_step] = b + two * d;
    if (side == 2) {
        out[out_step] += m[5 * step];
        return;
    }
    out[2 * out_step] = a + splat(4) * c;
    out[3 * out_step] = b + splat(8) * d + m[5 * step];
}

__attribute__((always_inline)) static inline void transform_out(const Op* op, const float* bias, int side, int down, int across) {
    const int all = down * across, outs = op->out_channels;
    for (int tile = 0; tile < all; tile++)
        for (int c = 0; c < outs; c += LANES) {
            V m[PLACES], half_way[4 * SIDE], out[16];
            for (int i = 0; i < PLACES; i++) m[i] = load(transformed_out + (i * all + tile) * outs + c);
            for (int i = 0; i < SIDE; i++) untransform_line(m + i, SIDE, side, half_way + i, SIDE);
            for (int i = 0; i < side; i++) untransform_line(half_way + i * SIDE, 1, side, out + i * side, 1);
            const int top = tile / across * side, left = tile % across * side;
            for (int y = 0; y < side && top + y < op->out_height; y++)
                for (int x = 0; x < side && left + x < op->out_width; x++) {
                    V value = out[y * side + x] + load(bias + c);
                    if (op->relu) value = positive(value);
                    store(op->out + ((top + y) * op->out_width + left + x) * outs + c, value);
                }
        }
}

static void convolve_transformed(const uint8_t* model, const Op* op) {
    const int down = tiles(op, op->out_height), across = tiles(op, op->out_width);
    const int height = padded_side(op, op->height, op->out_height), width = padded_side(op, op->width, op->out_width);
    const float* bias = (const float*)(model + op->bias);
    transform_in(op, surrounded(op, height, width), width, down, across);
    multiply_tiles(op, down * across);
    if (op->kernel == 3) transform_out(op, bias, 4, down, across);
    else transform_out(op, bias, 2, down, across);
}

static void convolve(const uint8_t* model, const Op* op) {
    if (op->transformed) convolve_transformed(model, op);
    else convolve_directly(model, op);
}

// The weights at the six points along a line: p^0, p^1, ... times a factor, which makes the transforms of data integers.
static void transform_weights(const float* w, int step, int kernel, float* out, int out_step) {
    static const float point[SIDE - 1] = {0, 1, -1, 2, -2};
    static const float factor[SIDE - 1] = {1.f / 4, -1.f / 6, -1.f / 6, 1.f / 24, 1.f / 24};
    for (int i = 0; i < SIDE - 1; i++) {
        float sum = 0, power = factor[i];
        for (int k = 0; k < kernel; k++, power *= point[i]) sum += power * w[k * step];
        out[i * out_step] = sum;
    }
    out[(SIDE - 1) * out_step] = w[(kernel - 1) * step];
}

static void pack_transformed(const Op* op, int out, const float* row) {
    const int channels = op->channels / op->groups, kernel = op->kernel;
    const int plane = op->out_channels * channels, place = out / BLOCK * BLOCK * channels + out % BLOCK;
    for (int c = 0; c < channels; c++) {
        float half_way[SIDE * 5], all[PLACES];
        for (int x = 0; x < kernel; x++)
            transform_weights(row + x * channels + c, kernel * channels, kernel, half_way + x, kernel);
        for (int y = 0; y < SIDE; y++) transform_weights(half_way + y * kernel, 1, kernel, all + y * SIDE, 1);
        for (int i = 0; i < PLACES; i++) op->packed[i * plane + place + c * BLOCK] = all[i];
    }
}

static void pack_directly(const Op* op, int out, const float* row) {
    const int length = op->rows.length, outs = op->out_channels / op->groups, blocks = (outs + BLOCK - 1) / BLOCK;
    const int group = out / outs, within = out % outs;
    float* to = op->packed + (group * blocks + within / BLOCK) * BLOCK * length + within % BLOCK;
    for (int i = 0; i < length; i++) to[i * BLOCK] = row[i];
}

static int can_transform(const Op* op) {
    const int channels = op->channels / op->groups, outs = op->out_channels / op->groups;
    return op->stride == 1 && (op->kernel == 3 || op->kernel == 5) && channels % LANES == 0 && outs % BLOCK == 0;
}

// Weights decoded once and laid out in the order in which they are read.
static void prepare_convolution(const uint8_t* model, Op* op, float* row) {
    const int length = op->rows.length, outs = op->out_channels / op->groups;
    op->transformed = can_transform(op);
    const int count = op->transformed ? PLACES * op->out_channels * (op->channels / op->groups)
                                      : op->groups * ((outs + BLOCK - 1) / BLOCK) * BLOCK * length;
    op->packed = take_floats(count);
    if (outs % BLOCK) clear(op->packed, count);
    for (int out = 0; out < op->out_channels; out++) {
        decode(model, &op->rows, out, row);
        if (op->transformed) pack_transformed(op, out, row);
        else pack_directly(op, out, row);
    }
}
