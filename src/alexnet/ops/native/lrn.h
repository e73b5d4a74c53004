// Local response normalisation across the channels of a block, row by row (Krizhevsky et al. 2012, section 3.3).
//
//     b_i = a_i * s_i^-3/4             s_i = k + alpha * sum of a_j^2 over the window of i
//     da_i = db_i * s_i^-3/4 - 3/2 alpha a_i * sum of db_j a_j s_j^-7/4 over all j with i in their window
//
// The window of i extends from i - size / 2 to i + (size - 1) / 2; values outside the block count as zero.
// With t = 1 / sqrt(s), s^-3/4 = t^2 / sqrt(t) and 1 / s = t^2, which needs no division.
#pragma once

#include "stage.h"

namespace {

// A row of values for window sums: each block has `lead` zeros before and after it.
struct WindowRow {
    float* values;
    long lead, pitch;  // zeros on each side of a block; distance between blocks in floats

    WindowRow(float* scratch, long channels, long size) : values(scratch), lead(size - 1), pitch(length(1, channels, size)) {}

    static long length(long blocks, long channels, long size) { return blocks * (padded(channels) + 2 * (size - 1)); }

    float* at(long block, long c) const { return values + block * pitch + lead + c; }
};

// Unrolled for windows of 5 channels, as in all published networks.
inline Floats window_sum(const float* from, long size) {
    if (size == 5) return (load(from) + load(from + 1)) + (load(from + 2) + load(from + 3)) + load(from + 4);
    Floats sum = load(from);
    for (long shift = 1; shift < size; shift++) sum += load(from + shift);
    return sum;
}

struct Root {
    Floats inverse, power;  // 1 / s and s^-3/4
};

inline Root root_of(Floats s) {
    Floats t = inverse_sqrt(s);
    Floats power = t * t * inverse_sqrt(t);
    auto infinite = s == __builtin_inff();  // the Newton step would give NaN
    return {infinite ? all(0) : t * t, infinite ? all(0) : power};
}

// Floats of scratch memory that lrn_row and lrn_row_backward need for a row of `blocks`.
inline long lrn_scratch(const Stage& stage, long blocks) {
    return 2 * WindowRow::length(blocks, stage.channels, stage.size);
}

// The squares of a row, after the ReLU if stage.relu.
template <class T>
inline WindowRow squares_of(const Stage& stage, const T* x, long blocks, float* scratch) {
    WindowRow squares(scratch, stage.channels, stage.size);
    const float floor = stage.floor();
    each_vector(blocks, stage.channels, [&](long block, long c, long outer, long, long count) {
        Floats a = at_least(load(x + outer, count), floor);
        store(squares.at(block, c), a * a);
    });
    return squares;
}

// b (inner) <- the normalised row of x (outer). Calls keep(inner, root) with the root of each vector.
template <class T, class Keep>
inline void lrn_row(const Stage& stage, const T* x, long blocks, float* scratch, float* b, Keep keep) {
    const WindowRow squares = squares_of(stage, x, blocks, scratch);
    const long back = stage.size / 2;
    const float floor = stage.floor();
    each_vector(blocks, stage.channels, [&](long block, long c, long outer, long inner, long count) {
        const Root root = root_of(stage.k + stage.alpha * window_sum(squares.at(block, c) - back, stage.size));
        keep(inner, root);
        store(b + inner, at_least(load(x + outer, count), floor) * root.power);
    });
}

template <class T>
inline void lrn_row(const Stage& stage, const T* x, long blocks, float* scratch, float* b) {
    lrn_row(stage, x, blocks, scratch, b, [](long, Root) {});
}

// dx (outer) <- the gradient of the row x (outer), given that of the normalised row, db (inner), which is overwritten.
// root_at(block, channel, inner) returns the root of a vector of x. Uses the second half of the scratch memory.
template <class T, class RootAt>
inline void lrn_row_backward(const Stage& stage, const T* x, float* db, long blocks, float* scratch, T* dx, RootAt root_at) {
    const WindowRow terms(scratch + lrn_scratch(stage, blocks) / 2, stage.channels, stage.size);
    const long ahead = (stage.size - 1) / 2;
    const float floor = stage.floor();
    each_vector(blocks, stage.channels, [&](long block, long c, long outer, long inner, long count) {
        const Root root = root_at(block, c, inner);
        Floats direct = load(db + inner) * root.power;
        Floats a = at_least(load(x + outer, count), floor);
        store(terms.at(block, c), direct * a * root.inverse, count);  // the padding after the block stays zero
        store(db + inner, direct);
    });
    each_vector(blocks, stage.channels, [&](long block, long c, long outer, long inner, long count) {
        Floats raw = load(x + outer, count);
        Floats sum = window_sum(terms.at(block, c) - ahead, stage.size);
        Floats da = load(db + inner) - 1.5f * stage.alpha * at_least(raw, floor) * sum;
        store(dx + outer, raw <= floor ? all(0) : da, count);
    });
}

// The same, with roots recomputed from x.
template <class T>
inline void lrn_row_backward(const Stage& stage, const T* x, float* db, long blocks, float* scratch, T* dx) {
    const WindowRow squares = squares_of(stage, x, blocks, scratch);
    const long back = stage.size / 2;
    lrn_row_backward(stage, x, db, blocks, scratch, dx, [&](long block, long c, long) {
        return root_of(stage.k + stage.alpha * window_sum(squares.at(block, c) - back, stage.size));
    });
}

}  // namespace
