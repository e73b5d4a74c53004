// [ReLU -> LRN across channels ->] LRN within each map: the second stage of the network that the 2012 code trained.
//
// Within a map (cuda-convnet's rnorm, Caffe's WITHIN_CHANNEL) the sum is over a square of positions of one channel:
//
//     b_p = a_p * s_p^-3/4             s_p = k + alpha * sum of a_q^2 over the square around p
//
// with the derivative of lrn.h. The square extends from p - size / 2 to p + (size - 1) / 2 along both axes and is summed
// along rows first; values outside the map count as zero. Scratch memory holds whole images, because the backward pass
// reads two windows far.
#include "exports.h"
#include "lrn.h"

namespace {

// One image in inner layout.
struct Plane {
    float* values;
    long rows, row_length, pixel;  // row_length, pixel: floats per row and per pixel

    float* row(long y) const { return values + y * row_length; }
};

// row <- for each pixel the sum of `from` over the pixels from `back` before it to `ahead` after it.
inline void sum_along(const Plane& plane, const float* from, long back, long ahead, float* row) {
    for (long x = 0; x < plane.row_length; x += LANES) {
        const long column = x / plane.pixel, columns = plane.row_length / plane.pixel;
        const long left = column < back ? 0 : column - back;
        const long right = column + ahead < columns ? column + ahead : columns - 1;
        Floats sum = load(from + x + (left - column) * plane.pixel);
        for (long other = left + 1; other <= right; other++) sum += load(from + x + (other - column) * plane.pixel);
        store(row + x, sum);
    }
}

// The sum of the rows of `plane` around row y, at `offset`.
inline Floats sum_across(const Plane& plane, long y, long back, long ahead, long offset) {
    const long top = y < back ? 0 : y - back, bottom = y + ahead < plane.rows ? y + ahead : plane.rows - 1;
    Floats sum = load(plane.row(top) + offset);
    for (long other = top + 1; other <= bottom; other++) sum += load(plane.row(other) + offset);
    return sum;
}

// Inputs of both directions: a, the map to normalise, and the sums of its squares along rows.
template <class T>
void prepare(const Stage& stage, const T* x, const Plane& a, const Plane& sums, float* scratch) {
    const long blocks = stage.width * stage.blocks, back = stage.within_size / 2, ahead = (stage.within_size - 1) / 2;
    float* squares = scratch;
    for (long y = 0; y < stage.height; y++) {
        const T* row = x + y * stage.outer();
        if (stage.size) lrn_row(stage, row, blocks, scratch + a.row_length, a.row(y));
        else each_vector(blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
            store(a.row(y) + inner, at_least(load(row + outer, count), stage.floor()));
        });
        for (long i = 0; i < a.row_length; i += LANES) store(squares + i, load(a.row(y) + i) * load(a.row(y) + i));
        sum_along(a, squares, back, ahead, sums.row(y));
    }
}

long scratch_of(const Stage& stage, long planes) {
    const long rest = stage.size ? lrn_scratch(stage, stage.width * stage.blocks) : 0;
    return (planes * stage.height + 1) * stage.inner() + rest;
}

Plane plane(const Stage& stage, float* own, long number) {
    return {own + number * stage.height * stage.inner(), stage.height, stage.inner(), stage.inner() / stage.width};
}

template <class T>
void forward(const Stage& stage, const T* x, T* y) {
    const long back = stage.within_size / 2, ahead = (stage.within_size - 1) / 2;
    parallel(stage.images, stage.threads, scratch_of(stage, 2), [&](long image, float* own) {
        const Plane a = plane(stage, own, 0), sums = plane(stage, own, 1);
        prepare(stage, x + image * stage.height * stage.outer(), a, sums, sums.row(stage.height));
        for (long row = 0; row < stage.height; row++) {
            T* out = y + (image * stage.height + row) * stage.outer();
            each_vector(stage.width * stage.blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
                Floats s = stage.within_k + stage.within_alpha * sum_across(sums, row, back, ahead, inner);
                store(out + outer, load(a.row(row) + inner) * root_of(s).power, count);
            });
        }
    });
}

template <class T>
void backward(const Stage& stage, const T* x, const T* dy, T* dx) {
    const long blocks = stage.width * stage.blocks;
    const long back = stage.within_size / 2, ahead = (stage.within_size - 1) / 2;
    parallel(stage.images, stage.threads, scratch_of(stage, 4), [&](long image, float* own) {
        const Plane a = plane(stage, own, 0), sums = plane(stage, own, 1);
        const Plane direct = plane(stage, own, 2), terms = plane(stage, own, 3);
        float* rest = terms.row(stage.height);
        const T* map = x + image * stage.height * stage.outer();
        prepare(stage, map, a, sums, rest);
        for (long row = 0; row < stage.height; row++) {
            const T* given = dy + (image * stage.height + row) * stage.outer();
            each_vector(blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
                Root root = root_of(stage.within_k + stage.within_alpha * sum_across(sums, row, back, ahead, inner));
                Floats d = load(given + outer, count) * root.power;
                store(direct.row(row) + inner, d);
                store(terms.row(row) + inner, d * load(a.row(row) + inner) * root.inverse);
            });
        }
        // The windows that contain a position: the same sum with back and ahead exchanged.
        for (long row = 0; row < stage.height; row++) sum_along(a, terms.row(row), ahead, back, sums.row(row));
        for (long row = 0; row < stage.height; row++) {
            const T* raw = map + row * stage.outer();
            T* out = dx + (image * stage.height + row) * stage.outer();
            each_vector(blocks, stage.channels, [&](long, long, long outer, long inner, long count) {
                Floats sum = sum_across(sums, row, ahead, back, inner);
                Floats da = load(direct.row(row) + inner) - 1.5f * stage.within_alpha * load(a.row(row) + inner) * sum;
                if (stage.size) store(direct.row(row) + inner, da);
                else store(out + outer, load(raw + outer, count) <= stage.floor() ? all(0) : da, count);
            });
            if (stage.size) lrn_row_backward(stage, raw, direct.row(row), blocks, rest + a.row_length, out);
        }
    });
}

}  // namespace

EXPORT_STAGE(lrn_within)
