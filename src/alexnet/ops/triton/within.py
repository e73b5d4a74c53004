"""LRN within each map, over a square of its positions, as Triton kernels: cuda-convnet's `rnorm`.

    b = a * s^-3/4          s = k + alpha * sum of a² over the square, from BACK before to AHEAD after, along both axes
    da = d s^-3/4 - 3/2 alpha a * sum of d a s^-7/4 over all whose square reaches here

A program goes down ROWS rows of a tile of COLUMNS columns of a map (N, H, W, C), channels last. It sums each row of a
square once, and adds up SIZE of these sums for each row of the output. The gradient takes two launches, between which
its first term and the terms of its sum lie in memory, and goes on through what stands before.

Programs: (images * strips of ROWS rows, tiles of columns).
"""

import triton
import triton.language as tl

from alexnet.ops.triton.channels import activation, bias_of, lrn_gradient, roots


@triton.jit
def strip(strips, height, width, ALL: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    """Of a program: where its map begins, its first row, and its columns."""
    number = tl.program_id(0)
    begin = (number // strips).to(tl.int64) * height * width * ALL
    return begin, number % strips * ROWS, tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)


@triton.jit
def along(row, column, c, held, height, width, ALL: tl.constexpr):
    """The places of a row's values within its map, and whether they are there."""
    line = row + tl.zeros_like(column)  # a mask of a scalar and a vector is none in the interpreter
    inside = ((line < height) & (column < width))[:, None] & held
    return (row * width + column)[:, None] * ALL + c[None, :], inside


@triton.jit
def row_sum(
    image,
    bias,
    row,
    column,
    c,
    held,
    height,
    width,
    ALL: tl.constexpr,
    RELU: tl.constexpr,
    SQUARED: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """(P, C) float32: along one row the sum of the image, or of the squares of its activations, around each column."""
    total = tl.zeros((column.shape[0], c.shape[0]), tl.float32)
    line = row + tl.zeros_like(column)  # a mask of a scalar and a vector is none in the interpreter
    for beside in tl.static_range(-BACK, AHEAD + 1):
        on = (line >= 0) & (line < height) & (column + beside >= 0) & (column + beside < width)
        mask = on[:, None] & held
        at = (row * width + column + beside)[:, None] * ALL + c[None, :]
        _, a = activation(image, at, mask, bias, RELU)
        if SQUARED:
            a = tl.where(mask, a * a, 0.0)
        total += a
    return total


@triton.jit
def added(sums, LAST: tl.constexpr, SIZE: tl.constexpr):
    """The sum of the SIZE tiles of a tuple that end with number LAST."""
    total = sums[LAST]
    for before in tl.static_range(1, SIZE):
        total += sums[LAST - before]
    return total


@triton.jit
def forward(
    x,
    bias,
    y,
    height,
    width,
    strips,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """y <- x normalised."""
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    begin, first, column = strip(strips, height, width, ALL, COLUMNS, ROWS)
    SIZE: tl.constexpr = BACK + AHEAD + 1
    sums = ()
    for step in tl.static_range(ROWS + SIZE - 1):
        above = first - BACK + step
        sums = sums + (row_sum(x + begin, given, above, column, c, held, height, width, ALL, RELU, True, BACK, AHEAD),)
        if step >= SIZE - 1:
            row = above - AHEAD
            at, inside = along(row, column, c, held, height, width, ALL)
            _, a = activation(x + begin, at, inside, given, RELU)
            t = tl.rsqrt(k + alpha * added(sums, step, SIZE))
            b = a * t * tl.sqrt(t)
            if RELU_AFTER:
                b = tl.where(b <= 0, 0.0, b)
            tl.store(y + begin + at, b.to(y.dtype.element_ty), mask=inside)


@triton.jit
def terms(
    x,
    bias,
    dy,
    reached,
    direct,
    height,
    width,
    strips,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """reached <- d a s^-7/4, the terms of the gradient's sum; direct <- d s^-3/4."""
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    begin, first, column = strip(strips, height, width, ALL, COLUMNS, ROWS)
    SIZE: tl.constexpr = BACK + AHEAD + 1
    sums = ()
    for step in tl.static_range(ROWS + SIZE - 1):
        above = first - BACK + step
        sums = sums + (row_sum(x + begin, given, above, column, c, held, height, width, ALL, RELU, True, BACK, AHEAD),)
        if step >= SIZE - 1:
            row = above - AHEAD
            at, inside = along(row, column, c, held, height, width, ALL)
            _, a = activation(x + begin, at, inside, given, RELU)
            t = tl.rsqrt(k + alpha * added(sums, step, SIZE))
            d = tl.load(dy + begin + at, mask=inside, other=0.0).to(tl.float32)
            if RELU_AFTER:
                d = tl.where(a <= 0, 0.0, d)
            d = d * t * tl.sqrt(t)
            tl.store(direct + begin + at, d.to(direct.dtype.element_ty), mask=inside)
            tl.store(reached + begin + at, (d * a * t * t).to(reached.dtype.element_ty), mask=inside)


@triton.jit
def backward(
    x,
    bias,
    source,
    reached,
    direct,
    dx,
    sums,
    height,
    width,
    strips,
    alpha,
    channels_alpha,
    channels_k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
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

    reached, direct: as `terms` left them. source: what was normalised: with NORMAL the output of LRN between channels,
    else x, whose bias and ReLU are applied here. sums (programs, C): each program's sum of dx, for the bias.
    """
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    none = tl.zeros((1, WIDTH), tl.float32)
    begin, first, column = strip(strips, height, width, ALL, COLUMNS, ROWS)
    SIZE: tl.constexpr = BACK + AHEAD + 1
    if BIASED:
        summed = tl.zeros((COLUMNS, WIDTH), tl.float32)
    parts = ()
    for step in tl.static_range(ROWS + SIZE - 1):
        row = first + step - (SIZE - 1)
        parts = parts + (
            row_sum(reached + begin, none, row + BACK, column, c, held, height, width, ALL, False, False, AHEAD, BACK),
        )
        if step >= SIZE - 1:
            at, inside = along(row, column, c, held, height, width, ALL)
            raw, own = activation(x + begin, at, inside, given, RELU)
            if NORMAL:
                _, a = activation(source + begin, at, inside, none, False)
            else:
                a = own
            d = tl.load(direct + begin + at, mask=inside, other=0.0).to(tl.float32)
            d -= 1.5 * alpha * a * added(parts, step, SIZE)
            if NORMAL:
                inverse, power = roots(
                    own, channels_alpha, channels_k, CHANNELS_BACK, CHANNELS_AHEAD, LANES, CHANNELS, SPAN, RAGGED
                )  # fmt: skip
                d = lrn_gradient(
                    own, d, inverse, power, channels_alpha, CHANNELS_BACK, CHANNELS_AHEAD, LANES, CHANNELS, SPAN, RAGGED
                )  # fmt: skip
            if RELU:
                d = tl.where(raw <= 0, 0.0, d)
            tl.store(dx + begin + at, d.to(dx.dtype.element_ty), mask=inside)
            if BIASED:
                summed += tl.where(inside, d, 0.0)
    if BIASED:
        program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        tl.store(sums + program * ALL + c, tl.sum(summed, axis=0), mask=c < ALL)
