// Exported symbols of the library: <operator>_<direction>_<type>_<instruction set>.
#pragma once

#include "stage.h"

#define NAME_(operator_, direction, type, isa) operator_##_##direction##_##type##_##isa
#define NAME(operator_, direction, type, isa) NAME_(operator_, direction, type, isa)
#define EXPORT extern "C" __attribute__((visibility("default"))) void

// ISA is a compiler definition: the name of the instruction set that the file is compiled for.
#define EXPORT_TYPE(operator_, T, type)                                                                      \
    EXPORT NAME(operator_, forward, type, ISA)(const Stage* stage, const T* x, T* y) { forward(*stage, x, y); } \
    EXPORT NAME(operator_, backward, type, ISA)(const Stage* stage, const T* x, const T* dy, T* dx) {        \
        backward(*stage, x, dy, dx);                                                                         \
    }

#define EXPORT_STAGE(operator_)           \
    EXPORT_TYPE(operator_, float, float32) \
    EXPORT_TYPE(operator_, bf16, bfloat16)
