// Weights as they are stored, to floats.
#pragma once
#include "engine.h"

// Codes by range coding in lanes, as alexnet.weights.entropy writes them: frequencies, a state for each lane, words.
typedef struct { uint32_t count, lanes, kinds, words; } Stream;

enum { PRECISION = 12, WHOLE = 1 << PRECISION, LEAST_STATE = 1 << 16 };

// to (count) <- the codes; 0 where the record is not of so many.
static int unpack(const uint8_t* record, uint32_t count, uint8_t* to) {
    static uint16_t share[WHOLE], shift[WHOLE];
    static uint8_t symbol[WHOLE];
    const Stream* stream = (const Stream*)record;
    const uint16_t* shares = (const uint16_t*)(stream + 1);
    const uint32_t* states = (const uint32_t*)(shares + ((stream->kinds + 1) & ~1u));
    const uint16_t *word = (const uint16_t*)(states + stream->lanes), *end = word + stream->words;
    if (stream->count != count || !stream->lanes || stream->kinds > 256) return 0;
    uint32_t slot = 0;
    for (uint32_t kind = 0; kind < stream->kinds; kind++)
        for (uint32_t i = 0; i < shares[kind] && slot < WHOLE; i++, slot++)
            symbol[slot] = (uint8_t)kind, share[slot] = shares[kind], shift[slot] = (uint16_t)i;
    uint32_t* lanes = take(4 * stream->lanes);
    memcpy(lanes, states, 4 * stream->lanes);
    for (uint32_t i = 0, lane = 0; i < count; i++) {
        const uint32_t state = lanes[lane], at = state & (WHOLE - 1);
        uint32_t next = (uint32_t)share[at] * (state >> PRECISION) + shift[at];
        to[i] = symbol[at];
        if (next < LEAST_STATE) {
            if (word == end) return 0;
            next = next << 16 | *word++;
        }
        lanes[lane] = next;
        if (++lane == stream->lanes) lane = 0;
    }
    return slot == WHOLE && word == end;
}

// Codes of a range code, made bytes; 0 where they are damaged. The other layers stay as they are.
static int unpack_rows(uint8_t* model, Rows* rows, uint32_t count) {
    if (rows->bits != PACKED) return 1;
    uint8_t* bytes = take(count);
    const int whole = unpack(model + rows->codes, count, bytes);
    rows->codes = (int32_t)(bytes - model);
    rows->bits = BYTES;
    return whole;
}

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
    const int length = rows->length, bytes = rows->bits == BYTES ? length : (length * rows->bits + 7) / 8;
    const uint8_t* from = model + rows->codes + (uint32_t)row * bytes;
    const float scale = ((const float*)(model + rows->scales))[row];
    const float* codebook = (const float*)(model + rows->codebook);
    if (rows->bits == 32)
        for (int i = 0; i < length; i++) to[i] = scale * ((const float*)from)[i];
    else if (rows->bits == 16)
        for (int i = 0; i < length; i++) to[i] = scale * half(((const uint16_t*)from)[i]);
    else if (rows->bits == 8)
        for (int i = 0; i < length; i++) to[i] = scale * (float)(int8_t)from[i];
    else if (rows->bits == BYTES)
        for (int i = 0; i < length; i++) to[i] = scale * codebook[from[i]];
    else
        for (int i = 0; i < length; i++) to[i] = scale * codebook[from[i / 2] >> 4 * (i & 1) & 15];
}
