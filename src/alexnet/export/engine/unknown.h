// The score for 'none of these' (alexnet.weights.calibration), over its threshold: from the largest probability and, for
// each of some layers, the distance of its features, projected, to the nearest of the training images' centres.
#pragma once
#include "layers.h"

// The roots of what is positive, of length 1. Maps are averaged over their places.
static void features_of(const Op* op, float* features, int width) {
    const int averaged = width == op->out_channels, pixels = op->out_height * op->out_width;
    clear(features, width);
    if (!averaged) memcpy(features, op->out, 4 * width);  // flattened
    for (int i = 0; averaged && i < values_out(op); i++) features[i % width] += op->out[i] / pixels;
    for (int i = 0; i < width; i++) features[i] = features[i] > 0 ? __builtin_sqrtf(features[i]) : 0;
    const float norm = __builtin_sqrtf(dot(features, features, width)), least = 1e-12f;
    for (int i = 0; i < width; i++) features[i] /= norm > least ? norm : least;
}

static float distance(const uint8_t* bytes, const Place* place) {
    const float *mean = (const float*)(bytes + place->mean), *to = (const float*)(bytes + place->projection);
    const float* centre = (const float*)(bytes + place->centre);
    const int directions = place->directions;
    float *features = take_floats(place->width), *projected = take_floats(directions), nearest = __builtin_inff();
    features_of(((const Model*)bytes)->op + place->op, features, place->width);
    clear(projected, directions);
    for (int i = 0; i < place->width; i++)
        for (int j = 0; j < directions; j++) projected[j] += (features[i] - mean[i]) * to[i * directions + j];
    for (int c = 0; c < place->centres; c++, centre += directions) {
        float squares = 0;
        for (int j = 0; j < directions; j++) squares += (projected[j] - centre[j]) * (projected[j] - centre[j]);
        nearest = squares < nearest ? squares : nearest;
    }
    return __builtin_sqrtf(nearest);
}

static float score(const uint8_t* bytes, const float* probabilities) {
    const Model* model = (const Model*)bytes;
    const Place* place = (const Place*)(bytes + model->place);
    float most = 0, sum = 0;
    for (int i = 0; i < model->classes; i++) most = probabilities[i] > most ? probabilities[i] : most;
    for (int i = 0; i < model->places; i++) sum += distance(bytes, place + i);
    return (model->doubt * (1 - most) + sum) / model->threshold;
}
