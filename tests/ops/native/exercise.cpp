// Every operator on small odd maps, images and weights in buffers of exactly their size, for tools that watch each access
// of memory.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "blocks.cpp"
#include "mix.cpp"
#include "norm.cpp"
#include "resize.cpp"
#include "stage.h"
#include "update.cpp"
#include "views.cpp"

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

template <class T>
void show(long side, long size) {
    std::vector<uint8_t> image(3 * side * side, 200);
    std::vector<T> out(4 * 3 * size * size);
    const float s = side;
    View shown[4] = {{image.data(), 0, 0, s, s, 1, 1, {1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3}, {1, 1, 1}, 7},
                     {image.data(), s - 1, 0, 1, s, 1, 0, {1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 0, 0}, {0, 0, 0}, 0},
                     {image.data(), 0.3f * s, 0.6f * s, 0.4f * s, 0.4f * s, 0, 1, {}, {}, {}, 0},
                     {image.data(), 0, 0, s, s, 0, 0, {}, {}, {}, 0}};
    if (size <= side) shown[3] = {image.data(), s - size, s - size, float(size), float(size), 0, 1, {}, {}, {}, 0};
    render({4, side, size, {0.3f, 0.6f, 0.1f}, {1, 2, 3}, 2}, shown, out.data());
    const Mixed how[4] = {{0.5f, 0, int32_t(size), 0, int32_t(size)}, {1, 0, 1, 0, 1}, {0, 0, 0, 0, 0}, {0.1f, 0, 1, 0, 1}};
    mix(3, size, 2, how, out.data());
    mix(4, size, 2, how, out.data());
}

void resize(long side, long size) {
    std::vector<uint8_t> image(3 * side * side, 200), rows(3 * side * size + 16), out(3 * size * size);
    std::vector<int32_t> row(3 * side + 16), first(size), count(size), weights(2 * size, 1 << 21);
    for (long i = 0; i < size; i++) {
        first[i] = i * side / size;
        count[i] = side - first[i] < 2 ? 1 : 2;
    }
    const Line line = {side, size, 2, first.data(), count.data(), weights.data()};
    NAME(resize, square, uint8, ISA)(&line, 3 * side, image.data(), rows.data(), row.data(), out.data());
}

template <class T>
void blocks(long side, long stride) {
    const long padding = stride / 2, rows = (side + 2 * padding) / stride, columns = rows + 1, channels = 3 * stride * stride + 1;
    std::vector<T> x = values<T>(2 * side * (side + 1) * 3), out(2 * rows * columns * channels);
    gather({2, side, side + 1, 3, stride, padding, rows, columns, channels, 2}, x.data(), out.data());
}

template <class T>
void normalise(long side, long channels, long kernel, long stride) {
    Norm job = {2, side, side + 1, channels, side, side + 1, kernel, stride, kernel / 2, 1, 1, 2};
    if (kernel) {
        job.pooled_height = (side + 2 * job.padding - kernel) / stride + 1;
        job.pooled_width = (side + 1 + 2 * job.padding - kernel) / stride + 1;
    }
    const long count = 2 * side * (side + 1) * channels, out = 2 * job.pooled_height * job.pooled_width * channels;
    std::vector<T> x = values<T>(count), dy = values<T>(out), y(out), dx(count);
    std::vector<float> mean(channels), inverse(channels, 0.5f), weight = values<float>(channels), more(channels);
    std::vector<uint8_t> winners(kernel ? out : 0);
    moments(job, x.data(), mean.data(), more.data());
    forward(job, x.data(), mean.data(), inverse.data(), weight.data(), weight.data(), y.data(), winners.data());
    std::vector<float> dweight(channels), dbias(channels);
    backward(job, x.data(), dy.data(), mean.data(), inverse.data(), weight.data(), weight.data(), winners.data(), dx.data(),
             dweight.data(), dbias.data());
}

template <class T>
void update(long count) {
    std::vector<float> w = values<float>(count), m = w, s(count, 1);
    std::vector<T> g = values<T>(count), copy(count);
    for (int32_t rule : {SGD, NESTEROV, VELOCITY}) momentum({count, 0.1f, 0.9f, 0.01f, rule, 2}, w.data(), m.data(), g.data(), copy.data());
    adam({count, 0.1f, 0.9f, 0.99f, 1e-8f, 0, 1, 1, 1, 2}, w.data(), m.data(), s.data(), g.data(), static_cast<T*>(nullptr));
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
    for (long side : {1, 2, 7, 33})
        for (long size : {1, 5, 16, 35}) {
            show<float>(side, size);
            show<bf16>(side, size);
            resize(side, size);
            runs += 3;
        }
    for (long side : {4, 7, 33})
        for (long stride : {1, 2, 4}) {
            blocks<float>(side, stride);
            blocks<bf16>(side, stride);
            runs += 2;
        }
    for (long side : {3, 8, 40})
        for (long channels : {1, 7, 38})
            for (long kernel : {0, 2, 3, 5}) {
                normalise<float>(side, channels, kernel, 2);
                normalise<bf16>(side, channels, kernel, 1);
                runs += 2;
            }
    for (long count : {1, 5, 64, 40000}) {
        update<float>(count);
        update<bf16>(count);
        runs += 2;
    }
    std::printf("%d runs\n", runs);
}
