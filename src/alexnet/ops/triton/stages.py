"""[Bias ->] [ReLU ->] LRN between channels and max-pool in either order [-> ReLU], and the gradient, as Triton kernels.

`forward` gives a program a strip of pooled rows. It passes down the map once: the last row of a window is the first of
the next (3 x 3 windows, 2 apart), so that its maxima over columns are carried along. The place in its window of each
winner is kept in a byte. `backward` gives a program tiles of pixels: each collects from the windows that reach it the
gradients it has won (of a pool, blocks of pixels), and normalises anew, so that no normalised map lies in memory.

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

    Ties go to the first; NaN counts as largest, as in PyTorch, but wins no gradient. Outside the map: -inf, and the
    first column inside.
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
        wins = a > best
        best = tl.maximum(best, a, propagate_nan=tl.PropagateNan.ALL)
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
            wins = maximum > best
            best = tl.maximum(best, maximum, propagate_nan=tl.PropagateNan.ALL)
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
def through(
    raw,
    a,
    d,
    alpha,
    k,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    NORMAL: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """The gradient of x, given d, that of its (with NORMAL = 1 normalised) activations a; raw: x with its bias."""
    if NORMAL == 1:
        inverse, power = roots(a, alpha, k, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
        if RELU_AFTER:
            d = tl.where(a * power <= 0, 0.0, d)
        d = lrn_gradient(a, d, inverse, power, alpha, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
    elif RELU_AFTER:
        d = tl.where(a <= 0, 0.0, d)
    if RELU:
        d = tl.where(raw <= 0, 0.0, d)
    return d


@triton.jit
def backward(
    x,
    bias,
    dy,
    dx,
    sums,
    pixels,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    TILE: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    NORMAL: tl.constexpr,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """dx <- the gradient of x where there is no pool, from dy of each pixel; a program takes tiles of TILE pixels.

    sums (programs, C): each program's sum of dx, whose sum over the programs is the bias's gradient.
    """
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    if BIASED:
        total = tl.zeros((TILE, WIDTH), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(pixels, TILE), tl.num_programs(0)):
        pixel = tile * TILE + tl.arange(0, TILE)
        inside = (pixel < pixels)[:, None] & held
        at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
        raw, a = activation(x, at, inside, given, RELU)
        d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
        d = through(raw, a, d, alpha, k, RELU, RELU_AFTER, NORMAL, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
        tl.store(dx + at, d.to(dx.dtype.element_ty), mask=inside)
        if BIASED:
            total += tl.where(inside, d, 0.0)
    if BIASED:
        tl.store(sums + tl.program_id(0) * ALL + c, tl.sum(total, axis=0), mask=c < ALL)


@triton.jit
def backward_pool(
    x,
    bias,
    dy,
    winners,
    dx,
    sums,
    blocks,
    block_rows,
    block_columns,
    height,
    width,
    pooled_height,
    pooled_width,
    alpha,
    k,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    TILE: tl.constexpr,
    BIASED: tl.constexpr,
    RELU: tl.constexpr,
    RELU_AFTER: tl.constexpr,
    NORMAL: tl.constexpr,
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
    """dx <- the gradient of x, from dy of the pool; a program takes tiles of TILE blocks of STRIDE x STRIDE pixels.

    The TAPS x TAPS windows that reach a block are read once, and in which place of which window a pixel lies is known
    when the kernel is compiled. sums: as for `backward`.
    """
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    given = bias_of(bias, c, c < ALL, BIASED)
    if BIASED:
        total = tl.zeros((TILE, WIDTH), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(blocks, TILE), tl.num_programs(0)):
        block = tile * TILE + tl.arange(0, TILE)
        known = block < blocks
        index = block // (block_rows * block_columns)
        block_row = block % (block_rows * block_columns) // block_columns
        block_column = block % block_columns
        places = ()
        gradients = ()
        for up in tl.static_range(TAPS):
            for left in tl.static_range(TAPS):
                row, column = block_row - up, block_column - left
                reaches = (row >= 0) & (row < pooled_height) & (column >= 0) & (column < pooled_width)
                mask = (known & reaches)[:, None] & held
                at = ((index * pooled_height + row) * pooled_width + column).to(tl.int64)[:, None] * ALL + c[None, :]
                places = places + (tl.load(winners + at, mask=mask, other=255),)
                gradients = gradients + (tl.load(dy + at, mask=mask, other=0.0),)
        for down in tl.static_range(STRIDE):
            for right in tl.static_range(STRIDE):
                row, column = block_row * STRIDE - PADDING + down, block_column * STRIDE - PADDING + right
                inside = (known & (row >= 0) & (row < height) & (column >= 0) & (column < width))[:, None] & held
                at = ((index * height + row) * width + column).to(tl.int64)[:, None] * ALL + c[None, :]
                raw, a = activation(x, at, inside, given, RELU)
                d = tl.zeros((TILE, WIDTH), tl.float32)
                for up in tl.static_range(TAPS):
                    for left in tl.static_range(TAPS):
                        if down + up * STRIDE < KERNEL and right + left * STRIDE < KERNEL:
                            place = (down + up * STRIDE) * KERNEL + right + left * STRIDE
                            won = places[up * TAPS + left] == place
                            d += tl.where(won, gradients[up * TAPS + left].to(tl.float32), 0.0)
                d = through(raw, a, d, alpha, k, RELU, RELU_AFTER, NORMAL, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED)
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
