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
    parallel(parts.number, job.threads, 0, [&](long task, float*) {
        const long part = parts.number - 1 - task;  // backwards: the end was written last, and is in cache
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

// y and winners <- the normalised winners of a window, and their indexes in it.
template <class T, class Left>
inline void finish(float floor, Floats value, Ints won, T* y, uint8_t* winners, Left left) {
    const Bytes bytes = __builtin_convertvector(value <= floor ? Ints{} + NONE : won, Bytes);
    store(y, at_least(value, floor), left);
    std::memcpy(winners, &bytes, lanes(left));
}

// A window of `image`: y and winners of its channels from c on.
template <class T>
void pool_window(const Norm& job, Channels by, const T* image, const Span& down, const Span& across, long c, T* y,
                 uint8_t* winners) {
    const int32_t start = (down.first - down.start) * job.kernel + across.first - across.start;
    each_one(c, job.channels, [&](long c, auto left) {
        const Floats sign = by.sign(c);
        Floats best = all(-__builtin_inff());
        Ints won = Ints{} + start;
        each_place(job, down, across, [&](int32_t place, long at) {
            const Floats v = sign * load(image + at + c, left);
            const Ints wins = (v > best) | (v != v);
            won = wins ? Ints{} + place : won;
            best = wins ? v : best;
        });
        const Floats slope = by.slope(c) * sign;  // of the sign's values; 0 or positive, or NaN
        finish(job.floor(), (best - sign * by.mean(c)) * slope + by.bias(c), won, y + c, winners + c, left);
    });
}

// The same for whole vectors of bfloat16 channels without NaN; returns how many channels these are.
inline long pool_shorts(const Norm& job, Channels by, const bf16* image, const Span& down, const Span& across, bf16* y,
                        uint8_t* winners) {
    const int16_t start = (down.first - down.start) * job.kernel + across.first - across.start;
    long c = 0;
    for (; c + TWICE <= job.channels; c += TWICE) {
        const Shorts flip = by.flip(c);
        Shorts best = Shorts{} + int16_t(-32768), won = Shorts{} + start;
        each_place(job, down, across, [&](int32_t place, long at) {
            const Shorts v = order_of(load_shorts(static_cast<const void*>(image + at + c))) ^ flip;
            won = v > best ? Shorts{} + int16_t(place) : won;
            best = v > best ? v : best;
        });
        const Shorts bits = order_of(best ^ flip);
        bf16 values[TWICE];
        Halves places[2];
        std::memcpy(values, &bits, sizeof bits);
        std::memcpy(places, &won, sizeof won);
        for (long half = 0; half < 2; half++) {
            const long here = c + half * LANES;
            const Floats value = by.normal(load(values + half * LANES), here);
            finish(job.floor(), value, __builtin_convertvector(places[half], Ints), y + here, winners + here, Whole{});
        }
    }
    return c;
}

inline long pool_shorts(const Norm&, Channels, const float*, const Span&, const Span&, float*, uint8_t*) { return 0; }

// One pooled row: y and winners <- the windows of `image`.
template <class T>
void pool_row(const Norm& job, Channels by, const T* image, long row, T* y, uint8_t* winners) {
    const Span down(job, row, job.height);
    const bool numbers = job.batch && by.sloping;  // a NaN or an infinity anywhere has made the mean NaN, and the slope
    for (long column = 0; column < job.pooled_width; column++, y += job.channels, winners += job.channels) {
        const Span across(job, column, job.width);
        const long done = numbers ? pool_shorts(job, by, image, down, across, y, winners) : 0;
        pool_window(job, by, image, down, across, done, y, winners);
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
            each_one(0, job.channels, [=, floor = job.floor()](long c, auto left) {
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

// The same of the winners of a pooled row of `image`, from channel c on, added to what is there.
template <class T>
void add_winners(const Norm& job, Channels by, const T* image, const Span& down, const T* dy, const uint8_t* winners, long c,
                 float* ones, float* twos) {
    each_one(c, job.channels, [&](long c, auto left) {
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

// The same for whole vectors of bfloat16 channels; returns how many channels these are.
inline long add_shorts(const Norm& job, Channels by, const bf16* image, const Span& down, const bf16* dy,
                       const uint8_t* winners, float* ones, float* twos) {
    long c = 0;
    for (; c + TWICE <= job.channels; c += TWICE) {
        Floats one[2] = {}, two[2] = {};
        for (long column = 0; column < job.pooled_width; column++) {
            const long at = column * job.channels + c;
            const Shorts won = load_shorts(winners + at);
            Shorts value = {};
            each_place(job, down, Span(job, column, job.width), [&](int32_t place, long from) {
                value = won == int16_t(place) ? load_shorts(static_cast<const void*>(image + from + c)) : value;
            });
            const Shorts g = won == int16_t(NONE) ? Shorts{} : load_shorts(static_cast<const void*>(dy + at));
            bf16 values[TWICE], gradients[TWICE];
            std::memcpy(values, &value, sizeof value);
            std::memcpy(gradients, &g, sizeof g);
            for (long half = 0; half < 2; half++) {
                const Floats given = load(gradients + half * LANES);
                one[half] += given;
                two[half] += given * (load(values + half * LANES) - by.mean(c + half * LANES));
            }
        }
        for (long half = 0; half < 2; half++) {
            const long here = c + half * LANES;
            store(ones + here, load(ones + here) + one[half]);
            store(twos + here, load(twos + here) + two[half]);
        }
    }
    return c;
}

inline long add_shorts(const Norm&, Channels, const float*, const Span&, const float*, const uint8_t*, float*, float*) {
    return 0;
}

// dbias = sum g and dweight = inverse * sum g (x - mean) by channel.
template <class T>
void sums_of(const Norm& job, Channels by, const T* x, const T* dy, const float* inverse, const uint8_t* winners,
             float* dweight, float* dbias) {
    const long length = by.length, map = job.height * job.width * job.channels, out = job.pooled_width * job.channels;
    const Parts parts = job.kernel ? Parts(job.images * job.pooled_height, 4 * out) : Parts(job.pixels(), job.channels);
    Scratch all_sums(2 * length * parts.number);
    float* sums = all_sums;
    parallel(parts.number, job.threads, 0, [&](long task, float*) {
        const long part = parts.number - 1 - task;
        float *ones = sums + 2 * length * part, *twos = ones + length;
        if (!job.kernel) return add_pixels(job, by, x, dy, parts.begin(part), parts.end(part), ones, twos);
        for (long row = parts.begin(part); row < parts.end(part); row++) {
            const Span down(job, row % job.pooled_height, job.height);
            const T *image = x + row / job.pooled_height * map, *given = dy + row * out;
            const long done = add_shorts(job, by, image, down, given, winners + row * out, ones, twos);
            add_winners(job, by, image, down, given, winners + row * out, done, ones, twos);
        }
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

// The pooled indexes from `first` to `last` whose windows read an index, which moves upwards.
struct Readers {
    long first = 0, last = -1;

    void reach(const Norm& job, long index, long pooled) {
        while (first * job.stride - job.padding + job.kernel <= index) first++;
        while (last + 1 < pooled && (last + 1) * job.stride - job.padding <= index) last++;
    }
};

// A pixel's dx <- from the `count` windows that read it (COUNT where it is known beforehand).
template <long COUNT, class T>
void pixel_gradient(const Norm& job, Channels by, const Reader<T>* readers, long count, const T* x, T* dx) {
    Reader<T> own[COUNT ? COUNT : 1];  // in registers
    if (COUNT) std::memcpy(own, readers, sizeof own);
    each_one(0, job.channels, [&](long c, auto left) {
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
    Readers down, across;
    down.reach(job, y, job.pooled_height);
    for (long column = 0; column < job.width; column++, x += job.channels, dx += job.channels) {
        across.reach(job, column, job.pooled_width);
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
            each_one(0, job.channels, [=, floor = job.floor()](long c, auto left) {
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
