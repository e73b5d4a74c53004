// SIMD vectors of floats for the instruction set that the file is compiled for.
//
// These are the vector extensions of GCC and Clang: + - * / < > ?: apply to all lanes. LANES is 16 with AVX-512, 8 with
// AVX2, else 4 (SSE2, NEON). Everything has internal linkage, because the source is compiled once per instruction set and
// linked into one library. For the same reason no templates of the standard library are used.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

struct bf16 {  // the upper 16 bits of a float
    uint16_t bits;
};

template <class To, class From>
inline To bits_of(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    std::memcpy(&result, &value, sizeof result);
    return result;
}

inline Floats all(float value) { return Floats{} + value; }

inline Floats load(const float* from) {
    Floats v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline void store(float* to, Floats v) { std::memcpy(to, &v, sizeof v); }

inline Floats load(const bf16* from) {
#if defined(__AVX512F__)
    __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return bits_of<Floats>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
#elif defined(__AVX2__)
    __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return bits_of<Floats>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
#else
    Halves v;
    std::memcpy(&v, from, sizeof v);
    return bits_of<Floats>(__builtin_convertvector(v, Words) << 16);
#endif
}

inline Ints load_ints(const uint8_t* from) {
#if defined(__AVX512F__)
    return bits_of<Ints>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__)
    return bits_of<Ints>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#else
    Bytes v;
    std::memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, Ints);
#endif
}

inline Floats load(const uint8_t* from) { return __builtin_convertvector(load_ints(from), Floats); }

// Rounds to nearest, ties to even; NaN stays NaN.
inline void store(bf16* to, Floats v) {
#if defined(__AVX512BF16__)
    __m256i halves = bits_of<__m256i>(_mm512_cvtneps_pbh(bits_of<__m512>(v)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
#else
    Words word = bits_of<Words>(v);
    Words rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
    Words quiet = (word >> 16) | 0x40;
    Halves halves = __builtin_convertvector(bits_of<Words>(v != v ? bits_of<Ints>(quiet) : bits_of<Ints>(rounded)), Halves);
    std::memcpy(to, &halves, sizeof halves);
#endif
}

// Loads `count` values and zeros for the other lanes; count is below LANES only at the end of a row.
template <class T>
inline Floats load(const T* from, long count) {
    if (count >= LANES) return load(from);
    T some[LANES] = {};
    std::memcpy(some, from, count * sizeof(T));
    return load(some);
}

template <class T>
inline void store(T* to, Floats v, long count) {
    if (count >= LANES) return store(to, v);
    T some[LANES];
    store(some, v);
    std::memcpy(to, some, count * sizeof(T));
}

// max(v, floor); NaN in `v` is preserved.
inline Floats at_least(Floats v, float floor) { return v < floor ? all(floor) : v; }

// 1 / sqrt(v), relative error below 2^-22: the hardware estimate and one Newton step.
inline Floats inverse_sqrt(Floats v) {
#if defined(__AVX512F__)
    Floats guess = bits_of<Floats>(_mm512_rsqrt14_ps(bits_of<__m512>(v)));
#elif defined(__AVX2__)
    Floats guess = bits_of<Floats>(_mm256_rsqrt_ps(bits_of<__m256>(v)));
#else
    Floats root;
    for (int i = 0; i < LANES; i++) root[i] = __builtin_sqrtf(v[i]);
    return 1.0f / root;
#endif
#if defined(__AVX2__)
    return guess * (1.5f - 0.5f * v * guess * guess);
#endif
}

inline Floats square_root(Floats v) {
#if defined(__AVX512F__)
    return bits_of<Floats>(_mm512_sqrt_ps(bits_of<__m512>(v)));
#elif defined(__AVX2__)
    return bits_of<Floats>(_mm256_sqrt_ps(bits_of<__m256>(v)));
#else
    for (int i = 0; i < LANES; i++) v[i] = __builtin_sqrtf(v[i]);
    return v;
#endif
}

inline long padded(long count) { return (count + LANES - 1) / LANES * LANES; }

}  // namespace
