// Grad-CAM (Selvaraju et al. 2017): ReLU(sum over c of w_c map_c), w_c being the mean of the logit's gradient by map c.
//
// The gradient goes back from the logit to the last convolution's maps. What lies between is linear but for its
// activations, whose slopes are known from their outputs; so it costs one multiplication by each dense layer.
#pragma once
#include "layers.h"

static void back_through_dense(const uint8_t* model, const Op* op, const float* slope, float* to) {
    for (int out = 0; out < op->out_channels; out++) {
        if (!slope[out]) continue;
        decode(model, &op->rows, out, row_of_weights);
        for (int i = 0; i < op->rows.length; i++) to[i] += slope[out] * row_of_weights[i];
    }
}

static void back_through_local(const uint8_t* model, const Op* op, const float* slope, float* to) {
    for (int y = 0, row = 0; y < op->out_height; y++)
        for (int x = 0; x < op->out_width; x++)
            for (int out = 0; out < op->out_channels; out++, row++) {
                if (!slope[row]) continue;
                decode(model, &op->rows, row, row_of_weights);
                FOR_WINDOW(op, y, x, weight, input, for (int c = 0; c < op->channels; c++)
                               to[input + c] += slope[row] * row_of_weights[weight + c];)
            }
}

static void back_through_neurons(const Op* op, const float* slope, float* to) {
    for (int i = 0; i < values_in(op); i++) {
        const float y = op->out[i];
        to[i] = slope[i] * (op->kind == RELU ? y > 0 : op->kind == TANH ? 1 - y * y : y * (1 - y));
    }
}

static void back_through_affine(const uint8_t* model, const Op* op, const float* slope, float* to) {
    const float* factors = (const float*)(model + op->rows.scales);
    for (int i = 0; i < values_in(op); i++) to[i] = slope[i] * factors[i % op->channels];
}

// To the first largest value of each window, or in equal parts to all of them.
static void back_through_pool(const Op* op, const float* slope, float* to) {
    const int channels = op->channels;
    for (int i = 0; i < values_out(op); i++) {
        const int c = i % channels, pixel = i / channels;
        const Span rows = span(op, pixel / op->out_width, op->height, op->out_height);
        const Span columns = span(op, pixel % op->out_width, op->width, op->out_width);
        const float share = slope[i] / ((rows.to - rows.from) * (columns.to - columns.from));
        int found = 0;
        for (int y = rows.from; y < rows.to; y++)
            for (int x = columns.from; x < columns.to; x++) {
                const int at = (y * op->width + x) * channels + c;
                if (op->kind != MAX_POOL) to[at] += share;
                else if (!found && op->in[at] == op->out[i]) to[at] += slope[i], found = 1;
            }
    }
}

// The gradient by the input of `op`, added to `to` (zeros), from that by its output.
static void back(const uint8_t* model, const Op* op, float* slope, float* to) {
    if (op->relu)
        for (int i = 0; i < values_out(op); i++) slope[i] = op->out[i] > 0 ? slope[i] : 0;
    switch (op->kind) {
        case DENSE: return back_through_dense(model, op, slope, to);
        case LOCAL: return back_through_local(model, op, slope, to);
        case AFFINE: return back_through_affine(model, op, slope, to);
        case RELU: case TANH: case SIGMOID: return back_through_neurons(op, slope, to);
        case MAX_POOL: case AVERAGE_POOL: case ADAPTIVE_POOL: return back_through_pool(op, slope, to);
        default: __builtin_trap();  // alexnet.export.program lets nothing else follow the last maps
    }
}

// heat (height, width) in 0..1, the largest 1; all zero where no map supports the class.
static void combine(const Op* maps, float* heat) {
    const int pixels = maps->out_height * maps->out_width, channels = maps->out_channels;
    float most = 0;
    clear(heat, pixels);
    for (int c = 0; c < channels; c++) {
        float weight = 0;
        for (int i = 0; i < pixels; i++) weight += maps->slope[i * channels + c];
        for (int i = 0; i < pixels; i++) heat[i] += weight / pixels * maps->out[i * channels + c];
    }
    for (int i = 0; i < pixels; i++) {
        heat[i] = heat[i] > 0 ? heat[i] : 0;
        most = heat[i] > most ? heat[i] : most;
    }
    for (int i = 0; i < pixels && most > 0; i++) heat[i] /= most;
}
