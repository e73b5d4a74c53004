// The score for 'none of these' (alexnet.weights.calibration), over its threshold: from the largest probability and the
// distance of a layer's features, of length 1 and projected, to the nearest of the training images' centres.
#pragma once
#include "layers.h"

// Maps are averaged over their places.
static void features_of(const Op* op, float* features) {
    const int pixels = op->out_height * op->out_width;
    clear(features, op->out_channels);
    for (int i = 0; i < values_out(op); i++) features[i % op->out_channels] += op->out[i] / pixels;
}

static float score(const uint8_t* bytes, const float* probabilities) {
    const Model* model = (const Model*)bytes;
    const float *mean = (const float*)(bytes + model->feature_mean), *to = (const float*)(bytes + model->projection);
    const float* centre = (const float*)(bytes + model->centre);
    const int directions = model->directions;
    float *features = take_floats(model->width), *projected = take_floats(directions), most = 0, nearest = __builtin_inff();
    const Op* op = model->op + model->features;
    if (model->width == op->out_channels) features_of(op, features);
    else memcpy(features, op->out, 4 * model->width);  // flattened
    const float norm = __builtin_sqrtf(dot(features, features, model->width));
    clear(projected, directions);
    for (int i = 0; i < model->width; i++) {
        const float value = features[i] / (norm > 1e-12f ? norm : 1e-12f) - mean[i];
        for (int j = 0; j < directions; j++) projected[j] += value * to[i * directions + j];
    }
    for (int c = 0; c < model->centres; c++, centre += directions) {
        float squares = 0;
        for (int j = 0; j < directions; j++) squares += (projected[j] - centre[j]) * (projected[j] - centre[j]);
        nearest = squares < nearest ? squares : nearest;
    }
    for (int i = 0; i < model->classes; i++) most = probabilities[i] > most ? probabilities[i] : most;
    return (model->doubt * (1 - most) + __builtin_sqrtf(nearest)) / model->threshold;
}
