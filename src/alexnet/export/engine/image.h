// A picture of any size to the network's input, with the pixels that training saw.
//
// First the stored square (alexnet.data.form.fitted), bit for bit as Pillow's BILINEAR: an output pixel along one side is
//
//     clip((2^21 + sum over j of w_j q_j) / 2^22, 0, 255),   w_j = round(2^22 a_j),   a_j ~ max(0, 1 - |j + 1/2 - center| / support)
//
// with support = max(1, scale), in integers, along rows first, rounded to bytes, then along columns. (Pillow 13 takes some
// pictures that are not square along columns first, which differs by one level of 255; the fit `crop` resizes none.) From it the centre
// view, resized likewise in floats without rounding (ops/native/views.cpp), and normalised.
#pragma once
#include "engine.h"

enum Fit { CROP, FIT_PAD, WARP, SHORT };
enum { BITS = 22, MOST_TAPS = 1 << 16 };

typedef struct {
    const uint8_t* pixels;  // first byte of the first pixel
    int width, height, step, stride;  // bytes between pixels and between rows
} Image;

// The input pixels of each output pixel along a line.
typedef struct {
    int *first, *count, *weights, taps;
} Line;

static Line line_of(int side, int size) {
    const double scale = (double)side / size, support = scale < 1 ? 1 : scale;
    const int taps = (int)__builtin_ceil(support) * 2 + 1;
    Line line = {take(4 * size), take(4 * size), take(4 * size * taps), taps};
    double* share = take(8 * taps);
    for (int out = 0; out < size; out++) {
        const double center = (out + 0.5) * scale;
        const int first = larger((int)(center - support + 0.5), 0), end = smaller((int)(center + support + 0.5), side);
        double sum = 0;
        for (int tap = 0; tap < end - first; tap++) {
            const double distance = __builtin_fabs((tap + first - center + 0.5) * (1.0 / support));
            sum += share[tap] = distance < 1 ? 1 - distance : 0;
        }
        for (int tap = 0; tap < end - first; tap++)
            line.weights[out * taps + tap] = (int)(0.5 + share[tap] * (1.0 / sum) * (1 << BITS));
        line.first[out] = first, line.count[out] = end - first;
    }
    return line;
}

static uint8_t clipped(int sum) {
    sum >>= BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

// uint8 (height, width, 3), contiguous.
static Image resized(Image image, int width, int height) {
    uint8_t *narrow = take(3 * width * image.height), *out = take(3 * width * height);
    const Line across = line_of(image.width, width), down = line_of(image.height, height);
    for (int y = 0; y < image.height; y++)
        for (int x = 0; x < width; x++) {
            const uint8_t* from = image.pixels + y * image.stride + across.first[x] * image.step;
            const int* weights = across.weights + x * across.taps;
            int red = 1 << (BITS - 1), green = red, blue = red;
            for (int tap = 0; tap < across.count[x]; tap++, from += image.step) {
                red += weights[tap] * from[0];
                green += weights[tap] * from[1];
                blue += weights[tap] * from[2];
            }
            uint8_t* to = narrow + 3 * (y * width + x);
            to[0] = clipped(red), to[1] = clipped(green), to[2] = clipped(blue);
        }
    int* sums = take(12 * width);
    for (int y = 0; y < height; y++) {
        for (int i = 0; i < 3 * width; i++) sums[i] = 1 << (BITS - 1);
        for (int tap = 0; tap < down.count[y]; tap++) {
            const int weight = down.weights[y * down.taps + tap];
            const uint8_t* row = narrow + 3 * width * (down.first[y] + tap);
            for (int i = 0; i < 3 * width; i++) sums[i] += weight * row[i];
        }
        for (int i = 0; i < 3 * width; i++) out[3 * width * y + i] = clipped(sums[i]);
    }
    return (Image){out, width, height, 3, 3 * width};
}

static Image part(Image image, int left, int top, int side) {
    image.pixels += top * image.stride + left * image.step;
    image.width = image.height = side;
    return image;
}

// As Python's round: halves to even.
static int rounded(double x) {
    const double low = __builtin_floor(x);
    const int whole = (int)low;
    return x - low > 0.5 || (x - low == 0.5 && whole % 2) ? whole + 1 : whole;
}

static Image on_mean_color(Image image, int size) {
    uint8_t* out = take(3 * size * size);
    for (int i = 0; i < size * size; i++) out[3 * i] = 124, out[3 * i + 1] = 116, out[3 * i + 2] = 104;
    const int top = (size - image.height) / 2, left = (size - image.width) / 2;
    for (int y = 0; y < image.height; y++)
        memcpy(out + 3 * ((top + y) * size + left), image.pixels + y * image.stride, 3 * image.width);
    return (Image){out, size, size, 3, 3 * size};
}

static Image fitted(Image image, int size, int fit) {
    const int width = image.width, height = image.height, least = smaller(width, height), most = larger(width, height);
    if (fit == CROP || width == height)
        return resized(part(image, (width - least) / 2, (height - least) / 2, least), size, size);
    if (fit == WARP) return resized(image, size, size);
    if (fit == SHORT) {
        const Image all = resized(image, (int)((double)size * width / least), (int)((double)size * height / least));
        return part(all, rounded((all.width - size) / 2.0), rounded((all.height - size) / 2.0), size);
    }
    const double scale = (double)size / most;
    return on_mean_color(resized(image, larger(1, rounded(width * scale)), larger(1, rounded(height * scale))), size);
}

// Weights of a resampled pixel of the view; returns the first input pixel.
static int weigh(float begin, float scale, int at, int side, float* weights, int* count) {
    const float support = scale < 1 ? 1 : scale, center = begin + (at + 0.5f) * scale;
    const int first = larger((int)__builtin_floorf(center - support + 0.5f), 0);
    const int end = smaller((int)__builtin_floorf(center + support + 0.5f), side);
    float sum = 0;
    for (int tap = 0; tap < end - first; tap++) {
        const float far = __builtin_fabsf(first + tap + 0.5f - center) / support;
        sum += weights[tap] = far < 1 ? 1 - far : 0;
    }
    for (int tap = 0; tap < end - first; tap++) weights[tap] /= sum;
    *count = end - first;
    return first;
}

// view (input, input, 3) in 0..255 <- the centre of the stored square: copied, or resized along columns, then along rows.
static void centre_view(const Model* model, Image stored, float* view) {
    const int side = model->store, size = model->input, middle = (model->resize - size) / 2;
    const double unit = (double)side / model->resize;
    const float begin = (float)(unit * middle), scale = (float)(unit * size) / size;
    const int copied = model->resize == side, room = 2 * (side / size + 1) + 4;
    float *line = take_floats(3 * side), *weights = take_floats(room);
    for (int y = 0; y < size; y++) {
        int count = 1, first = middle + y;
        weights[0] = 1;
        if (!copied) first = weigh(begin, scale, y, side, weights, &count);
        clear(line, 3 * side);
        for (int tap = 0; tap < count; tap++) {
            const uint8_t* row = stored.pixels + (first + tap) * stored.stride;
            for (int i = 0; i < 3 * side; i++) line[i] += weights[tap] * row[i];
        }
        for (int x = 0; x < size; x++, view += 3) {
            count = 1, first = middle + x;
            weights[0] = 1;
            if (!copied) first = weigh(begin, scale, x, side, weights, &count);
            view[0] = view[1] = view[2] = 0;
            for (int tap = 0; tap < count; tap++)
                for (int c = 0; c < 3; c++) view[c] += weights[tap] * line[3 * (first + tap) + c];
        }
    }
}

static void normalise(const Model* model, const float* view, float* input) {
    for (int i = 0; i < 3 * model->input * model->input; i++) {
        const int c = i % 3;
        input[i] = view[i] * model->factor[c] - model->mean[c] * model->factor[c];
    }
}

// What the network sees, RGBA.
static void shown(const Model* model, const float* view, uint8_t* out) {
    for (int i = 0; i < model->input * model->input; i++) {
        for (int c = 0; c < 3; c++) out[4 * i + c] = (uint8_t)(view[3 * i + c] + 0.5f);
        out[4 * i + 3] = 255;
    }
}
