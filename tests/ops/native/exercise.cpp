// Every stage operator on small odd maps in buffers of exactly their size, for tools that watch each access of memory.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "stage.h"

#define DECLARE(operator_)                                                                               \
    extern "C" void operator_##_forward_float32_portable(const Stage*, const float*, float*);             \
    extern "C" void operator_##_backward_float32_portable(const Stage*, const float*, const float*, float*); \
    extern "C" void operator_##_forward_bfloat16_portable(const Stage*, const bf16*, bf16*);               \
    extern "C" void operator_##_backward_bfloat16_portable(const Stage*, const bf16*, const bf16*, bf16*);

DECLARE(lrn)
DECLARE(lrn_within)
DECLARE(lrn_pool)
DECLARE(pool_lrn)

template <class T>
T value(long i);
template <>
float value<float>(long i) { return float((i * 7919) % 211) - 100.0f; }
template <>
bf16 value<bf16>(long i) { return {uint16_t(bits_of<uint32_t>(value<float>(i)) >> 16)}; }

template <class T>
std::vector<T> values(long count) {
    std::vector<T> made;
    for (long i = 0; i < count; i++) made.push_back(value<T>(i));
    return made;
}

template <class T>
void run(const Stage& stage, bool pools, void (*forward)(const Stage*, const T*, T*),
         void (*backward)(const Stage*, const T*, const T*, T*)) {
    const long input = stage.images * stage.height * stage.outer();
    const long output = pools ? stage.images * stage.pooled_height * stage.pooled_outer() : input;
    std::vector<T> x = values<T>(input), dy = values<T>(output), y(output), dx(input);
    forward(&stage, x.data(), y.data());
    backward(&stage, x.data(), dy.data(), dx.data());
}

int main() {
    int runs = 0;
    for (int64_t channels : {1, 4, 7, 19})
        for (int64_t side : {3, 6, 9})
            for (int64_t size : {1, 4, 5, 31}) {
                Stage stage = {2, side, side + 1, 2, channels, 0, 0, 3, 2, 0, size, 4, 1e-4f, 1.0f, 1e-4f, 1.0f, 1, 1, 2};
                stage.pooled_height = (side - 3 + 1) / 2 + 1;  // rounded up: the last window hangs over the edge
                stage.pooled_width = (side + 1 - 3 + 1) / 2 + 1;
                run(stage, false, lrn_forward_float32_portable, lrn_backward_float32_portable);
                run(stage, false, lrn_forward_bfloat16_portable, lrn_backward_bfloat16_portable);
                run(stage, false, lrn_within_forward_float32_portable, lrn_within_backward_float32_portable);
                run(stage, false, lrn_within_forward_bfloat16_portable, lrn_within_backward_bfloat16_portable);
                run(stage, true, lrn_pool_forward_float32_portable, lrn_pool_backward_float32_portable);
                run(stage, true, lrn_pool_forward_bfloat16_portable, lrn_pool_backward_bfloat16_portable);
                run(stage, true, pool_lrn_forward_float32_portable, pool_lrn_backward_float32_portable);
                stage.size = 0;
                run(stage, true, pool_lrn_forward_bfloat16_portable, pool_lrn_backward_bfloat16_portable);
                runs += 8;
            }
    std::printf("%d runs\n", runs);
}
