// Max-pooling of rows of floats in inner layout: the maximum of each window, and the position that its gradient goes to.
//
// Ties go to the first value in row order, and NaN counts as larger than any number, as in PyTorch.
#pragma once

#include "stage.h"

namespace {

// A ring buffer of the `count` latest rows of a map, each of `length` floats.
struct Ring {
    float* rows;
    long count, length;

    float* row(long index) const { return rows + index % count * length; }
};

// Rows that the ring buffer must hold.
inline long ring_rows(const Stage& stage) { return stage.kernel > stage.stride ? stage.kernel : stage.stride; }

// With fewer images than threads, images are split into bands of pooled rows; adjacent bands recompute shared rows.
inline long bands_of(const Stage& stage) {
    return stage.images < stage.threads ? (stage.threads + stage.images - 1) / stage.images : 1;
}

struct Band {
    long image, begin, end;  // pooled rows begin ... end - 1

    Band(const Stage& stage, long task, long bands) : image(task / bands) {
        begin = task % bands * stage.pooled_height / bands;
        end = (task % bands + 1) * stage.pooled_height / bands;
    }
};

// A pooling window. each() calls body(index in the window, row, offset of the pixel's vector in the row) in row order.
struct Window {
    long top, bottom, left, right, pixel, offset;

    template <class Body>
    inline void each(Body body) const {
        if (bottom - top == 3 && right - left == 3) return each_of_nine(body);
        int32_t place = 0;
        for (long y = top; y < bottom; y++)
            for (long x = left; x < right; x++) body(place++, y, x * pixel + offset);
    }

    // Unrolled for the 3 x 3 windows of the published networks.
    template <class Body>
    inline void each_of_nine(Body body) const {
        const long at = left * pixel + offset;
#pragma GCC unroll 9
        for (int32_t place = 0; place < 9; place++) body(place, top + place / 3, at + place % 3 * pixel);
    }
};

// Calls body(window, outer offset, inner offset, channels left in the block) for each vector of pooled row `row`.
template <class Body>
inline void each_window(const Stage& stage, long row, Body body) {
    const long inner = padded(stage.channels), pixel = stage.blocks * inner;
    Window window = {stage.first(row), stage.last(row, stage.height), 0, 0, pixel, 0};
    for (long column = 0; column < stage.pooled_width; column++) {
        window.left = stage.first(column), window.right = stage.last(column, stage.width);
        each_vector(stage.blocks, stage.channels, [&](long, long, long outer, long offset, long count) {
            window.offset = offset;
            body(window, column * stage.blocks * stage.channels + outer, column * pixel + offset, count);
        });
    }
}

struct Winner {
    Floats value;
    Ints place;  // index in the window
};

inline Winner winner_of(const Window& window, const Ring& ring) {
    Winner best = {load(ring.row(window.top) + window.left * window.pixel + window.offset), Ints{}};
    window.each([&](int32_t place, long y, long at) {
        Floats v = load(ring.row(y) + at);
        Ints wins = (v > best.value) | (v != v);
        best.place = wins ? Ints{} + place : best.place;
        best.value = wins ? v : best.value;
    });
    return best;
}

// Calls finish(maximum, outer offset, inner offset, count) for each vector of pooled row `row`.
template <class Finish>
inline void pool_row(const Stage& stage, const Ring& ring, long row, Finish finish) {
    each_window(stage, row, [&](const Window& window, long outer, long inner, long count) {
        finish(winner_of(window, ring).value, outer, inner, count);
    });
}

// Adds the gradient of each value of pooled row `row` to the position of its maximum, in `gradients`.
// gradient(maximum, outer offset, count) returns the gradient.
template <class Gradient>
inline void pool_row_backward(const Stage& stage, const Ring& ring, const Ring& gradients, long row, Gradient gradient) {
    each_window(stage, row, [&](const Window& window, long outer, long, long count) {
        const Winner best = winner_of(window, ring);
        const Floats d = gradient(best.value, outer, count);
        window.each([&](int32_t place, long y, long at) {
            float* target = gradients.row(y) + at;
            store(target, load(target) + (best.place == place ? d : all(0)));
        });
    });
}

// The order of a backward pass over a map. For each row y that a window reads: begin(y), with its row of `gradients` set
// to zero; then pooled(row) for each pooled row that reads it; then finish(y), when all windows that read y are done.
// For rows that no window reads: none(y).
template <class Begin, class Pooled, class Finish, class None>
inline void each_pooled_row(const Stage& stage, const Ring& gradients, Begin begin, Pooled pooled, Finish finish, None none) {
    long begun = 0, done = 0;  // rows before `begun` had begin() or none(), rows before `done` are written
    for (long row = 0; row < stage.pooled_height; row++) {
        for (; done < begun && done < stage.first(row); done++) finish(done);
        for (; begun < stage.first(row); begun++, done++) none(begun);
        for (; begun < stage.last(row, stage.height); begun++) {
            std::memset(gradients.row(begun), 0, gradients.length * sizeof(float));
            begin(begun);
        }
        pooled(row);
    }
    for (; done < begun; done++) finish(done);
    for (; done < stage.height; done++) none(done);
}

}  // namespace
