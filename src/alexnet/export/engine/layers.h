// All layers but convolutions: one loop nest each.
#pragma once
#include "weights.h"

static float* row_of_weights;  // scratch: the longest row

static float dot(const float* a, const float* b, int length) {
    V sum[4] = {};
    int i = 0;
    for (; i + 16 <= length; i += 16)
        for (int part = 0; part < 4; part++) sum[part] = madd(load(a + i + 4 * part), load(b + i + 4 * part), sum[part]);
    const V all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    float result = (all[0] + all[1]) + (all[2] + all[3]);
    for (; i < length; i++) result += a[i] * b[i];
    return result;
}

static void dense(const uint8_t* model, const Op* op) {
    const float* bias = (const float*)(model + op->bias);
    for (int out = 0; out < op->out_channels; out++) {
        decode(model, &op->rows, out, row_of_weights);
        const float sum = dot(op->in, row_of_weights, op->rows.length) + bias[out];
        op->out[out] = op->relu && sum < 0 ? 0 : sum;
    }
}

// Calls `each` with the part of the window of place (y, x) that lies in the map: offset in the weights, in the input, floats.
#define FOR_WINDOW(op, y, x, weight, input, BODY)                                                   \
    for (int down = 0; down < (op)->kernel; down++)                                                 \
        for (int across = 0; across < (op)->kernel; across++) {                                     \
            const int from_y = (y) + down - (op)->pad, from_x = (x) + across - (op)->pad;           \
            if (from_y < 0 || from_x < 0 || from_y >= (op)->height || from_x >= (op)->width) continue; \
            const int weight = (down * (op)->kernel + across) * (op)->channels;                     \
            const int input = (from_y * (op)->width + from_x) * (op)->channels;                     \
            BODY                                                                                    \
        }

// Convolution of unshared weights: a row for every place and output.
static void local(const uint8_t* model, const Op* op) {
    const float* bias = (const float*)(model + op->bias);
    for (int y = 0, row = 0; y < op->out_height; y++)
        for (int x = 0; x < op->out_width; x++)
            for (int out = 0; out < op->out_channels; out++, row++) {
                float sum = bias[row];
                decode(model, &op->rows, row, row_of_weights);
                FOR_WINDOW(op, y, x, weight, input, sum += dot(op->in + input, row_of_weights + weight, op->channels);)
                op->out[row] = op->relu && sum < 0 ? 0 : sum;
            }
}

static int values_in(const Op* op) { return op->height * op->width * op->channels; }
static int values_out(const Op* op) { return op->out_height * op->out_width * op->out_channels; }

// BatchNorm where it cannot be folded into a layer before it.
static void affine(const uint8_t* model, const Op* op) {
    const float *factors = (const float*)(model + op->rows.scales), *offsets = (const float*)(model + op->bias);
    for (int i = 0; i < values_in(op); i++) {
        const int c = i % op->channels;
        op->out[i] = op->in[i] * factors[c] + offsets[c];
    }
}

static void neurons(const Op* op) {
    for (int i = 0; i < values_in(op); i++) {
        const float x = op->in[i];
        if (op->kind == RELU) op->out[i] = x < 0 ? 0 : x;
        else if (op->kind == SIGMOID) op->out[i] = (float)(1 / (1 + exponential(-x)));
        else op->out[i] = (float)(1 - 2 / (1 + exponential(2 * (double)x)));
    }
}

// The part of a pool's window inside the map: pixels from ... to - 1.
typedef struct {
    int from, to;
} Span;

static Span span(const Op* op, int out, int in_length, int out_length) {
    if (op->kind == ADAPTIVE_POOL)
        return (Span){out * in_length / out_length, ((out + 1) * in_length + out_length - 1) / out_length};
    const int from = out * op->stride - op->pad;
    return (Span){larger(from, 0), smaller(from + op->kernel, in_length)};
}

static void pool(const Op* op) {
    const int channels = op->channels, most = op->kind == MAX_POOL;
    for (int y = 0; y < op->out_height; y++)
        for (int x = 0; x < op->out_width; x++) {
            const Span rows = span(op, y, op->height, op->out_height), columns = span(op, x, op->width, op->out_width);
            const float share = 1.f / ((rows.to - rows.from) * (columns.to - columns.from));
            float* to = op->out + (y * op->out_width + x) * channels;
            for (int c = 0; c < channels; c++) to[c] = most ? -__builtin_inff() : 0;
            for (int down = rows.from; down < rows.to; down++)
                for (int across = columns.from; across < columns.to; across++) {
                    const float* from = op->in + (down * op->width + across) * channels;
                    if (most) for (int c = 0; c < channels; c++) to[c] = from[c] > to[c] ? from[c] : to[c];
                    else for (int c = 0; c < channels; c++) to[c] += from[c];
                }
            if (!most) for (int c = 0; c < channels; c++) to[c] *= share;
        }
}

// a / (k + alpha s) ** .75, s being a sum of squares; the root of a root needs no logarithm.
static float inhibited(const Op* op, float value, float squares) {
    const float root = __builtin_sqrtf(op->k + op->alpha * squares);
    return value / (root * __builtin_sqrtf(root));
}

// An even window extends one further back than ahead.
static Span neighbours(int at, int window, int low, int high) {
    return (Span){larger(at - window / 2, low), smaller(at - window / 2 + window, high)};
}

static void lrn(const Op* op) {
    const int block = op->channels / op->groups;
    for (int i = 0; i < values_in(op); i++) {
        const int c = i % op->channels, low = c / block * block;
        const Span window = neighbours(c, op->window, low, low + block);
        float squares = 0;
        for (int j = window.from; j < window.to; j++) squares += op->in[i - c + j] * op->in[i - c + j];
        op->out[i] = inhibited(op, op->in[i], squares);
    }
}

static void lrn_within(const Op* op) {
    for (int i = 0; i < values_in(op); i++) {
        const int pixel = i / op->channels, c = i % op->channels;
        const Span rows = neighbours(pixel / op->width, op->window, 0, op->height);
        const Span columns = neighbours(pixel % op->width, op->window, 0, op->width);
        float squares = 0;
        for (int y = rows.from; y < rows.to; y++)
            for (int x = columns.from; x < columns.to; x++) {
                const float value = op->in[(y * op->width + x) * op->channels + c];
                squares += value * value;
            }
        op->out[i] = inhibited(op, op->in[i], squares);
    }
}

static void pad(const Op* op) {
    clear(op->out, values_out(op));
    for (int y = 0; y < op->height; y++)
        memcpy(op->out + ((y + op->pad) * op->out_width + op->pad) * op->channels, op->in + y * op->width * op->channels,
               4 * op->width * op->channels);
}

// probabilities (count) <- softmax of logits / temperature.
static void softmax(const float* logits, int count, float sharpness, float* probabilities) {
    float most = logits[0];
    for (int i = 1; i < count; i++) most = logits[i] > most ? logits[i] : most;
    double sum = 0;
    for (int i = 0; i < count; i++) sum += exponential((double)sharpness * (logits[i] - most));
    for (int i = 0; i < count; i++)
        probabilities[i] = (float)(exponential((double)sharpness * (logits[i] - most)) / sum);
}
