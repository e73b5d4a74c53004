// Max-pooling of rows of floats in inner layout: which value wins a window, and where its gradient goes.
//
// Among equals the first wins, row by row, and NaN wins over numbers: PyTorch's rule.
#pragma once

#include "stage.h"

namespace {

// The rows of a map that the pool still needs, `count` of them, each of `length` floats, in a ring.
struct Ring {
    float* rows;
    long count, length;

    float* row(long index) const { return rows + index % count * length; }
};

// Rows of a map that are alive at once.
inline long ring_rows(const Stage& stage) { return stage.kernel > stage.stride ? stage.kernel : stage.stride; }

// A few images are cut into bands of pooled rows, so that every thread has work; a band repeats its neighbour's rows.
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

// The places of a window, in PyTorch's order: body(its number, the row, the offset of the pixel's vector in that row).
struct Window {
    long top, bottom, left, right, pixel, offset;

    template <class Body>
    inline void each(Body body) const {
        if (bottom - top == 3 && right - left == 3) return each_of_nine(body);
        int32_t place = 0;
        for (long y = top; y < bottom; y++)
            for (long x = left; x < right; x++) body(place++, y, x * pixel + offset);
    }

    // The same for the 3 x 3 windows of all published networks, unrolled.
    template <class Body>
    inline void each_of_nine(Body body) const {
        const long at = left * pixel + offset;
#pragma GCC unroll 9
        for (int32_t place = 0; place < 9; place++) body(place, top + place / 3, at + place % 3 * pixel);
    }
};

// For every vector of pooled row `row`: body(its window, outer offset, inner offset, channels to the block's end).
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
    Ints place;  // its number in the window
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

// finish(winner's value, outer offset, inner offset, count) for every vector of pooled row `row`.
template <class Finish>
inline void pool_row(const Stage& stage, const Ring& ring, long row, Finish finish) {
    each_window(stage, row, [&](const Window& window, long outer, long inner, long count) {
        finish(winner_of(window, ring).value, outer, inner, count);
    });
}

// Adds each gradient of pooled row `row` to the place in `gradients` that won its window in `ring`.
// gradient(winner's value, outer offset, count) gives it.
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

// The order of a backward pass over a map. Of every row that a window looks at, begin(y) is called first, with its row
// of `gradients` at zero; then pooled(row) for each pooled row; then finish(y), once all windows of row y are done.
// Rows that no window looks at get none(y) alone.
template <class Begin, class Pooled, class Finish, class None>
inline void each_pooled_row(const Stage& stage, const Ring& gradients, Begin begin, Pooled pooled, Finish finish, None none) {
    long begun = 0, done = 0;  // rows before `begun` were begun or are none's, rows before `done` are written
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
