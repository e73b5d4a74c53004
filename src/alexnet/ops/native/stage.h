// What the operators between two convolutions are told: a map, a normalisation, a pool.
//
// Maps lie in memory channels last: image, row, pixel, block, channel. A block is the channels that are normalised
// together: all of them, or one tower's. Letters: N images, H x W pixels, C channels of a block; OH x OW pooled pixels.
#pragma once

#include <cstdint>

#include "threads.h"
#include "vector.h"

namespace {

struct Stage {
    int64_t images, height, width, blocks, channels;  // the input
    int64_t pooled_height, pooled_width;              // the output of the pool
    int64_t kernel, stride, padding;                  // the pool, the same along both sides
    int64_t size;                                     // window of the normalisation between channels; 0: there is none
    int64_t within_size;                              // window of the one within a map; 0: there is none
    float alpha, k;                                   // a / (k + alpha * sum of a^2) ** .75; alpha is divided already
    float within_alpha, within_k;
    int32_t relu, relu_after;  // ReLU before everything, and after everything
    int32_t threads;

    float floor() const { return relu ? 0.0f : -__builtin_inff(); }
    float floor_after() const { return relu_after ? 0.0f : -__builtin_inff(); }

    // Values in a row: as they come, and inside, where every block is filled up to whole vectors.
    long outer() const { return width * blocks * channels; }
    long inner() const { return width * blocks * padded(channels); }
    long pooled_outer() const { return pooled_width * blocks * channels; }
    long pooled_inner() const { return pooled_width * blocks * padded(channels); }

    // The rows (or pixels) of a map of `length` that pooled row (or pixel) `index` looks at.
    long first(long index) const {
        long start = index * stride - padding;
        return start < 0 ? 0 : start;
    }
    long last(long index, long length) const {  // one behind
        long end = index * stride - padding + kernel;
        return end > length ? length : end;
    }
};

// For each vector of each block: body(block, channel, outer offset, inner offset, channels from here to the block's end).
template <class Body>
inline void each_vector(long blocks, long channels, Body body) {
    const long inner = padded(channels);
    for (long block = 0; block < blocks; block++)
        for (long c = 0; c < channels; c += LANES)
            body(block, c, block * channels + c, block * inner + c, channels - c);
}

}  // namespace
