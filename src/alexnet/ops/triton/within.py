"""LRN within each map, over a square of its positions, as Triton kernels: cuda-convnet's `rnorm`.

    b = a * s^-3/4          s = k + alpha * sum of a² over the square, from BACK before to AHEAD after, along both axes
    da = d s^-3/4 - 3/2 alpha a * sum of d a s^-7/4 over all whose square reaches here

A square's 25 values come from the cache; the gradient takes two launches, between which the terms of its sum lie in
memory, and goes on through what stands before. Programs take tiles of PIXELS of the maps (N, H, W, C), channels last.
"""

import triton
import triton.language as tl

from alexnet.ops.triton.channels import activation, bias_of, lrn_gradient, roots


@triton.jit
def square_sum(
    x,
    bias,
    pixel,
    row,
    column,
    c,
    inside,
    height,
    width,
    ALL: tl.constexpr,
    RELU: tl.constexpr,
    SQUARED: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """(P, C) float32: the sum of x, or of the squares of its activations, over the square around each pixel."""
    total = tl.zeros(inside.shape, tl.float32)
    for down in range(-BACK, AHEAD + 1):
        for along in tl.static_range(-BACK, AHEAD + 1):
            on = (row + down >= 0) & (row + down < height) & (column + along >= 0) & (column + along < width)
            mask = on[:, None] & inside
            at = (pixel + down * width + along).to(tl.int64)[:, None] * ALL + c[None, :]
            _, a = activation(x, at, mask, bias, RELU)
            if SQUARED:
                a = tl.where(mask, a * a, 0.0)
            total += a
    return total


@triton.jit
def forward(
    x,
    bias,
    y,
    pixels,
    height,
    width,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """y <- x normalised."""
    c = tl.arange(0, WIDTH)
    given = bias_of(bias, c, c < ALL, BIASED)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = (pixel < pixels)[:, None] & (c < ALL)[None, :]
    row, column = pixel % (height * width) // width, pixel % width
    at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
    energy = square_sum(x, given, pixel, row, column, c, inside, height, width, ALL, RELU, True, BACK, AHEAD)
    _, a = activation(x, at, inside, given, RELU)
    t = tl.rsqrt(k + alpha * energy)
    b = a * t * tl.sqrt(t)
    if RELU_AFTER:
        b = tl.where(b <= 0, 0.0, b)
    tl.store(y + at, b.to(y.dtype.element_ty), mask=inside)


@triton.jit
def terms(
    x,
    bias,
    dy,
    reached,
    pixels,
    height,
    width,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """reached <- d a s^-7/4, the terms of the gradient's sum."""
    c = tl.arange(0, WIDTH)
    given = bias_of(bias, c, c < ALL, BIASED)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = (pixel < pixels)[:, None] & (c < ALL)[None, :]
    row, column = pixel % (height * width) // width, pixel % width
    at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
    energy = square_sum(x, given, pixel, row, column, c, inside, height, width, ALL, RELU, True, BACK, AHEAD)
    _, a = activation(x, at, inside, given, RELU)
    t = tl.rsqrt(k + alpha * energy)
    d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    if RELU_AFTER:
        d = tl.where(a <= 0, 0.0, d)
    found = d * a * t * t * t * tl.sqrt(t)
    tl.store(reached + at, found.to(reached.dtype.element_ty), mask=inside)


@triton.jit
def backward(
    x,
    bias,
    source,
    dy,
    reached,
    dx,
    sums,
    pixels,
    height,
    width,
    alpha,
    k,
    channels_alpha,
    channels_k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    NORMAL: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    CHANNELS_BACK: tl.constexpr,
    CHANNELS_AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """dx <- the gradient of x, through this normalisation, with NORMAL through LRN between channels, through ReLU.

    source: what was normalised: with NORMAL the output of LRN between channels, else x, whose bias and ReLU are applied
    here. sums (programs, C): each program's sum of dx, for the bias.
    """
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    none = tl.zeros((1, WIDTH), tl.float32)
    if BIASED:
        summed = tl.zeros((PIXELS, WIDTH), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(pixels, PIXELS), tl.num_programs(0)):
        pixel = tile * PIXELS + tl.arange(0, PIXELS)
        inside = (pixel < pixels)[:, None] & held
        row, column = pixel % (height * width) // width, pixel % width
        at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
        raw, own = activation(x, at, inside, given, RELU)
        if NORMAL:
            energy = square_sum(
                source, none, pixel, row, column, c, inside, height, width, ALL, False, True, BACK, AHEAD
            )  # fmt: skip
            _, a = activation(source, at, inside, none, False)
        else:
            energy = square_sum(
                source, given, pixel, row, column, c, inside, height, width, ALL, RELU, True, BACK, AHEAD
            )  # fmt: skip
            a = own
        total = square_sum(
            reached, none, pixel, row, column, c, inside, height, width, ALL, False, False, AHEAD, BACK
        )  # fmt: skip
        t = tl.rsqrt(k + alpha * energy)
        d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
        if RELU_AFTER:
            d = tl.where(a <= 0, 0.0, d)
        d = d * t * tl.sqrt(t) - 1.5 * alpha * a * total
        if NORMAL:
            inverse, power = roots(
                own, channels_alpha, channels_k, CHANNELS_BACK, CHANNELS_AHEAD, LANES, CHANNELS, SPAN, RAGGED
            )  # fmt: skip
            d = lrn_gradient(
                own, d, inverse, power, channels_alpha, CHANNELS_BACK, CHANNELS_AHEAD, LANES, CHANNELS, SPAN, RAGGED
            )  # fmt: skip
        if RELU:
            d = tl.where(raw <= 0, 0.0, d)
        tl.store(dx + at, d.to(dx.dtype.element_ty), mask=inside)
        if BIASED:
            summed += tl.where(inside, d, 0.0)
    if BIASED:
        tl.store(sums + tl.program_id(0) * ALL + c, tl.sum(summed, axis=0), mask=c < ALL)
