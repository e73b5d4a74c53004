// BatchNorm -> [ReLU] -> [max-pool], forward in two passes over x and backward in two.
//
//     y = pool(relu(slope (x - mean) + bias)),  slope = weight * inverse,  inverse = 1 / sqrt(variance + eps)
//     g = the gradient of y, at the values that won in the pool and passed the ReLU
//     dbias = sum g,  dweight = inverse * sum g (x - mean)
//     dx = slope (g - dbias / n - (x - mean) inverse dweight / n); without the latter two, where the mean is not x's
//
// Ioffe and Szegedy 2015, section 3. A pool of the normalised values is one of x itself, or of -x where the slope is
// negative, so that only winners are normalised. Of the forward pass it remains which value of each window won.
#include "norm.h"

namespace {

// of one channel and part: center, sum of x - center, sum of (x - center)^2
template <class T>
void part_moments(const T* x, long pixels, long channels, float* center, float* first, float* second) {
    each_few(channels, [=](auto few, long c, auto left) {
        constexpr long V = decltype(few)::count;
        Floats sum[V] = {}, middle[V], one[V] = {}, two[V] = {};
        for (long p = 0; p < pixels; p++)
            for (long v = 0; v < V; v++) sum[v] += load(x + p * channels + c + v * LANES, left);
        for (long v = 0; v < V; v++) middle[v] = sum[v] / float(pixels);
        for (long p = 0; p < pixels; p++)
            for (long v = 0; v < V; v++) {
                const Floats far = load(x + p * channels + c + v * LANES, left) - middle[v];
                one[v] += far;
                two[v] += far * far;
            }
        for (long v = 0; v < V; v++) {
            store(center + c + v * LANES, middle[v]);
            store(first + c + v * LANES, one[v]);
            store(second + c + v * LANES, two[v]);
        }
    });
}

// Mean and variance (divided by n) by channel, in float64 from the sums of the parts.
template <class T>
void moments(const Norm& job, const T* x, float* mean, float* variance) {
    const Parts parts(job.pixels(), job.channels);
    const long length = padded(job.channels);
    Scratch all_sums(3 * length * parts.number);
    float* sums = all_sums;
    parallel(parts.number, job.threads, 0, [&](long part, float*) {
        float* own = sums + 3 * length * part;
        part_moments(x + parts.begin(part) * job.channels, parts.items(part), job.channels, own, own + length, own + 2 * length);
    });
    parallel(length / LANES, job.threads, 0, [&](long task, float*) {
        for (long c = task * LANES; c < (task + 1) * LANES && c < job.channels; c++) {
            double total = 0, squares = 0;
            for (long part = 0; part < parts.number; part++) {
                const float* own = sums + 3 * length * part + c;
                total += double(own[0]) * parts.items(part) + own[length];
            }
            const double middle = total / job.pixels();
            for (long part = 0; part < parts.number; part++) {
                const float* own = sums + 3 * length * part + c;
                const double far = middle - own[0];
                squares += own[2 * length] - 2 * far * own[length] + far * far * parts.items(part);
            }
            mean[c] = middle;
            variance[c] = squares / job.pixels();
        }
    });
}

// The part of a pool's window that lies in the map, along one axis.
struct Span {
    long start, first, end;

    Span(const Norm& job, long index, long length) : start(index * job.stride - job.padding) {
        first = start < 0 ? 0 : start;
        end = start + job.kernel < length ? start + job.kernel : length;
    }
    bool whole(long kernel) const { return first == start && end == start + kernel; }
};

// Calls body(index in the window, offset in the image) for the pixels of a window in row order.
template <class Body>
inline void each_place(const Norm& job, const Span& down, const Span& across, Body body) {
    const long row = job.width * job.channels;
    if (job.kernel == 3 && down.whole(3) && across.whole(3)) {
        const long at = down.first * row + across.first * job.channels;
#pragma GCC unroll 9
        for (int32_t place = 0; place < 9; place++) body(place, at + place / 3 * row + place % 3 * job.channels);
        return;
    }
    for (long y = down.first; y < down.end; y++)
        for (long x = across.first; x < across.end; x++)
            body(int32_t((y - down.start) * job.kernel + x - across.start), y * row + x * job.channels);
}

// One pooled row: y and winners <- the windows of `image`.
template <class T>
void pool_row(const Norm& job, Channels by, const T* image, long row, T* y, uint8_t* winners) {
    const Span down(job, row, job.height);
    for (long column = 0; column < job.pooled_width; column++) {
        const Span across(job, column, job.width);
        const int32_t start = (down.first - down.start) * job.kernel + across.first - across.start;
        each_one(job.channels, [&](long c, auto left) {
            const Floats sign = by.sign(c);
            const long to = column * job.channels + c;
            Floats best = all(-__builtin_inff());
            Ints won = Ints{} + start;
            each_place(job, down, across, [&](int32_t place, long at) {
                const Floats v = sign * load(image + at + c, left);
                const Ints wins = (v > best) | (v != v);
                won = wins ? Ints{} + place : won;
                best = wins ? v : best;
            });
            const Floats slope = by.slope(c) * sign;  // of the sign's values; 0 or positive, or NaN
            const Floats value = (best - sign * by.mean(c)) * slope + by.bias(c);
            won = value <= job.floor() ? Ints{} + NONE : won;
            const Bytes bytes = __builtin_convertvector(won, Bytes);
            store(y + to, at_least(value, job.floor()), left);
            std::memcpy(winners + to, &bytes, lanes(left));
        });
    }
}

template <class T>
void forward(const Norm& job, const T* x, const float* mean, const float* inverse, const float* weight, const float* bias,
             T* y, uint8_t* winners) {
    Scratch memory(Channels::ROWS * padded(job.channels));
    const Channels by = channels_of(job, mean, inverse, weight, bias, memory);
    const long map = job.height * job.width * job.channels, out = job.pooled_width * job.channels;
    if (job.kernel) {
        const Parts parts(job.images * job.pooled_height, 4 * out);
        parallel(parts.number, job.threads, 0, [&](long part, float*) {
            for (long row = parts.begin(part); row < parts.end(part); row++)
                pool_row(job, by, x + row / job.pooled_height * map, row % job.pooled_height, y + row * out, winners + row * out);
        });
        return;
    }
    const Parts parts(job.pixels(), job.channels);
    parallel(parts.number, job.threads, 0, [&](long part, float*) {
        for (long p = parts.begin(part); p < parts.end(part); p++)
            each_one(job.channels, [=, floor = job.floor()](long c, auto left) {
                const long at = p * job.channels + c;
                store(y + at, at_least(by.normal(load(x + at, left), c), floor), left);
            });
    });
}

// g of a value x, where there is no pool: its gradient, or zero where the ReLU stopped it.
inline Floats passed(float floor, Channels by, Floats x, Floats dy, long c) {
    return by.normal(x, c) <= floor ? all(0) : dy;
}

// Of pixels `begin` to `end`: ones += g, twos += g (x - mean), by channel.
template <class T>
void add_pixels(const Norm& job, Channels by, const T* x, const T* dy, long begin, long end, float* ones, float* twos) {
    each_few(job.channels, [=, channels = job.channels, floor = job.floor()](auto few, long c, auto left) {
        constexpr long V = decltype(few)::count;
        Floats one[V] = {}, two[V] = {};
        for (long p = begin; p < end; p++)
            for (long v = 0; v < V; v++) {
                const long here = c + v * LANES, at = p * channels + here;
                const Floats value = load(x + at, left), g = passed(floor, by, value, load(dy + at, left), here);
                one[v] += g;
                two[v] += g * (value - by.mean(here));
            }
        for (long v = 0; v < V; v++) {
            store(ones + c + v * LANES, one[v]);
            store(twos + c + v * LANES, two[v]);
        }
    });
}

// The same of the winners of a pooled row of `image`, added to what is there.
template <class T>
void add_winners(const Norm& job, Channels by, const T* image, long row, const T* dy, const uint8_t* winners, float* ones,
                 float* twos) {
    const Span down(job, row, job.height);
    each_one(job.channels, [&](long c, auto left) {
        const Floats mean = by.mean(c);
        Floats one = load(ones + c), two = load(twos + c);
        for (long column = 0; column < job.pooled_width; column++) {
            const long at = column * job.channels + c;
            const Ints won = load_places(winners + at, left);
            Floats value = mean;
            each_place(job, down, Span(job, column, job.width), [&](int32_t place, long from) {
                value = won == place ? load(image + from + c, left) : value;
            });
            const Floats g = won == int32_t(NONE) ? all(0) : load(dy + at, left);
            one += g;
            two += g * (value - mean);
        }
        store(ones + c, one);
        store(twos + c, two);
    });
}

// dbias = sum g and dweight = inverse * sum g (x - mean) by channel.
template <class T>
void sums_of(const Norm& job, Channels by, const T* x, const T* dy, const float* inverse, const uint8_t* winners,
             float* dweight, float* dbias) {
    const long length = by.length, map = job.height * job.width * job.channels, out = job.pooled_width * job.channels;
    const Parts parts = job.kernel ? Parts(job.images * job.pooled_height, 4 * out) : Parts(job.pixels(), job.channels);
    Scratch all_sums(2 * length * parts.number);
    float* sums = all_sums;
    parallel(parts.number, job.threads, 0, [&](long part, float*) {
        float *ones = sums + 2 * length * part, *twos = ones + length;
        if (!job.kernel) return add_pixels(job, by, x, dy, parts.begin(part), parts.end(part), ones, twos);
        for (long row = parts.begin(part); row < parts.end(part); row++)
            add_winners(job, by, x + row / job.pooled_height * map, row % job.pooled_height, dy + row * out,
                        winners + row * out, ones, twos);
    });
    for (long c = 0; c < job.channels; c++) {
        double one = 0, two = 0;
        for (long part = 0; part < parts.number; part++) {
            one += sums[2 * length * part + c];
            two += sums[2 * length * part + length + c];
        }
        dbias[c] = one;
        dweight[c] = two * inverse[c];
    }
}

// A window that reads an input pixel: its winners, its gradients, and the pixel's index in it.
template <class T>
struct Reader {
    const uint8_t* winners;
    const T* dy;
    int32_t place;
};

// The pooled indexes from `first` to `last` whose windows read `index`.
struct Readers {
    long first, last;

    Readers(const Norm& job, long index, long pooled) {
        const long low = index + job.padding - job.kernel + 1, high = (index + job.padding) / job.stride;
        first = low <= 0 ? 0 : (low + job.stride - 1) / job.stride;
        last = high < pooled ? high : pooled - 1;
    }
};

// A pixel's dx <- from the `count` windows that read it (COUNT where it is known beforehand).
template <long COUNT, class T>
void pixel_gradient(const Norm& job, Channels by, const Reader<T>* readers, long count, const T* x, T* dx) {
    Reader<T> own[COUNT ? COUNT : 1];  // in registers
    if (COUNT) std::memcpy(own, readers, sizeof own);
    each_one(job.channels, [&](long c, auto left) {
        Floats g = all(0);
        for (long i = 0; i < (COUNT ? COUNT : count); i++) {
            const Reader<T>& reader = COUNT ? own[i] : readers[i];
            g += load_places(reader.winners + c, left) == reader.place ? load(reader.dy + c, left) : all(0);
        }
        store(dx + c, by.gradient(g, load(x + c, left), c), left);
    });
}

// One row `y` of an image: dx <- x, given the pooled map's gradients and winners of that image.
template <class T>
void row_gradient(const Norm& job, Channels by, const T* x, const T* dy, const uint8_t* winners, long y,
                  T* dx) {
    Reader<T> readers[NONE];  // a window has fewer pixels than that
    const Readers down(job, y, job.pooled_height);
    for (long column = 0; column < job.width; column++, x += job.channels, dx += job.channels) {
        const Readers across(job, column, job.pooled_width);
        long count = 0;
        for (long p = down.first; p <= down.last; p++)
            for (long q = across.first; q <= across.last; q++) {
                const long at = (p * job.pooled_width + q) * job.channels;
                const long place = (y + job.padding - p * job.stride) * job.kernel + column + job.padding - q * job.stride;
                readers[count++] = {winners + at, dy + at, int32_t(place)};
            }
        if (count == 1) pixel_gradient<1>(job, by, readers, count, x, dx);
        else if (count == 2) pixel_gradient<2>(job, by, readers, count, x, dx);
        else if (count == 4) pixel_gradient<4>(job, by, readers, count, x, dx);
        else pixel_gradient<0>(job, by, readers, count, x, dx);
    }
}

template <class T>
void backward(const Norm& job, const T* x, const T* dy, const float* mean, const float* inverse, const float* weight,
              const float* bias, const uint8_t* winners, T* dx, float* dweight, float* dbias) {
    Scratch memory(Channels::ROWS * padded(job.channels));
    const Channels by = channels_of(job, mean, inverse, weight, bias, memory);
    sums_of(job, by, x, dy, inverse, winners, dweight, dbias);
    set_common(job, inverse, dweight, dbias, memory);
    const long row = job.width * job.channels, out = job.pooled_height * job.pooled_width * job.channels;
    const Parts parts = job.kernel ? Parts(job.images * job.height, row) : Parts(job.pixels(), job.channels);
    parallel(parts.number, job.threads, 0, [&](long part, float*) {
        for (long item = parts.begin(part); item < parts.end(part); item++) {
            if (job.kernel) {
                const long image = item / job.height;
                row_gradient(job, by, x + item * row, dy + image * out, winners + image * out, item % job.height,
                             dx + item * row);
                continue;
            }
            each_one(job.channels, [=, floor = job.floor()](long c, auto left) {
                const long at = item * job.channels + c;
                const Floats value = load(x + at, left), g = passed(floor, by, value, load(dy + at, left), c);
                store(dx + at, by.gradient(g, value, c), left);
            });
        }
    });
}

}  // namespace

#define EXPORT_NORM(T, type)                                                                                        \
    EXPORT NAME(norm, moments, type, ISA)(const Norm* job, const T* x, float* mean, float* variance) {              \
        moments(*job, x, mean, variance);                                                                           \
    }                                                                                                               \
    EXPORT NAME(norm, forward, type, ISA)(const Norm* job, const T* x, const float* mean, const float* inverse,     \
                                          const float* weight, const float* bias, T* y, uint8_t* winners) {         \
        forward(*job, x, mean, inverse, weight, bias, y, winners);                                                  \
    }                                                                                                               \
    EXPORT NAME(norm, backward, type, ISA)(const Norm* job, const T* x, const T* dy, const float* mean,             \
                                           const float* inverse, const float* weight, const float* bias,            \
                                           const uint8_t* winners, T* dx, float* dweight, float* dbias) {           \
        backward(*job, x, dy, mean, inverse, weight, bias, winners, dx, dweight, dbias);                            \
    }

EXPORT_NORM(float, float32)
EXPORT_NORM(bf16, bfloat16)
