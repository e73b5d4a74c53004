"""BatchNorm [-> ReLU] [-> max-pool] as Triton kernels (Ioffe and Szegedy 2015, section 3).

As on processors the map is read twice forward, for its moments and for the output, and twice backward, for the sums of
the gradients of scale and shift and for that of the map. Of a pool one byte a value is kept: the place of the winner.
Programs leave sums over their pixels in rows, which `alexnet.ops.triton.norm` adds up, in the same order every time.

x (N, H, W, C), channels last; vectors are maps of one pixel. mean, inverse (1 / deviation), weight, bias: float32 (C,).
"""

import triton
import triton.language as tl


@triton.jit
def per_channel(values, c, held):
    """(1, WIDTH): one value a channel."""
    return tl.load(values + c, mask=held, other=0.0)[None, :]


@triton.jit
def sums(x, found, pixels, ALL: tl.constexpr, WIDTH: tl.constexpr, PIXELS: tl.constexpr):
    """found (programs, 2, C) <- the sums of x - p and of its square, p the channel's value at the first pixel.

    Of differences to a value of its own, so that a mean far from zero does not cancel what the variance is made of.
    """
    c = tl.arange(0, WIDTH)
    pivot = tl.load(x + c, mask=c < ALL, other=0.0).to(tl.float32)[None, :]
    total = tl.zeros((PIXELS, WIDTH), tl.float32)
    squares = tl.zeros((PIXELS, WIDTH), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(pixels, PIXELS), tl.num_programs(0)):
        pixel = tile * PIXELS + tl.arange(0, PIXELS)
        inside = (pixel < pixels)[:, None] & (c < ALL)[None, :]
        at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
        d = tl.where(inside, tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - pivot, 0.0)
        total += d
        squares += d * d
    out = found + tl.program_id(0) * 2 * ALL + c
    tl.store(out, tl.sum(total, axis=0), mask=c < ALL)
    tl.store(out + ALL, tl.sum(squares, axis=0), mask=c < ALL)


@triton.jit
def row_maxima(
    image,
    mean,
    slope,
    bias,
    row,
    q,
    c,
    held,
    height,
    width,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    RELU: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
):
    """As in `stages`, of normalised values."""
    best = tl.full((COLUMNS, WIDTH), float("-inf"), tl.float32)
    place = tl.broadcast_to(tl.maximum(PADDING - q * STRIDE, 0)[:, None], (COLUMNS, WIDTH))
    line = row + tl.zeros_like(q)  # a mask of a scalar and a vector is none in the interpreter
    for step in tl.static_range(KERNEL):
        column = q * STRIDE - PADDING + step
        inside = ((line >= 0) & (line < height) & (column >= 0) & (column < width))[:, None]
        at = (row * width + column)[:, None] * ALL + c[None, :]
        a = (tl.load(image + at, mask=inside & held, other=0.0).to(tl.float32) - mean) * slope + bias
        if RELU:
            a = tl.where(a <= 0, 0.0, a)
        a = tl.where(inside, a, float("-inf"))
        wins = a > best
        best = tl.maximum(best, a, propagate_nan=tl.PropagateNan.ALL)
        place = tl.where(wins, step, place)
    return best, place


@triton.jit
def forward(
    x,
    mean,
    inverse,
    weight,
    bias,
    y,
    winners,
    height,
    width,
    pooled_height,
    pooled_width,
    rows,
    strips,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    RELU: tl.constexpr,
    KEEP: tl.constexpr,
    CARRIED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
):
    """y <- the pool of the normalised map, winners <- the places of the maxima; a program a strip of rows."""
    number = tl.program_id(0)
    index = (number // strips).to(tl.int64)
    first = number % strips * rows
    last = tl.minimum(first + rows, pooled_height)
    q = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    c = tl.arange(0, WIDTH)
    held = (c < ALL)[None, :]
    centre, shift = per_channel(mean, c, c < ALL), per_channel(bias, c, c < ALL)
    slope = per_channel(weight, c, c < ALL) * per_channel(inverse, c, c < ALL)
    image = x + index * height * width * ALL
    out = index * pooled_height * pooled_width * ALL
    if CARRIED:
        maximum, column = row_maxima(
            image, centre, slope, shift, first * STRIDE - PADDING, q, c, held, height, width,
            ALL, WIDTH, COLUMNS, RELU, KERNEL, STRIDE, PADDING,
        )  # fmt: skip
    for row in range(first, last):
        top = row * STRIDE - PADDING
        if not CARRIED:
            maximum, column = row_maxima(
                image, centre, slope, shift, top, q, c, held, height, width,
                ALL, WIDTH, COLUMNS, RELU, KERNEL, STRIDE, PADDING,
            )  # fmt: skip
        best = maximum
        place = column + tl.maximum(-top, 0) * KERNEL
        for step in tl.static_range(1, KERNEL):
            maximum, column = row_maxima(
                image, centre, slope, shift, top + step, q, c, held, height, width,
                ALL, WIDTH, COLUMNS, RELU, KERNEL, STRIDE, PADDING,
            )  # fmt: skip
            wins = maximum > best
            best = tl.maximum(best, maximum, propagate_nan=tl.PropagateNan.ALL)
            place = tl.where(wins, column + step * KERNEL, place)
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
def given_gradient(
    x,
    dy,
    winners,
    pixel,
    c,
    inside,
    mean,
    inverse,
    weight,
    bias,
    height,
    width,
    pooled_height,
    pooled_width,
    ALL: tl.constexpr,
    RELU: tl.constexpr,
    POOLED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    TAPS: tl.constexpr,
):
    """The normalised values of a tile of pixels, and the gradient of BatchNorm's output there."""
    at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
    normal = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - mean) * inverse
    if POOLED:
        index = pixel // (height * width)
        row = pixel % (height * width) // width
        d = won(
            dy, winners, index, row, pixel % width, c, inside, pooled_height, pooled_width,
            ALL, KERNEL, STRIDE, PADDING, TAPS,
        )  # fmt: skip
    else:
        d = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        d = tl.where(normal * weight + bias <= 0, 0.0, d)
    return tl.where(inside, normal, 0.0), tl.where(inside, d, 0.0)


@triton.jit
def gradient_sums(
    x,
    dy,
    winners,
    mean,
    inverse,
    weight,
    bias,
    found,
    pixels,
    height,
    width,
    pooled_height,
    pooled_width,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    RELU: tl.constexpr,
    POOLED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    TAPS: tl.constexpr,
):
    """found (programs, 2, C) <- the sums of the gradient and of its product with the normalised values."""
    c = tl.arange(0, WIDTH)
    centre, over = per_channel(mean, c, c < ALL), per_channel(inverse, c, c < ALL)
    scale, shift = per_channel(weight, c, c < ALL), per_channel(bias, c, c < ALL)
    total = tl.zeros((PIXELS, WIDTH), tl.float32)
    products = tl.zeros((PIXELS, WIDTH), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(pixels, PIXELS), tl.num_programs(0)):
        pixel = tile * PIXELS + tl.arange(0, PIXELS)
        inside = (pixel < pixels)[:, None] & (c < ALL)[None, :]
        normal, d = given_gradient(
            x, dy, winners, pixel, c, inside, centre, over, scale, shift, height, width, pooled_height, pooled_width,
            ALL, RELU, POOLED, KERNEL, STRIDE, PADDING, TAPS,
        )  # fmt: skip
        total += d
        products += d * normal
    out = found + tl.program_id(0) * 2 * ALL + c
    tl.store(out, tl.sum(total, axis=0), mask=c < ALL)
    tl.store(out + ALL, tl.sum(products, axis=0), mask=c < ALL)


@triton.jit
def backward(
    x,
    dy,
    winners,
    mean,
    inverse,
    weight,
    bias,
    found,
    dx,
    pixels,
    height,
    width,
    pooled_height,
    pooled_width,
    ALL: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    BATCH: tl.constexpr,
    RELU: tl.constexpr,
    POOLED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    TAPS: tl.constexpr,
):
    """dx <- slope * (d - (sum of d + normal * sum of d * normal) / count); without the sums where mean is given.

    found: float32 (2, C), both sums.
    """
    c = tl.arange(0, WIDTH)
    centre, over = per_channel(mean, c, c < ALL), per_channel(inverse, c, c < ALL)
    scale, shift = per_channel(weight, c, c < ALL), per_channel(bias, c, c < ALL)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = (pixel < pixels)[:, None] & (c < ALL)[None, :]
    normal, d = given_gradient(
        x, dy, winners, pixel, c, inside, centre, over, scale, shift, height, width, pooled_height, pooled_width,
        ALL, RELU, POOLED, KERNEL, STRIDE, PADDING, TAPS,
    )  # fmt: skip
    if BATCH:
        shared, products = per_channel(found, c, c < ALL), per_channel(found + ALL, c, c < ALL)
        d -= (shared + normal * products) / pixels
    at = pixel.to(tl.int64)[:, None] * ALL + c[None, :]
    tl.store(dx + at, (d * scale * over).to(dx.dtype.element_ty), mask=inside)
