// What the files of the engine share: vectors, memory, the model's layout in bytes.
//
// Maps are float (height, width, channels), channels last. All numbers are little-endian, as WebAssembly's.
#pragma once

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef signed char int8_t;
typedef int int32_t;

enum { LANES = 4, BLOCK = 8 };  // floats in a vector; output channels that are computed together
typedef float V __attribute__((vector_size(16), aligned(4)));

// The order of alexnet.export.program.KINDS.
enum Kind {
    CONVOLUTION, DENSE, LOCAL, AFFINE, RELU, TANH, SIGMOID, MAX_POOL, AVERAGE_POOL, ADAPTIVE_POOL, LRN, LRN_WITHIN, PAD
};

// Rows of weights: of each output channel its inputs, (kernel, kernel, channels). A value is scales[row] * code, or
// scales[row] * codebook[code] of 4 bits, the lower half of a byte first, of PACKED and of BYTES; a row begins at a whole
// byte, but of PACKED, which `prepare` turns into BYTES.
enum { PACKED = 100, BYTES = 101 };

typedef struct {
    int32_t bits;  // 32: float, 16: half, 8: int8, 4: codes; PACKED: codes in a range code, BYTES: a code in each
    int32_t length, codes, scales, codebook;  // values in a row; offsets in the model, bytes
} Rows;

// As alexnet.export.program writes it; offsets are in bytes from the model's first.
typedef struct {
    int32_t kind, height, width, channels, out_height, out_width, out_channels;
    int32_t kernel, stride, pad, groups, relu;  // of PAD: pad rows above, columns to the left, the rest behind
    Rows rows;
    int32_t bias, window;  // bias: of AFFINE the offsets, whose factors are `rows.scales`
    float alpha, k;
    float *in, *out, *packed, *slope;  // filled in here; slope: gradient of a class by `out`
    int32_t transformed;               // whether `packed` is for the transform of convolutions
} Op;

// A layer whose features tell whether a picture is of the classes.
typedef struct {
    int32_t op, width, directions, centres;
    int32_t mean, projection, centre;  // offsets: float (width), (width, directions), (centres, directions)
} Place;

typedef struct {
    int32_t magic, ops, input, resize, store, fit, classes, maps;
    float mean[3], factor[3], sharpness;  // factor: 1 / deviation; sharpness: 1 / temperature
    int32_t places, place;  // of `unknown`: how many layers it looks at, 0 where it is not told; offset of their records
    float doubt, threshold;
    Op op[];
} Model;

enum { MAGIC = 0x31584c41 };  // "ALX1"

static inline V splat(float x) { return (V){x, x, x, x}; }

static inline V load(const float* from) { return *(const V*)from; }

static inline void store(float* to, V v) { *(V*)to = v; }

// a * b + c, rounded once where the browser has relaxed SIMD and the processor can.
static inline V madd(V a, V b, V c) {
#ifdef __wasm_relaxed_simd__
    return __builtin_wasm_relaxed_madd_f32x4(a, b, c);
#else
    return a * b + c;
#endif
}

static inline int larger(int a, int b) { return a > b ? a : b; }
static inline int smaller(int a, int b) { return a < b ? a : b; }

// Memory that is never given back but for what was taken after `mark`.
extern uint8_t __heap_base;
static uint32_t taken;

static void* take(uint32_t bytes) {
    if (!taken) taken = ((uint32_t)&__heap_base + 63) & ~63u;
    const uint32_t at = taken, pages = __builtin_wasm_memory_size(0);
    if (bytes > 0xf0000000u - taken) __builtin_trap();
    taken = (taken + bytes + 63) & ~63u;
    const uint32_t wanted = (taken + 65535) >> 16;
    if (wanted > pages && __builtin_wasm_memory_grow(0, wanted - pages) == (__SIZE_TYPE__)-1) __builtin_trap();
    return (void*)at;
}

static float* take_floats(uint32_t count) { return take(4 * count + 64); }

// The compiler calls these by name.
void* memcpy(void* to, const void* from, __SIZE_TYPE__ bytes) {
    uint8_t* a = to;
    const uint8_t* b = from;
    __SIZE_TYPE__ i = 0;
    for (; i + 16 <= bytes; i += 16) store((float*)(a + i), load((const float*)(b + i)));
    for (; i < bytes; i++) a[i] = b[i];
    return to;
}

void* memset(void* to, int value, __SIZE_TYPE__ bytes) {
    volatile uint8_t* a = to;
    for (__SIZE_TYPE__ i = 0; i < bytes; i++) a[i] = (uint8_t)value;
    return to;
}

static void clear(float* to, int count) {
    int i = 0;
    for (; i + LANES <= count; i += LANES) store(to + i, splat(0));
    for (; i < count; i++) to[i] = 0;
}

// e^x in double precision: 2^n e^r with |r| <= ln 2 / 2, by the series.
static double exponential(double x) {
    if (x < -700) return 0;
    if (x > 700) x = 700;
    const double n = __builtin_floor(x * 1.4426950408889634 + 0.5), r = x - n * 0.6931471805599453;
    double sum = 1;
    for (int i = 13; i; i--) sum = 1 + sum * r / i;
    union { double value; unsigned long long bits; } power = {.bits = (unsigned long long)(1023 + (int)n) << 52};
    return sum * power.value;
}
