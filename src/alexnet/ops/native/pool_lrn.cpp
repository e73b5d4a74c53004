// [ReLU ->] max-pool [-> LRN across channels] in one pass: CaffeNet's order, and, without LRN, all other pools.
//
// As in lrn_pool.cpp, memory holds only the rows that the pool reads, and the backward pass recomputes the forward pass.
#include "exports.h"
#include "lrn.h"
#include "pool.h"

namespace {

// Floats that LRN needs for a pooled row: its input (outer), its output (inner), and its scratch memory.
long pooled_scratch(const Stage& stage) {
    const long rows = 2 * stage.pooled_outer() + stage.pooled_inner();
    return stage.size ? rows + lrn_scratch(stage, stage.pooled_width * stage.blocks) : rows;
}

// row (inner) <- x (outer), after the ReLU if stage.relu.
template <class T>
void widen(const Stage& stage, const T* x, float* row) {
    each_vector(stage.width * stage.blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
        store(row + inner, at_least(load(x + outer, count), stage.floor()));
    });
}

template <class T>
void forward(const Stage& stage, const T* x, T* y) {
    const long blocks = stage.pooled_width * stage.blocks, kept = ring_rows(stage);
    const long bands = bands_of(stage);
    parallel(stage.images * bands, stage.threads, kept * stage.inner() + pooled_scratch(stage), [&](long task, float* own) {
        const Band band(stage, task, bands);
        const T* map = x + band.image * stage.height * stage.outer();
        const Ring ring = {own, kept, stage.inner()};
        float *pooled = own + kept * stage.inner(), *normal = pooled + stage.pooled_outer();
        long done = 0;  // earlier rows are in the ring or not needed
        for (long row = band.begin; row < band.end; row++) {
            for (done = done < stage.first(row) ? stage.first(row) : done; done < stage.last(row, stage.height); done++)
                widen(stage, map + done * stage.outer(), ring.row(done));
            T* out = y + (band.image * stage.pooled_height + row) * stage.pooled_outer();
            if (stage.size) {
                pool_row(stage, ring, row, [&](Floats value, long outer, long, long count) {
                    store(pooled + outer, value, count);
                });
                lrn_row(stage, pooled, blocks, normal + stage.pooled_inner(), normal);
                each_vector(blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
                    store(out + outer, load(normal + inner), count);
                });
            } else {
                pool_row(stage, ring, row, [&](Floats value, long outer, long, long count) {
                    store(out + outer, value, count);
                });
            }
        }
    });
}

template <class T>
void backward(const Stage& stage, const T* x, const T* dy, T* dx) {
    const long blocks = stage.pooled_width * stage.blocks, kept = ring_rows(stage);
    parallel(stage.images, stage.threads, 2 * kept * stage.inner() + pooled_scratch(stage), [&](long image, float* own) {
        const T* map = x + image * stage.height * stage.outer();
        T* gradient = dx + image * stage.height * stage.outer();
        const Ring ring = {own, kept, stage.inner()}, gradients = {own + kept * stage.inner(), kept, stage.inner()};
        float* pooled = own + 2 * kept * stage.inner();
        float *dpooled = pooled + stage.pooled_outer(), *dnormal = dpooled + stage.pooled_outer();
        each_pooled_row(
            stage, gradients, [&](long y) { widen(stage, map + y * stage.outer(), ring.row(y)); },
            [&](long row) {
                const T* given = dy + (image * stage.pooled_height + row) * stage.pooled_outer();
                if (stage.size) {
                    pool_row(stage, ring, row, [&](Floats value, long outer, long, long count) {
                        store(pooled + outer, value, count);
                    });
                    each_vector(blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
                        store(dnormal + inner, load(given + outer, count));
                    });
                    lrn_row_backward(stage, pooled, dnormal, blocks, dnormal + stage.pooled_inner(), dpooled);
                    pool_row_backward(stage, ring, gradients, row, [&](Floats, long outer, long count) {
                        return load(dpooled + outer, count);
                    });
                } else {
                    pool_row_backward(stage, ring, gradients, row, [&](Floats, long outer, long count) {
                        return load(given + outer, count);
                    });
                }
            },
            [&](long y) {
                const float* row = gradients.row(y);
                each_vector(stage.width * stage.blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
                    Floats raw = load(map + y * stage.outer() + outer, count);
                    Floats d = raw <= stage.floor() ? all(0) : load(row + inner);
                    store(gradient + y * stage.outer() + outer, d, count);
                });
            },
            [&](long y) { std::memset(gradient + y * stage.outer(), 0, stage.outer() * sizeof(T)); });
    });
}

}  // namespace

EXPORT_STAGE(pool_lrn)
