// Settings of the operators between two convolutions: a feature map, a normalisation, a pool.
//
// Maps are channels last: image, row, pixel, block, channel. A block is a group of channels that are normalised together:
// all of them, or those of one tower. N images, H x W pixels, C channels per block, OH x OW pooled pixels.
#pragma once

#include <cstdint>

#include "threads.h"
#include "vector.h"

namespace {

struct Stage {
    int64_t images, height, width, blocks, channels;  // the input
    int64_t pooled_height, pooled_width;              // the output of the pool
    int64_t kernel, stride, padding;                  // of the pool, equal along both axes
    int64_t size;                                     // window of LRN across channels; 0: none
    int64_t within_size;                              // window of LRN within a map; 0: none
    float alpha, k;                                   // a / (k + alpha * sum of a^2) ** .75; not divided by size
    float within_alpha, within_k;
    int32_t relu, relu_after;  // ReLU as the first step, and as the last step
    int32_t threads;

    float floor() const { return relu ? 0.0f : -__builtin_inff(); }
    float floor_after() const { return relu_after ? 0.0f : -__builtin_inff(); }

    // Floats per row in outer layout, that of the tensors, and in inner layout, with blocks padded to whole vectors.
    long outer() const { return width * blocks * channels; }
    long inner() const { return width * blocks * padded(channels); }
    long pooled_outer() const { return pooled_width * blocks * channels; }
    long pooled_inner() const { return pooled_width * blocks * padded(channels); }

    // The range of input rows (or columns), of `length`, that pooled row (or column) `index` reads.
    long first(long index) const {
        long start = index * stride - padding;
        return start < 0 ? 0 : start;
    }
    long last(long index, long length) const {  // exclusive
        long end = index * stride - padding + kernel;
        return end > length ? length : end;
    }
};

// Calls body(block, channel, outer offset, inner offset, channels left in the block) for each vector of each block.
template <class Body>
inline void each_vector(long blocks, long channels, Body body) {
    const long inner = padded(channels);
    for (long block = 0; block < blocks; block++)
        for (long c = 0; c < channels; c += LANES)
            body(block, c, block * channels + c, block * inner + c, channels - c);
}

}  // namespace
