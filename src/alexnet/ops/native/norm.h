// What BatchNorm -> [ReLU] -> [max-pool] is told, and sums over pixels that are the same for any number of threads.
//
// Maps are channels last; vectors (N, C) count as maps of one pixel. Sums are taken of fixed parts of the pixels in float32,
// and over the parts, in their order, in float64.
#pragma once

#include "exports.h"

namespace {

struct Norm {
    int64_t images, height, width, channels;                     // the input
    int64_t pooled_height, pooled_width, kernel, stride, padding;  // of the pool; kernel 0: none
    int32_t relu;
    int32_t batch;  // mean and inverse deviation are those of x itself
    int32_t threads;

    long pixels() const { return images * height * width; }
    float floor() const { return relu ? 0.0f : -__builtin_inff(); }
};

constexpr long PART_VALUES = 1 << 15;  // values in a part: with float32 they fill a quarter of a usual L2 cache
constexpr uint8_t NONE = 255;   // in place of a winner that the ReLU set to zero

// `count` items, each of `values` values, in parts of about PART_VALUES values.
struct Parts {
    long count, size, number;

    Parts(long count, long values) : count(count), size(values < PART_VALUES ? PART_VALUES / values : 1) {
        number = (count + size - 1) / size;
    }
    long begin(long part) const { return part * size; }
    long end(long part) const { return (part + 1) * size < count ? (part + 1) * size : count; }
    long items(long part) const { return end(part) - begin(part); }
};

template <long N>
struct Together {
    static constexpr long count = N;
};

// How many channels a vector holds, where that is all its lanes: known to the compiler, so that loops need no branches.
struct Whole {};

template <class T>
inline Floats load(const T* from, Whole) { return load(from); }
template <class T>
inline void store(T* to, Floats v, Whole) { store(to, v); }

inline Ints load_places(const uint8_t* from, Whole) { return load_ints(from); }
inline Ints load_places(const uint8_t* from, long count) {
    uint8_t some[LANES] = {};
    std::memcpy(some, from, count);
    return load_ints(some);
}

inline long lanes(Whole) { return LANES; }
inline long lanes(long count) { return count; }

// Calls body(Together<N>, first channel, channels in the vector) for N vectors of channels at once, N = 4 or 2 while they fill.
template <class Body>
inline void each_few(long channels, Body body) {
    long c = 0;
    for (; c + 4 * LANES <= channels; c += 4 * LANES) body(Together<4>{}, c, Whole{});
    for (; c + 2 * LANES <= channels; c += 2 * LANES) body(Together<2>{}, c, Whole{});
    for (; c + LANES <= channels; c += LANES) body(Together<1>{}, c, Whole{});
    if (c < channels) body(Together<1>{}, c, channels - c);
}

// Calls body(first channel, channels in the vector) for each vector from channel c on.
template <class Body>
inline void each_one(long c, long channels, Body body) {
    for (; c + LANES <= channels; c += LANES) body(c, Whole{});
    if (c < channels) body(c, channels - c);
}

// Twice as many channels at once, as bfloat16 numbers lie in memory: bits to compare and to choose from.
typedef int16_t Shorts __attribute__((vector_size(4 * LANES)));
constexpr long TWICE = 2 * LANES;

inline Shorts load_shorts(const void* from) {
    Shorts v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline Shorts load_shorts(const uint8_t* from) {
#if defined(__AVX512BW__)
    return bits_of<Shorts>(_mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__AVX2__)
    return bits_of<Shorts>(_mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
    uint8_t v __attribute__((vector_size(TWICE)));
    std::memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, Shorts);
#endif
}

// Integers in the order of the numbers, NaN aside; of such an integer, the number's bits.
inline Shorts order_of(Shorts bits) { return bits ^ ((bits >> 15) & 0x7fff); }

// What each channel is multiplied by and so on, in rows of whole vectors: mean, slope, bias, sign of the slope; of a
// backward pass also what the mean and the variance add to dx, -(dbias + (x - mean) inverse dweight) / n. The last row has
// 16 bits a channel: all set where the slope is negative.
struct Channels {
    const float* rows;
    long length;
    bool sloping;  // no slope is zero or NaN

    static constexpr long ROWS = 7;

    Floats mean(long c) const { return load(rows + c); }
    Floats slope(long c) const { return load(rows + length + c); }
    Floats bias(long c) const { return load(rows + 2 * length + c); }
    Floats sign(long c) const { return load(rows + 3 * length + c); }
    Shorts flip(long c) const { return load_shorts(static_cast<const void*>(rows + 6 * length + c / 2)); }
    Floats normal(Floats x, long c) const { return (x - mean(c)) * slope(c) + bias(c); }
    Floats gradient(Floats g, Floats x, long c) const {
        return slope(c) * (g - load(rows + 4 * length + c) - (x - mean(c)) * load(rows + 5 * length + c));
    }
};

// memory: ROWS rows of whole vectors of channels, zero.
inline Channels channels_of(const Norm& job, const float* mean, const float* inverse, const float* weight, const float* bias,
                            float* memory) {
    const long length = padded(job.channels);
    bool sloping = true;
    for (long c = 0; c < job.channels; c++) {
        const float slope = weight[c] * inverse[c];
        memory[c] = mean[c];
        memory[length + c] = slope;
        memory[2 * length + c] = bias[c];
        memory[3 * length + c] = slope > 0 ? 1.0f : slope < 0 ? -1.0f : 0.0f;
        const int16_t flip = slope < 0 ? -1 : 0;
        std::memcpy(reinterpret_cast<char*>(memory + 6 * length) + c * sizeof flip, &flip, sizeof flip);
        sloping &= slope < 0 || slope > 0;
    }
    return {memory, length, sloping};
}

inline void set_common(const Norm& job, const float* inverse, const float* dweight, const float* dbias, float* memory) {
    const long length = padded(job.channels);
    for (long c = 0; job.batch && c < job.channels; c++) {
        memory[4 * length + c] = dbias[c] / job.pixels();
        memory[5 * length + c] = inverse[c] * dweight[c] / job.pixels();
    }
}

}  // namespace
