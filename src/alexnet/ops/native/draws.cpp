// Random numbers of N independent streams, equal to those of NumPy's Generator over its Philox to the last bit.
//
// A stream is Philox-4x64-10 (Salmon et al. 2011, table 2): a key and a counter, which goes 1, 2, ..., give four words of
// 64 bits each time. NumPy's documentation of the formats that Generator draws in:
//
//     32 bits      the lower half of a word, then its upper half, which waits in the stream
//     uniform      float32: the upper 24 of 32 bits, times 2^-24; double: the upper 53 of a whole word, times 2^-53
//     integers     Lemire's multiplication with rejection (2019) on 32 bits; a whole word if all values are possible
//     beta         Johnk's method (1964), for parameters up to 1
//     normal       float32: the ziggurat (Marsaglia and Tsang 2000) of 256 layers, all of one draw's bits from 32 bits
//
// Rounding decides which draws are rejected, hence everything after them. pow, exp, log and log1p are those of the C
// library, which NumPy calls as well. NumPy's wheels fuse no multiplication with an addition on x86, whatever the
// processor; elsewhere they do what the compiler does by itself.
#if defined(__x86_64__) && defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__x86_64__)
#pragma GCC optimize("fp-contract=off")
#endif

#include <cmath>

#include "exports.h"

// The names of glibc's first versions: the newer ones differ in how they report errors, and would tie the library to 2.29.
#if defined(__GLIBC__) && defined(__x86_64__)
__asm__(".symver pow,pow@GLIBC_2.2.5");
__asm__(".symver exp,exp@GLIBC_2.2.5");
__asm__(".symver log,log@GLIBC_2.2.5");
#elif defined(__GLIBC__) && defined(__aarch64__)
__asm__(".symver pow,pow@GLIBC_2.17");
__asm__(".symver exp,exp@GLIBC_2.17");
__asm__(".symver log,log@GLIBC_2.17");
#endif

namespace {

struct Stream {
    uint64_t key[2], counter, words[4];
    int32_t used;   // of the four words
    int32_t waits;  // whether `half` is the next draw of 32 bits
    uint32_t half;
};

// The layers of the normal distribution, on the scale of 23 bits.
struct Ziggurat {
    float width[256];   // of a layer, over 2^23
    float height[256];  // the density at the layer's end
    uint32_t sure[256];  // numbers below are under the curve
    float end, inverse;  // where the tail begins, and one over it
};

#if defined(__SIZEOF_INT128__)
inline uint64_t product(uint64_t a, uint64_t b, uint64_t* low) {
    const unsigned __int128 wide = static_cast<unsigned __int128>(a) * b;
    *low = uint64_t(wide);
    return uint64_t(wide >> 64);
}
#else
inline uint64_t product(uint64_t a, uint64_t b, uint64_t* low) {
    const uint64_t a0 = uint32_t(a), a1 = a >> 32, b0 = uint32_t(b), b1 = b >> 32;
    const uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + uint32_t(middle);
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}
#endif

void philox(Stream& stream) {
    uint64_t a = ++stream.counter, b = 0, c = 0, d = 0, key0 = stream.key[0], key1 = stream.key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t low0, low1;
        const uint64_t high0 = product(a, 0xD2E7470EE14C6C93u, &low0), high1 = product(c, 0xCA5A826395121157u, &low1);
        a = high1 ^ b ^ key0, b = low1, c = high0 ^ d ^ key1, d = low0;
        key0 += 0x9E3779B97F4A7C15u, key1 += 0xBB67AE8584CAA73Bu;
    }
    stream.words[0] = a, stream.words[1] = b, stream.words[2] = c, stream.words[3] = d;
    stream.used = 0;
}

inline uint64_t next_word(Stream& stream) {
    if (stream.used == 4) philox(stream);
    return stream.words[stream.used++];
}

inline uint32_t next_half(Stream& stream) {
    stream.waits = !stream.waits;
    if (!stream.waits) return stream.half;
    const uint64_t word = next_word(stream);
    stream.half = uint32_t(word >> 32);
    return uint32_t(word);
}

inline float next_float(Stream& stream) { return (next_half(stream) >> 8) * 0x1p-24f; }
inline double next_double(Stream& stream) { return (next_word(stream) >> 11) * 0x1p-53; }

// An integer from 0 to `last`, which is below 2^32 - 1.
inline int64_t below(Stream& stream, uint32_t last) {
    if (last == 0) return 0;
    const uint32_t count = last + 1, rejected = (0xffffffffu - last) % count;
    uint64_t drawn;
    do drawn = uint64_t(next_half(stream)) * count;
    while (uint32_t(drawn) < rejected);
    return int64_t(drawn >> 32);
}

// From Beta(a, a), 0 < a <= 1. A power can underflow for a near 0; its logarithm does not.
double next_beta(Stream& stream, double a) {
    for (;;) {
        const double u = next_double(stream), v = next_double(stream);
        const double x = pow(u, 1 / a), y = pow(v, 1 / a);
        if (x + y > 1 || u + v <= 0) continue;
        if (x > 0 && y > 0) return x / (x + y);
        const double apart = log(u) / a - log(v) / a;
        return apart > 0 ? exp(-log1p(exp(-apart))) : exp(apart - log1p(exp(apart)));
    }
}

float normal_tail(Stream& stream, const Ziggurat& layers, bool negative) {
    for (;;) {
        const float beyond = -layers.inverse * log1pf(-next_float(stream)), y = -log1pf(-next_float(stream));
        if (y + y > beyond * beyond) return negative ? -(layers.end + beyond) : layers.end + beyond;
    }
}

float next_normal(Stream& stream, const Ziggurat& layers) {
    for (;;) {
        const uint32_t bits = next_half(stream), layer = bits & 255, place = bits >> 9;
        const float size = float(place) * layers.width[layer], x = bits >> 8 & 1 ? -size : size;
        if (place < layers.sure[layer]) return x;
        if (layer == 0) return normal_tail(stream, layers, place >> 8 & 1);
        const float *end = layers.height + layer;
        if ((end[-1] - end[0]) * next_float(stream) + end[0] < exp(-0.5 * x * x)) return x;
    }
}

}  // namespace

// out (streams, count) <- uniform in [0, 1)
EXPORT NAME(draws, uniform, float32, ISA)(int64_t streams, Stream* all, int64_t count, float* out) {
    for (int64_t n = 0; n < streams; n++)
        for (int64_t i = 0; i < count; i++) out[n * count + i] = next_float(all[n]);
}

// out (streams, count) <- standard normal
EXPORT NAME(draws, normal, float32, ISA)(int64_t streams, Stream* all, int64_t count, const Ziggurat* layers, float* out) {
    for (int64_t n = 0; n < streams; n++)
        for (int64_t i = 0; i < count; i++) out[n * count + i] = next_normal(all[n], *layers);
}

// out (streams) <- integers from 0 to last
EXPORT NAME(draws, below, int64, ISA)(int64_t streams, Stream* all, uint32_t last, int64_t* out) {
    for (int64_t n = 0; n < streams; n++) out[n] = below(all[n], last);
}

// out (streams) <- any integers
EXPORT NAME(draws, keys, int64, ISA)(int64_t streams, Stream* all, int64_t* out) {
    for (int64_t n = 0; n < streams; n++) out[n] = int64_t(next_word(all[n]) ^ (uint64_t(1) << 63));
}

// out (streams) <- from Beta(a, a), 0 < a <= 1
EXPORT NAME(draws, beta, float32, ISA)(int64_t streams, Stream* all, double a, float* out) {
    for (int64_t n = 0; n < streams; n++) out[n] = float(next_beta(all[n], a));
}
