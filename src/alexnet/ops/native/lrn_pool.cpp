// [ReLU ->] LRN across channels -> max-pool [-> ReLU] in one pass: conv1 and conv2 of the 2012 networks.
//
// Rows are normalised when the pool needs them and kept in a ring buffer, so that the normalised map is never written to
// memory. The backward pass recomputes instead of storing: it normalises, finds the maxima, adds their gradients to a
// second ring buffer, and passes each completed row back through LRN, with the roots kept in two more ring buffers.
#include "exports.h"
#include "lrn.h"
#include "pool.h"

namespace {

template <class T>
void forward(const Stage& stage, const T* x, T* y) {
    const long blocks = stage.width * stage.blocks, kept = ring_rows(stage);
    const long bands = bands_of(stage);
    const long scratch = kept * stage.inner() + lrn_scratch(stage, blocks);
    parallel(stage.images * bands, stage.threads, scratch, [&](long task, float* own) {
        const Band band(stage, task, bands);
        const T* map = x + band.image * stage.height * stage.outer();
        const Ring ring = {own, kept, stage.inner()};
        long done = 0;  // earlier rows are normalised or not needed
        for (long row = band.begin; row < band.end; row++) {
            for (done = done < stage.first(row) ? stage.first(row) : done; done < stage.last(row, stage.height); done++)
                lrn_row(stage, map + done * stage.outer(), blocks, own + kept * stage.inner(), ring.row(done));
            T* out = y + (band.image * stage.pooled_height + row) * stage.pooled_outer();
            pool_row(stage, ring, row, [&](Floats value, long outer, long, long count) {
                store(out + outer, at_least(value, stage.floor_after()), count);
            });
        }
    });
}

template <class T>
void backward(const Stage& stage, const T* x, const T* dy, T* dx) {
    const long blocks = stage.width * stage.blocks, kept = ring_rows(stage);
    const long ring_floats = kept * stage.inner();
    const long scratch = 4 * ring_floats + lrn_scratch(stage, blocks);
    parallel(stage.images, stage.threads, scratch, [&](long image, float* own) {
        const T* map = x + image * stage.height * stage.outer();
        const T* out = dy + image * stage.pooled_height * stage.pooled_outer();
        T* gradient = dx + image * stage.height * stage.outer();
        const Ring ring = {own, kept, stage.inner()}, gradients = {own + ring_floats, kept, stage.inner()};
        const Ring inverses = {own + 2 * ring_floats, kept, stage.inner()};
        const Ring powers = {own + 3 * ring_floats, kept, stage.inner()};
        float* rest = own + 4 * ring_floats;
        each_pooled_row(
            stage, gradients,
            [&](long y) {
                float *inverse = inverses.row(y), *power = powers.row(y);
                lrn_row(stage, map + y * stage.outer(), blocks, rest, ring.row(y), [&](long inner, Root root) {
                    store(inverse + inner, root.inverse);
                    store(power + inner, root.power);
                });
            },
            [&](long row) {
                pool_row_backward(stage, ring, gradients, row, [&](Floats value, long outer, long count) {
                    Floats given = load(out + row * stage.pooled_outer() + outer, count);
                    return value <= stage.floor_after() ? all(0) : given;
                });
            },
            [&](long y) {
                const float *inverse = inverses.row(y), *power = powers.row(y);
                lrn_row_backward(stage, map + y * stage.outer(), gradients.row(y), blocks, rest,
                                 gradient + y * stage.outer(), [&](long, long, long inner) {
                                     return Root{load(inverse + inner), load(power + inner)};
                                 });
            },
            [&](long y) { std::memset(gradient + y * stage.outer(), 0, stage.outer() * sizeof(T)); });
    });
}

}  // namespace

EXPORT_STAGE(lrn_pool)
