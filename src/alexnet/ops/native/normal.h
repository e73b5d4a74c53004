// Standard normal values as functions of a key and a counter only: the same for any number of threads.
//
// Philox-4x32-10 (Salmon et al. 2011) turns a counter into four words, and the Box-Muller transform, r cos(a), r sin(a)
// with r = sqrt(-2 ln u), turns two pairs of words into two pairs of normal values. The polynomials for ln, sin and cos
// are those of the Cephes library (logf, sinf, cosf), accurate to about 1e-7.
#pragma once

#include "vector.h"

namespace {

typedef uint64_t Longs __attribute__((vector_size(4 * LANES)));

struct FourWords {
    Words a, b, c, d;
};

inline Words high_of_product(Words words, uint32_t factor) {
    const Longs pairs = bits_of<Longs>(words);
    const Longs even = (pairs & 0xffffffffu) * factor, odd = (pairs >> 32) * factor;
    return bits_of<Words>((even >> 32) | (odd & ~Longs{} << 32));
}

inline FourWords philox(Words counter, uint64_t key) {
    FourWords x = {counter, Words{}, Words{}, Words{}};
    uint32_t key0 = uint32_t(key), key1 = uint32_t(key >> 32);
    for (int round = 0; round < 10; round++) {
        const Words high0 = high_of_product(x.a, 0xD2511F53u), high1 = high_of_product(x.c, 0xCD9E8D57u);
        x = {high1 ^ x.b ^ key0, x.c * 0xCD9E8D57u, high0 ^ x.d ^ key1, x.a * 0xD2511F53u};
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
    return x;
}

// ln v; v must be a positive normal float.
inline Floats logarithm(Floats v) {
    const Words bits = bits_of<Words>(v);
    Floats exponent = __builtin_convertvector(bits_of<Ints>(bits >> 23), Floats) - 126;
    Floats x = bits_of<Floats>((bits & 0x007fffffu) | 0x3f000000u);  // 1/2 ... 1
    const Ints small = x < 0.707106781186547524f;
    exponent = small ? exponent - 1 : exponent;
    x = small ? x + x - 1 : x - 1;
    const Floats square = x * x;
    const float terms[] = {-1.1514610310e-1f, 1.1676998740e-1f,  -1.2420140846e-1f, 1.4249322787e-1f,
                           -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
    Floats y = all(7.0376836292e-2f);
    for (float term : terms) y = y * x + term;
    y = y * x * square - 2.12194440e-4f * exponent - 0.5f * square;
    return x + y + 0.693359375f * exponent;
}

struct Point {
    Floats x, y;
};

// The point at `radius` and angle `word`; 2^32 is a full turn.
inline Point point_at(Floats radius, Words word) {
    const Floats quarters = __builtin_convertvector(bits_of<Ints>(word), Floats) * 0x1p-30f;  // -2 ... 2
    const Ints quadrant = __builtin_convertvector(quarters + (quarters < 0 ? all(-0.5f) : all(0.5f)), Ints);
    const Floats angle = (quarters - __builtin_convertvector(quadrant, Floats)) * 1.57079632679489662f;
    const Floats square = angle * angle;
    Floats sine = ((-1.9515295891e-4f * square + 8.3321608736e-3f) * square - 1.6666654611e-1f) * square * angle + angle;
    Floats cosine = ((2.443315711809948e-5f * square - 1.388731625493765e-3f) * square + 4.166664568298827e-2f) * square *
                        square - 0.5f * square + 1;
    const Ints odd = (quadrant & 1) != 0, left = ((quadrant + 1) & 2) != 0, lower = (quadrant & 2) != 0;
    const Floats x = odd ? sine : cosine, y = odd ? cosine : sine;
    return {radius * (left ? -x : x), radius * (lower ? -y : y)};
}

inline Floats radius_of(Words word) {
    const Floats uniform = (__builtin_convertvector(bits_of<Ints>(word >> 8), Floats) + 0.5f) * 0x1p-24f;
    return square_root(-2 * logarithm(uniform));
}

// Counter i gives the values at i, i + quarter, i + 2 quarters and i + 3 quarters of `count`.
inline long quarter_of(long count) { return (count + 63) / 64 * 16; }

// values (4 * quarter_of(count)) <- normal values of `key`.
inline void fill_normal(uint64_t key, long count, float* values) {
    const long quarter = quarter_of(count);
    Words counter;
    for (int lane = 0; lane < LANES; lane++) counter[lane] = lane;
    for (long i = 0; i < quarter; i += LANES, counter += LANES) {
        const FourWords words = philox(counter, key);
        const Point one = point_at(radius_of(words.a), words.b), two = point_at(radius_of(words.c), words.d);
        store(values + i, one.x);
        store(values + i + quarter, one.y);
        store(values + i + 2 * quarter, two.x);
        store(values + i + 3 * quarter, two.y);
    }
}

}  // namespace
