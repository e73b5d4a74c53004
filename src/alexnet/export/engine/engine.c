// The engine of a page: a model in one block of bytes, a picture, its answer. Freestanding C for WebAssembly.
//
//     model(bytes) -> where the model goes; prepare() -> 1, or 0 for bytes that are no model
//     picture(width, height) -> where its RGBA goes; answer() -> float (classes), probabilities
//     unknown() -> the score for 'none of these', above 1 where it is none; -1 where the model does not tell
//     heat(class) -> float (height, width) of the last maps; seen() -> RGBA (input, input), what the network saw
//     output(op) -> float, a layer's output; input() -> float (input, input, 3), the normalised view
#include "convolution.h"
#include "heat.h"
#include "image.h"
#include "unknown.h"

static uint8_t* bytes;
static float *view, *probabilities, *heat_map;
static uint8_t* rgba_seen;
static Image photo;
static uint32_t mark;  // memory up to here stays

#define MODEL ((Model*)bytes)
#define EXPORT(name) __attribute__((export_name(name), visibility("default")))

EXPORT("model") uint8_t* place_model(uint32_t count) { return bytes = take(count); }

static int is_pool(const Op* op) { return op->kind == MAX_POOL || op->kind == AVERAGE_POOL || op->kind == ADAPTIVE_POOL; }

// Scratch that every layer shares, as large as the largest needs.
static void reserve_scratch(void) {
    int pad_most = 0, in_most = 0, out_most = 0;
    for (Op* op = MODEL->op; op < MODEL->op + MODEL->ops; op++) {
        if (op->kind != CONVOLUTION) continue;
        const int down = padded_side(op, op->height, op->out_height), across = padded_side(op, op->width, op->out_width);
        pad_most = larger(pad_most, down * across * op->channels);
        if (!op->transformed) continue;
        const int all = tiles(op, op->out_height) * tiles(op, op->out_width);
        in_most = larger(in_most, PLACES * all * op->channels);
        out_most = larger(out_most, PLACES * all * op->out_channels);
    }
    padded = take_floats(pad_most);
    transformed_in = take_floats(in_most);
    transformed_out = take_floats(out_most);
}

// Rows of weights: one for each output, of a locally connected layer for each place, too.
static uint32_t rows_of(const Op* op) {
    const uint32_t places = op->kind == LOCAL ? (uint32_t)op->out_height * op->out_width : 1;
    return places * op->out_channels;
}

EXPORT("prepare") int prepare(void) {
    int row_most = 0;
    if (!bytes || MODEL->magic != MAGIC) return 0;
    for (Op* op = MODEL->op; op < MODEL->op + MODEL->ops; op++) row_most = larger(row_most, op->rows.length);
    row_of_weights = take_floats(row_most);
    view = take_floats(3 * MODEL->input * MODEL->input);
    float* from = take_floats(3 * MODEL->input * MODEL->input);
    for (Op* op = MODEL->op; op < MODEL->op + MODEL->ops; op++) {
        op->in = from;
        from = op->out = take_floats(values_out(op));
        op->slope = op - MODEL->op >= MODEL->maps ? take_floats(values_out(op)) : 0;
        const uint32_t count = (uint32_t)op->rows.length * rows_of(op);
        if (!unpack_rows(bytes, &op->rows, count)) return 0;
        if (op->kind == CONVOLUTION) prepare_convolution(bytes, op, row_of_weights);
    }
    reserve_scratch();
    probabilities = take_floats(MODEL->classes);
    const Op* maps = MODEL->op + MODEL->maps;
    heat_map = take_floats(maps->out_height * maps->out_width);
    rgba_seen = take(4 * MODEL->input * MODEL->input);
    mark = taken;
    return 1;
}

EXPORT("picture") uint8_t* picture(int width, int height) {
    taken = mark;
    photo = (Image){take(4 * (uint32_t)width * height), width, height, 4, 4 * width};
    return (uint8_t*)photo.pixels;
}

static void run(const Op* op) {
    switch (op->kind) {
        case CONVOLUTION: return convolve(bytes, op);
        case DENSE: return dense(bytes, op);
        case LOCAL: return local(bytes, op);
        case AFFINE: return affine(bytes, op);
        case RELU: case TANH: case SIGMOID: return neurons(op);
        case LRN: return lrn(op);
        case LRN_WITHIN: return lrn_within(op);
        case PAD: return pad(op);
        default: return is_pool(op) ? pool(op) : __builtin_trap();
    }
}

EXPORT("answer") const float* answer(void) {
    centre_view(MODEL, fitted(photo, MODEL->store, MODEL->fit), view);
    normalise(MODEL, view, MODEL->op[0].in);
    for (const Op* op = MODEL->op; op < MODEL->op + MODEL->ops; op++) run(op);
    softmax(MODEL->op[MODEL->ops - 1].out, MODEL->classes, MODEL->sharpness, probabilities);
    return probabilities;
}

EXPORT("unknown") float unknown(void) { return MODEL->places ? score(bytes, probabilities) : -1; }

EXPORT("heat") const float* heat(int label) {
    Op *maps = MODEL->op + MODEL->maps, *last = MODEL->op + MODEL->ops - 1;
    for (Op* op = maps; op <= last; op++) clear(op->slope, values_out(op));
    last->slope[label] = 1;
    for (Op* op = last; op > maps; op--) back(bytes, op, op->slope, (op - 1)->slope);
    combine(maps, heat_map);
    return heat_map;
}

EXPORT("seen") const uint8_t* seen(void) {
    shown(MODEL, view, rgba_seen);
    return rgba_seen;
}

EXPORT("input") const float* input(void) { return MODEL->op[0].in; }

EXPORT("output") const float* output(int op) { return MODEL->op[op].out; }
