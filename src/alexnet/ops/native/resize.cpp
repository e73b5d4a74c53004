// Resize a square image, bit-identical to Pillow (Resample.c, filter BILINEAR).
//
// An output pixel along one side is
//
//     p = clip((2^21 + sum over j of w_j q_j) / 2^22, 0, 255),   w_j = round(2^22 a_j),   a_j ~ max(0, 1 - |j + 1/2 - center| / support)
//
// with support = max(1, scale), in integers; along rows first, rounded to bytes, then along columns.
#include "exports.h"

namespace {

// The input pixels and weights of each output pixel along a line; of `taps` weights stored, `count` are used.
struct Line {
    int64_t side, size, taps;
    const int32_t *first, *count, *weights;
};

constexpr int32_t BITS = 22, HALF = 1 << (BITS - 1);
typedef int32_t Pixel __attribute__((vector_size(16)));  // R, G, B and an unused lane

template <class Integers>
inline Integers rounded(Integers sum) {
    sum >>= BITS;
    sum = sum < 0 ? Integers{} : sum;
    return sum > 255 ? Integers{} + 255 : sum;
}

// ints (values) <- bytes; writes whole vectors, but reads no byte after the last.
void widen(const uint8_t* bytes, long values, int32_t* ints) {
    for (long i = 0; i < values; i += LANES) {
        uint8_t some[LANES] = {};
        const uint8_t* from = bytes + i;
        if (values - i < LANES) from = static_cast<uint8_t*>(std::memcpy(some, from, values - i));
        const Ints v = load_ints(from);
        std::memcpy(ints + i, &v, sizeof v);
    }
}

// out (size x 3 + 1) <- row (side x 3 + 1).
void along_row(const Line& line, const int32_t* row, uint8_t* out) {
    for (long x = 0; x < line.size; x++) {
        const int32_t *from = row + 3 * line.first[x], *weights = line.weights + line.taps * x;
        Pixel sum = Pixel{} + HALF, q;
        for (long tap = 0, count = line.count[x]; tap < count; tap++) {
            std::memcpy(&q, from + 3 * tap, sizeof q);
            sum += weights[tap] * q;
        }
        sum = rounded(sum);
        const uint32_t bytes = sum[0] | sum[1] << 8 | sum[2] << 16;
        std::memcpy(out + 3 * x, &bytes, sizeof bytes);
    }
}

// out (size x 3) <- output row y of rows (side x size x 3, plus one vector).
void along_columns(const Line& line, long y, const uint8_t* rows, uint8_t* out) {
    const long values = 3 * line.size, count = line.count[y];
    const uint8_t* from = rows + values * line.first[y];
    const int32_t* weights = line.weights + line.taps * y;
    for (long i = 0; i < values; i += LANES) {
        Ints sum = Ints{} + HALF;
        for (long tap = 0; tap < count; tap++) sum += weights[tap] * load_ints(from + values * tap + i);
        const Bytes bytes = __builtin_convertvector(rounded(sum), Bytes);
        std::memcpy(out + i, &bytes, values - i < LANES ? values - i : LANES);
    }
}

}  // namespace

// image: rows of side x 3 bytes, `stride` bytes apart. rows: side x size x 3 + 16 bytes, row: 3 x side + 16 integers, both
// scratch memory. out: (size, size, 3).
EXPORT NAME(resize, square, uint8, ISA)(const Line* line, int64_t stride, const uint8_t* image, uint8_t* rows,
                                        int32_t* row, uint8_t* out) {
    for (long y = 0; y < line->side; y++) {
        widen(image + stride * y, 3 * line->side, row);
        along_row(*line, row, rows + 3 * line->size * y);
    }
    for (long y = 0; y < line->size; y++) along_columns(*line, y, rows, out + 3 * line->size * y);
}
