// Stored uint8 images to network input: crop, resize, flip, colour transform, noise.
//
// An image has side x side RGB pixels, its view size x size. The crop starts at (top, left) and has height x width
// pixels. A pixel p of the view in row y is
//
//     s = sum over j of w_j part_j,   w_j ~ max(0, 1 - |j + 1/2 - center| / support),   center = top + (y + 1/2) height / size
//     p = matrix s + offset + gray * (mean gray value of all s) + deviation * noise
//
// and likewise along x: bilinear, antialiased if the crop is larger than the view (support = max(1, height / size)).
#include <cstdint>
#include <cstring>

#include "exports.h"
#include "normal.h"

namespace {

struct View {
    const uint8_t* image;
    float top, left, height, width;
    int32_t bounded;   // resampling ignores pixels outside the crop
    int32_t mirrored;  // flip left to right
    float matrix[9], offset[3], gray[3];
    uint64_t noise;  // the key of the noise
};

struct Views {
    int64_t count, side, size;
    float luma[3];       // weights of R, G, B in a gray value
    float deviation[3];  // of the noise per channel; zeros: no noise
    int32_t threads;
};

constexpr long FRONT = 16;  // floats before and after a view, for vectors that cross its ends
typedef float Quad __attribute__((vector_size(16)));

inline Quad load_quad(const float* from) {
    Quad v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

// Along one axis of the crop: the input pixels of each output pixel.
struct Axis {
    float begin, scale, support;
    long low, high;  // pixels outside low ... high - 1 are ignored

    Axis(float begin, float length, long size, long side, bool bounded) : begin(begin), scale(length / size) {
        support = scale < 1 ? 1 : scale;
        low = bounded ? long(begin) : 0;
        high = bounded ? long(begin + length) : side;
    }

    static long most_taps(long side, long size) { return 2 * (side / size + 1) + 2; }

    float center(long index) const { return begin + (index + 0.5f) * scale; }
    long first(long index) const {
        long found = long(__builtin_floorf(center(index) - support + 0.5f));
        return found < low ? low : found;
    }
    long end(long index) const {
        long found = long(__builtin_floorf(center(index) + support + 0.5f));
        return found > high ? high : found;
    }

    // The weights of pixels first(index) ... end(index) - 1, which sum to one.
    void weigh(long index, float* weights) const {
        const long from = first(index), count = end(index) - from;
        float sum = 0;
        for (long tap = 0; tap < count; tap++) {
            float far = __builtin_fabsf(from + tap + 0.5f - center(index)) / support;
            sum += weights[tap] = far < 1 ? 1 - far : 0;
        }
        for (long tap = 0; tap < count; tap++) weights[tap] /= sum;
    }
};

inline bool is_window(const Views& job, const View& shown) {
    const bool whole = shown.top == long(shown.top) && shown.left == long(shown.left);
    return whole && shown.height == job.size && shown.width == job.size;
}

// view (size x size x 3) <- the crop at (top, left), copied.
void copy_window(const Views& job, const View& shown, float* view) {
    for (long y = 0; y < job.size; y++) {
        const uint8_t* row = shown.image + 3 * ((long(shown.top) + y) * job.side + long(shown.left));
        for (long i = 0; i < 3 * job.size; i += LANES) store(view + 3 * job.size * y + i, load(row + i, 3 * job.size - i));
    }
}

// line <- one row of the crop resized along y only, its pixels from `left` to `right`.
void blend_rows(const Views& job, const View& shown, const Axis& down, long y, long left, long right, float* weights,
                float* line) {
    down.weigh(y, weights);
    const long first = down.first(y), count = down.end(y) - first, values = 3 * (right - left);
    const uint8_t* row = shown.image + 3 * (first * job.side + left);
    for (long i = 0; i < values; i += LANES) {
        Floats sum = all(0);
        for (long tap = 0; tap < count; tap++) sum += weights[tap] * load(row + 3 * job.side * tap + i, values - i);
        store(line + i, sum);
    }
}

// Along x: where the pixels of each pixel of the view begin in a line, and as many weights for each, zeros after the last.
struct Columns {
    float* weights;  // (size, room)
    int32_t* from;   // (size), in floats
    long room, taps;
};

inline long room_of(const Views& job) {
    const long taps = Axis::most_taps(job.side, job.size);
    return taps * (job.size + 1) + job.size + 3 * (job.side + taps) + FRONT;
}

// A mirrored view takes the columns in reverse.
Columns columns_of(const Views& job, const Axis& across, long left, bool mirrored, float* weights, int32_t* from) {
    const long room = Axis::most_taps(job.side, job.size);
    std::memset(weights, 0, room * job.size * sizeof(float));
    long taps = 0;
    for (long x = 0; x < job.size; x++) {
        const long at = mirrored ? job.size - 1 - x : x, first = across.first(x), count = across.end(x) - first;
        across.weigh(x, weights + room * at);
        from[at] = int32_t(3 * (first - left));
        taps = count > taps ? count : taps;
    }
    return {weights, from, room, taps};
}

// A row of the view <- a line resized along x. The fourth float of each pixel is overwritten by the next.
template <int TAPS>
void blend_columns(const Columns& columns, long size, const float* line, float* row) {
    const long taps = TAPS ? TAPS : columns.taps;
    for (long x = 0; x < size; x++) {
        const float *pixels = line + columns.from[x], *weights = columns.weights + columns.room * x;
        Quad sum = {};
        for (long tap = 0; tap < taps; tap++) sum += weights[tap] * load_quad(pixels + 3 * tap);
        std::memcpy(row + 3 * x, &sum, sizeof sum);
    }
}

// view (size x size x 3) <- the crop, resized and mirrored.
void scale_part(const Views& job, const View& shown, float* scratch, float* view) {
    const Axis down(shown.top, shown.height, job.size, job.side, shown.bounded);
    const Axis across(shown.left, shown.width, job.size, job.side, shown.bounded);
    const long room = Axis::most_taps(job.side, job.size), left = across.first(0), right = across.end(job.size - 1);
    float *row_weights = scratch, *weights = scratch + room, *from = weights + room * job.size, *line = from + job.size;
    const Columns columns = columns_of(job, across, left, shown.mirrored, weights, reinterpret_cast<int32_t*>(from));
    const auto blend = columns.taps == 2 ? blend_columns<2> : columns.taps == 3 ? blend_columns<3> : blend_columns<0>;
    for (long y = 0; y < job.size; y++) {
        blend_rows(job, shown, down, y, left, right, row_weights, line);
        blend(columns, job.size, line, view + 3 * job.size * y);
    }
}

void mirror(long size, float* view) {
    for (long y = 0; y < size; y++)
        for (float *a = view + 3 * size * y, *b = a + 3 * (size - 1); a < b; a += 3, b -= 3)
            for (long c = 0; c < 3; c++) {
                float kept = a[c];
                a[c] = b[c];
                b[c] = kept;
            }
}

// The channel of lane `lane` of vector `number`; the pattern repeats after three vectors.
inline long channel_of(long number, long lane) { return (number * LANES + lane) % 3; }

float mean_gray(const Views& job, const float* view) {
    const long values = 3 * job.size * job.size;
    Floats sums[3] = {};
    long i = 0;
    for (; i + 3 * LANES <= values; i += 3 * LANES)
        for (long number = 0; number < 3; number++) sums[number] += load(view + i + number * LANES);
    for (long number = 0; i < values; i += LANES, number++) sums[number] += load(view + i, values - i);
    float gray = 0;
    for (long number = 0; number < 3; number++)
        for (long lane = 0; lane < LANES; lane++) gray += job.luma[channel_of(number, lane)] * sums[number][lane];
    return gray / (job.size * job.size);
}

// The colour transform of an image: a channel's new value is a weighted sum of at most two values before and two after it
// in memory, with weights that repeat after three values, hence after three vectors, which needs no shuffles.
struct Paint {
    Floats weights[5][3], base[3], deviation[3];
    bool mixes;  // channels

    Paint(const Views& job, const View& shown, float gray) : weights{}, mixes(false) {
        for (long number = 0; number < 3; number++)
            for (long lane = 0; lane < LANES; lane++) {
                const long channel = channel_of(number, lane);
                base[number][lane] = shown.offset[channel] + gray * shown.gray[channel];
                deviation[number][lane] = job.deviation[channel];
                for (long from = 0; from < 3; from++) {
                    const float weight = shown.matrix[3 * channel + from];
                    weights[from - channel + 2][number][lane] = weight;
                    mixes |= from != channel && weight != 0;
                }
            }
    }

    template <bool MIXES, bool NOISY>
    Floats of(const float* view, const float* noise, long number) const {
        Floats value = base[number];
        for (long shift = MIXES ? -2 : 0; shift <= (MIXES ? 2 : 0); shift++)
            value += weights[shift + 2][number] * load(view + shift);
        if (NOISY) value += deviation[number] * load(noise);
        return value;
    }
};

// out <- `values` values of the view after the colour transform.
template <bool MIXES, bool NOISY, class T>
void paint(const Paint& how, const float* view, const float* noise, long values, T* out) {
    const Paint own = how;
    long i = 0;
    for (; i + 3 * LANES <= values; i += 3 * LANES)
        for (long number = 0; number < 3; number++) {
            const long at = i + number * LANES;
            store(out + at, own.of<MIXES, NOISY>(view + at, NOISY ? noise + at : nullptr, number));
        }
    for (long number = 0; i < values; i += LANES, number++)
        store(out + i, own.of<MIXES, NOISY>(view + i, NOISY ? noise + i : nullptr, number), values - i);
}

template <class T>
void paint(const Views& job, const View& shown, const float* view, const float* noise, T* out) {
    const float gray = shown.gray[0] || shown.gray[1] || shown.gray[2] ? mean_gray(job, view) : 0;
    const Paint how(job, shown, gray);
    const auto chosen = noise ? (how.mixes ? paint<true, true, T> : paint<false, true, T>)
                              : (how.mixes ? paint<true, false, T> : paint<false, false, T>);
    chosen(how, view, noise, 3 * job.size * job.size, out);
}

// out: (count, size, size, 3).
template <class T>
void render(const Views& job, const View* shown, T* out) {
    const long values = 3 * job.size * job.size, scaling = room_of(job);
    const bool noisy = job.deviation[0] || job.deviation[1] || job.deviation[2];
    const long noises = noisy ? 4 * quarter_of(values) + FRONT : 0;
    parallel(job.count, job.threads, 2 * FRONT + values + scaling + noises, [&](long n, float* own) {
        float *view = own + FRONT, *rest = view + values + FRONT, *noise = noisy ? rest + scaling : nullptr;
        if (is_window(job, shown[n])) {
            copy_window(job, shown[n], view);
            if (shown[n].mirrored) mirror(job.size, view);
        } else {
            scale_part(job, shown[n], rest, view);
        }
        if (noisy) fill_normal(shown[n].noise, values, noise);
        paint(job, shown[n], view, noise, out + n * values);
    });
}

// out: (count, bytes) <- stored images, wherever they lie.
void gather(const std::uint8_t* const* images, long count, long bytes, std::uint8_t* out, int threads) {
    parallel(count, threads, 0, [&](long n, float*) { std::memcpy(out + n * bytes, images[n], bytes); });
}

}  // namespace

#define EXPORT_VIEWS(T, type)                                                                \
    EXPORT NAME(views, render, type, ISA)(const Views* job, const View* shown, T* out) { \
        render(*job, shown, out);                                                            \
    }

EXPORT_VIEWS(float, float32)
EXPORT_VIEWS(bf16, bfloat16)

EXPORT NAME(views, gather, uint8, ISA)(
    const std::uint8_t* const* images, std::int64_t count, std::int64_t bytes, std::uint8_t* out, std::int32_t threads) {
    gather(images, count, bytes, out, threads);
}
