// One optimiser step for one parameter tensor, in one pass over memory.
//
// w: parameters; m, s: optimiser state, float32. g: gradient, float32 or bfloat16. copy: if not null, receives the new
// parameters in the gradient's type.
#include "exports.h"

namespace {

enum Rule : int32_t { SGD, NESTEROV, VELOCITY };

struct Momentum {
    int64_t count;
    float rate, momentum, decay;
    int32_t rule, threads;
};

struct Adam {
    int64_t count;
    float rate, beta1, beta2, eps, decay;  // decay: L2 in the gradient; shrink: AdamW
    float shrink, unbias1, unbias2;        // 1 - rate * decay; 1 / (1 - beta1^t); 1 / (1 - beta2^t)
    int32_t threads;
};

struct Average {
    int64_t count;
    float momentum;
    int32_t threads;
};

struct Move {
    int64_t count;
    float rate, shrink;
    int32_t threads;
};

constexpr long PART = 1 << 15;  // weights per task: three to five arrays fit the L2 cache

// Calls body(offset, weights left in the part) for each vector of `count` weights.
template <class Body>
void each_part(long count, int threads, Body body) {
    parallel((count + PART - 1) / PART, threads, 0, [&](long part, float*) {
        const long end = (part + 1) * PART < count ? (part + 1) * PART : count;
        for (long i = part * PART; i < end; i += LANES) body(i, end - i);
    });
}

//     SGD and Nesterov    d = g + decay w;  m <- momentum m + d;  w <- w - rate m, or w - rate (d + momentum m)
//     velocity            m <- momentum m - rate (g + decay w);   w <- w + m
template <class T>
void momentum(const Momentum& step, float* w, float* m, const T* g, T* copy) {
    each_part(step.count, step.threads, [&](long i, long count) {
        Floats weight = load(w + i, count);
        Floats d = load(g + i, count) + step.decay * weight;
        Floats moved = step.momentum * load(m + i, count);
        if (step.rule == VELOCITY) {
            moved -= step.rate * d;
            weight += moved;
        } else {
            moved += d;
            weight -= step.rate * (step.rule == NESTEROV ? d + step.momentum * moved : moved);
        }
        store(m + i, moved, count);
        store(w + i, weight, count);
        if (copy) store(copy + i, weight, count);
    });
}

//     m <- beta1 m + (1 - beta1) g;  s <- beta2 s + (1 - beta2) g^2
//     w <- shrink w - rate (unbias1 m) / (sqrt(unbias2 s) + eps)          Kingma and Ba 2014, algorithm 1
template <class T>
void adam(const Adam& step, float* w, float* m, float* s, const T* g, T* copy) {
    each_part(step.count, step.threads, [&](long i, long count) {
        Floats weight = load(w + i, count);
        Floats d = load(g + i, count) + step.decay * weight;
        Floats mean = step.beta1 * load(m + i, count) + (1 - step.beta1) * d;
        Floats square = step.beta2 * load(s + i, count) + (1 - step.beta2) * d * d;
        Floats scale = square_root(step.unbias2 * square) + step.eps;
        weight = step.shrink * weight - step.rate * step.unbias1 * mean / scale;
        store(m + i, mean, count);
        store(s + i, square, count);
        store(w + i, weight, count);
        if (copy) store(copy + i, weight, count);
    });
}

//     m <- momentum m + (1 - momentum) g;  ahead <- momentum m + (1 - momentum) g
template <class T>
void average(const Average& step, float* m, const T* g, T* ahead) {
    each_part(step.count, step.threads, [&](long i, long count) {
        Floats gradient = load(g + i, count);
        Floats mean = step.momentum * load(m + i, count) + (1 - step.momentum) * gradient;
        store(m + i, mean, count);
        store(ahead + i, step.momentum * mean + (1 - step.momentum) * gradient, count);
    });
}

//     w <- shrink w - rate d
template <class T>
void move(const Move& step, float* w, const T* d, T* copy) {
    each_part(step.count, step.threads, [&](long i, long count) {
        Floats weight = step.shrink * load(w + i, count) - step.rate * load(d + i, count);
        store(w + i, weight, count);
        if (copy) store(copy + i, weight, count);
    });
}

}  // namespace

#define EXPORT_UPDATE(T, type)                                                                                  \
    EXPORT NAME(update, momentum, type, ISA)(const Momentum* step, float* w, float* m, const T* g, T* copy) {   \
        momentum(*step, w, m, g, copy);                                                                         \
    }                                                                                                           \
    EXPORT NAME(update, adam, type, ISA)(const Adam* step, float* w, float* m, float* s, const T* g, T* copy) { \
        adam(*step, w, m, s, g, copy);                                                                          \
    }                                                                                                           \
    EXPORT NAME(update, average, type, ISA)(const Average* step, float* m, const T* g, T* ahead) {              \
        average(*step, m, g, ahead);                                                                            \
    }                                                                                                           \
    EXPORT NAME(update, move, type, ISA)(const Move* step, float* w, const T* d, T* copy) {                     \
        move(*step, w, d, copy);                                                                                \
    }

EXPORT_UPDATE(float, float32)
EXPORT_UPDATE(bf16, bfloat16)
