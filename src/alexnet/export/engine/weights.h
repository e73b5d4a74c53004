// Weights as they are stored, to floats.
#pragma once
#include "engine.h"

// Half precision to single: shift the fields in place, then correct the exponent's offset by 2^112. Infinities and NaN,
// which a model has none of, become large numbers.
static float half(uint16_t bits) {
    union { uint32_t bits; float value; } all = {(bits & 0x7fffu) << 13}, magic = {.bits = (254 - 15) << 23};
    all.value *= magic.value;
    all.bits |= (bits & 0x8000u) << 16;
    return all.value;
}

// to (rows.length) <- row number `row`.
static void decode(const uint8_t* model, const Rows* rows, int row, float* to) {
    const int length = rows->length, bytes = (length * rows->bits + 7) / 8;
    const uint8_t* from = model + rows->codes + (uint32_t)row * bytes;
    const float scale = ((const float*)(model + rows->scales))[row];
    const float* codebook = (const float*)(model + rows->codebook);
    if (rows->bits == 32)
        for (int i = 0; i < length; i++) to[i] = scale * ((const float*)from)[i];
    else if (rows->bits == 16)
        for (int i = 0; i < length; i++) to[i] = scale * half(((const uint16_t*)from)[i]);
    else if (rows->bits == 8)
        for (int i = 0; i < length; i++) to[i] = scale * (float)(int8_t)from[i];
    else
        for (int i = 0; i < length; i++) to[i] = scale * codebook[from[i / 2] >> 4 * (i & 1) & 15];
}
