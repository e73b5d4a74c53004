// [ReLU ->] LRN across channels, without a pool. The formula is in lrn.h.
#include "exports.h"
#include "lrn.h"

namespace {

template <class T>
void forward(const Stage& stage, const T* x, T* y) {
    const long blocks = stage.width * stage.blocks;
    const long scratch = stage.inner() + lrn_scratch(stage, blocks);
    parallel(stage.images * stage.height, stage.threads, scratch, [&](long row, float* own) {
        float *b = own, *rest = own + stage.inner();
        lrn_row(stage, x + row * stage.outer(), blocks, rest, b);
        each_vector(blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
            store(y + row * stage.outer() + outer, load(b + inner), count);
        });
    });
}

template <class T>
void backward(const Stage& stage, const T* x, const T* dy, T* dx) {
    const long blocks = stage.width * stage.blocks;
    const long scratch = stage.inner() + lrn_scratch(stage, blocks);
    parallel(stage.images * stage.height, stage.threads, scratch, [&](long row, float* own) {
        float *db = own, *rest = own + stage.inner();
        each_vector(blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
            store(db + inner, load(dy + row * stage.outer() + outer, count));
        });
        lrn_row_backward(stage, x + row * stage.outer(), db, blocks, rest, dx + row * stage.outer());
    });
}

}  // namespace

EXPORT_STAGE(lrn)
