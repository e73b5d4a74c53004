"""[Bias ->] [ReLU ->] LRN between channels and max-pool in either order [-> ReLU], and the gradient, as Triton kernels.

`forward` gives a program a strip of pooled rows. It passes down the map once: the last row of a window is the first of
the next (3 x 3 windows, 2 apart), so that its maxima over columns are carried along. The place in its window of each
winner is kept in a byte. `backward` gives a program tiles of pixels: each collects from the windows that reach it the
gradients it has won, and normalises anew, so that no normalised map lies in memory.

Maps are channels last: x (N, H, W, C), y, dy and winners (N, pooled_height, pooled_width, C). Constants are those of
`alexnet.ops.triton.launch`. NORMAL: 0 without LRN, 1 LRN before the pool, 2 after it.
"""

import triton
import triton.language as tl

from alexnet.ops.triton.channels import activation, bias_of, lrn_gradient, roots


@triton.jit
def row_maxima(
    image,
    given,
    row,
    q,
    c,
    held,
    height,
    width,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    RELU: tl.constexpr,
    NORMAL: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """Of one row of a map: the maximum over the columns of each window, and its column in the window.

    Ties go to the first, NaN counts as largest, as in PyTorch. Outside the map: -inf, and the first column inside.
    """
    best = tl.full((COLUMNS, WIDTH), float("-inf"), tl.float32)
    place = tl.broadcast_to(tl.maximum(PADDING - q * STRIDE, 0)[:, None], (COLUMNS, WIDTH))
    line = row + tl.zeros_like(q)  # a mask of a scalar and a vector is none in the interpreter
    for step in tl.static_range(KERNEL):
        column = q * STRIDE - PADDING + step
        inside = ((line >= 0) & (line < height) & (column >= 0) & (column < width))[:, None]
        at = (row * width + column)[:, None] * ALL + c[None, :]
        _, a = activation(image, at, inside & held, given, RELU)
        if NORMAL == 1:
            _, power = roots(a, alpha, k, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
            a = a * power
        a = tl.where(inside, a, float("-inf"))
        wins = (a > best) | (a != a)
        best = tl.where(wins, a, best)
        place = tl.where(wins, step, place)
    return best, place


@triton.jit
def forward(
    x,
    bias,
    y,
    winners,
    height,
    width,
    pooled_height,
    pooled_width,
    rows,
    strips,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    NORMAL: tl.constexpr,
    KEEP: tl.constexpr,
    CARRIED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """y <- the stage of x, and with KEEP winners <- the place of each maximum in its window, row by row.

    Programs: (images * strips of `rows` pooled rows, tiles of COLUMNS pooled columns).
    """
    number = tl.program_id(0)
    index = (number // strips).to(tl.int64)
    first = number % strips * rows
    last = tl.minimum(first + rows, pooled_height)
    q = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    image = x + index * height * width * ALL
    out = index * pooled_height * pooled_width * ALL
    if CARRIED:
        maximum, column = row_maxima(
            image, given, first * STRIDE - PADDING, q, c, held, height, width, alpha, k,
            ALL, WIDTH, COLUMNS, RELU, NORMAL, KERNEL, STRIDE, PADDING, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED,
        )  # fmt: skip
    for row in range(first, last):
        top = row * STRIDE - PADDING
        if not CARRIED:
            maximum, column = row_maxima(
                image, given, top, q, c, held, height, width, alpha, k,
                ALL, WIDTH, COLUMNS, RELU, NORMAL, KERNEL, STRIDE, PADDING, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED,
            )  # fmt: skip
        best = maximum
        place = column + tl.maximum(-top, 0) * KERNEL
        for step in tl.static_range(1, KERNEL):
            maximum, column = row_maxima(
                image, given, top + step, q, c, held, height, width, alpha, k,
                ALL, WIDTH, COLUMNS, RELU, NORMAL, KERNEL, STRIDE, PADDING, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED,
            )  # fmt: skip
            wins = (maximum > best) | (maximum != maximum)
            best = tl.where(wins, maximum, best)
            place = tl.where(wins, column + step * KERNEL, place)
        if NORMAL == 2:
            _, power = roots(best, alpha, k, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
            best = best * power
        if RELU_AFTER:
            best = tl.where(best <= 0, 0.0, best)
        at = out + (row * pooled_width + q)[:, None] * ALL + c[None, :]
        inside = (q < pooled_width)[:, None] & held
        tl.store(y + at, best.to(y.dtype.element_ty), mask=inside)
        if KEEP:
            tl.store(winners + at, place.to(tl.uint8), mask=inside)


@triton.jit
def won(
    dy,
    winners,
    index,
    row,
    column,
    c,
    inside,
    pooled_height,
    pooled_width,
    ALL: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    TAPS: tl.constexpr,
):
    """(P, C) float32: for pixels (index of the image, row, column) the sum of dy over the windows that they won."""
    total = tl.zeros(inside.shape, tl.float32)
    for down in tl.static_range(TAPS):
        pooled_row = (row + PADDING) // STRIDE - down
        below = row + PADDING - pooled_row * STRIDE
        for along in tl.static_range(TAPS):
            pooled_column = (column + PADDING) // STRIDE - along
            beside = column + PADDING - pooled_column * STRIDE
            reaches = (pooled_row >= 0) & (pooled_row < pooled_height) & (below < KERNEL)
            reaches = reaches & (pooled_column >= 0) & (pooled_column < pooled_width) & (beside < KERNEL)
            mask = reaches[:, None] & inside
            place = (index * pooled_height + pooled_row) * pooled_width + pooled_column
            at = place.to(tl.int64)[:, None] * ALL + c[None, :]
            winner = tl.load(winners + at, mask=mask, other=255).to(tl.int32)
            given = tl.load(dy + at, mask=mask, other=0.0).to(tl.float32)
            total += tl.where(winner == (below * KERNEL + beside)[:, None], given, 0.0)
    return total


@triton.jit
def backward(
    x,
    bias,
    dy,
    winners,
    dx,
    sums,
    pixels,
    height,
    width,
    pooled_height,
    pooled_width,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    NORMAL: tl.constexpr,
    POOLED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    TAPS: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """dx <- the gradient of x, from dy of the pool (POOLED) or of each pixel, through LRN (NORMAL = 1) and ReLU.

    sums (programs, C): each program's sum of dx, whose sum over the programs is the bias's gradient.
    """
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    if BIASED:
        total = tl.zeros((PIXELS, WIDTH), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(pixels, PIXELS), tl.num_programs(0)):
        pixel = tile * PIXELS + tl.arange(0, PIXELS)
        inside = (pixel < pixels)[:, None] & held
        at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
        raw, a = activation(x, at, inside, given, RELU)
        if POOLED:
            index = pixel // (height * width)
            row = pixel % (height * width) // width
            d = won(
                dy, winners, index, row, pixel % width, c, inside, pooled_height, pooled_width,
                ALL, KERNEL, STRIDE, PADDING, TAPS,
            )  # fmt: skip
        else:
            d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
        if NORMAL == 1:
            inverse, power = roots(a, alpha, k, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
            if RELU_AFTER:
                d = tl.where(a * power <= 0, 0.0, d)
            d = lrn_gradient(a, d, inverse, power, alpha, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
        elif RELU_AFTER:
            d = tl.where(a <= 0, 0.0, d)
        if RELU:
            d = tl.where(raw <= 0, 0.0, d)
        tl.store(dx + at, d.to(dx.dtype.element_ty), mask=inside)
        if BIASED:
            total += tl.where(inside, d, 0.0)
    if BIASED:
        tl.store(sums + tl.program_id(0) * ALL + c, tl.sum(total, axis=0), mask=c < ALL)


@triton.jit
def backward_after(
    x,
    bias,
    dy,
    winners,
    dm,
    pixels,
    height,
    width,
    pooled_height,
    pooled_width,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """dm <- the gradient of the pool's output where LRN follows it (NORMAL = 2); x is read where the winners lie.

    pixels: of the pooled maps. Programs: one for each tile of PIXELS.
    """
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = (pixel < pixels)[:, None] & held
    at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
    index = pixel // (pooled_height * pooled_width)
    top = pixel % (pooled_height * pooled_width) // pooled_width * STRIDE - PADDING
    left = pixel % pooled_width * STRIDE - PADDING
    winner = tl.load(winners + at, mask=inside, other=0).to(tl.int32)
    row = top[:, None] + winner // KERNEL
    column = left[:, None] + winner % KERNEL
    source = ((index[:, None] * height + row) * width + column).to(tl.int64) * ALL + c[None, :]
    _, a = activation(x, source, inside, given, RELU)
    d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    inverse, power = roots(a, alpha, k, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
    if RELU_AFTER:
        d = tl.where(a * power <= 0, 0.0, d)
    d = lrn_gradient(a, d, inverse, power, alpha, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
    tl.store(dm + at, d.to(dm.dtype.element_ty), mask=inside)
