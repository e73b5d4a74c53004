"""Stored images to a network's input on a GPU, a whole batch in one launch: the formulas of `alexnet.ops.views`.

A program computes BLOCK pixels of one view: it resamples them from the stored image, changes their colours, adds noise
and writes the three values of each. Where a colour map looks at the mean gray value of the view, a launch before sums
it, in parts that are added in a fixed order. N views of size x size pixels, images of S x S.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alexnet.ops.triton.launch import Launch

BLOCK = 256  # pixels a program

MIXED = 1024  # values a program of the mixing kernel

_COLUMNS = tl.constexpr(21)
COLUMNS = 21
"""Of a view's row: top, left, height, width, bounded, mirrored, the colour matrix by rows, offset, gray."""


def render(
    images: Tensor,
    rows: Tensor,
    views: Tensor,
    size: int,
    dtype: torch.dtype,
    luma: tuple[float, float, float],
    looks_at_mean: bool,
    keys: Tensor | None = None,
    deviation: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """Render N views as `dtype`, float32 or bfloat16, (N, 3, size, size), channels last.

    images: uint8 (M, S, S, 3), contiguous. rows: int64 (N,), the image of each view. views: float32 (N, COLUMNS).
    luma: weights of a gray value. looks_at_mean: whether a `gray` is not zero. keys: int64 (N,), of noise with these
    deviations a channel, or None. All on one device; nothing is checked.
    """
    count, side, pixels = len(rows), images.shape[1], size * size
    tiles = triton.cdiv(pixels, BLOCK)
    out = torch.empty(count, 3, size, size, dtype=dtype, device=images.device, memory_format=torch.channels_last)
    sums = torch.empty(count, tiles if looks_at_mean else 1, device=images.device)
    grid, block = (tiles, count), {"BLOCK": BLOCK}
    shared = {"images": images, "rows": rows, "views": views, "sums": sums, "side": side, "size": size}
    if looks_at_mean:
        gray = dict(zip(("red", "green", "blue"), luma, strict=True))
        Launch(gray_kernel, grid, {**shared, **gray}, block).run(images.device)
    noise: dict[str, Any] = {f"deviation{channel}": deviation[channel] for channel in range(3)}
    noise |= {"keys": rows if keys is None else keys, "quarter": math.ceil(3 * pixels / 64) * 16}
    settings = {"GRAY": looks_at_mean, "NOISE": keys is not None, "TILES": triton.next_power_of_2(tiles), **block}
    Launch(render_kernel, grid, {**shared, "out": out, **noise}, settings).run(images.device)
    return out


def mix(batch: Tensor, share: Tensor, box: Tensor) -> None:
    """Mix image n with image N - 1 - n, in place: batch (N, 3, H, W), channels last; `Mixing` says what the others are.

    share: float32 (N,). box: int32 (N, 4). On one device.
    """
    count, _, height, width = batch.shape
    values = 3 * height * width
    grid = (triton.cdiv(values, MIXED), (count + 1) // 2)
    numbers = {"batch": batch, "share": share, "box": box, "count": count, "width": width, "values": values}
    Launch(mix_kernel, grid, numbers, {"BLOCK": MIXED}).run(batch.device)


# --- the kernels ---


@triton.jit
def gray_kernel(images, rows, views, sums, side, size, red, green, blue, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """sums (N, tiles) <- the gray values of each tile's pixels, added."""
    tile, n = tl.program_id(0), tl.program_id(1)
    pixels = tile * BLOCK + tl.arange(0, BLOCK)
    inside = pixels < size * size
    r, g, b = _resampled(images, rows, views + _COLUMNS * n, n, pixels, inside, side, size)
    gray = tl.where(inside, red * r + green * g + blue * b, 0.0)
    tl.store(sums + n * tl.num_programs(0) + tile, tl.sum(gray, 0))


@triton.jit
def render_kernel(  # type: ignore[no-untyped-def]
    images,
    rows,
    views,
    sums,
    keys,
    out,
    side,
    size,
    quarter,
    deviation0,
    deviation1,
    deviation2,
    GRAY: tl.constexpr,
    NOISE: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out (N, size, size, 3) <- the views. quarter: as in `alexnet.ops.views.normals`."""
    tile, n = tl.program_id(0), tl.program_id(1)
    pixels = tile * BLOCK + tl.arange(0, BLOCK)
    inside = pixels < size * size
    view = views + _COLUMNS * n
    r, g, b = _resampled(images, rows, view, n, pixels, inside, side, size)
    mean = 0.0
    if GRAY:
        parts = tl.arange(0, TILES)
        there = parts < tl.num_programs(0)
        mean = tl.sum(tl.load(sums + n * tl.num_programs(0) + parts, mask=there, other=0.0), 0) / (size * size)
    begin = out + n.to(tl.int64) * (3 * size * size)
    for channel in tl.static_range(3):
        row = view + 6 + 3 * channel
        value = tl.load(row) * r + tl.load(row + 1) * g + tl.load(row + 2) * b
        value += tl.load(view + 15 + channel) + mean * tl.load(view + 18 + channel)
        if NOISE:
            deviation = deviation0 if channel == 0 else (deviation1 if channel == 1 else deviation2)
            value += deviation * _normal(tl.load(keys + n), 3 * pixels + channel, quarter)
        tl.store(begin + 3 * pixels + channel, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _resampled(images, rows, view, n, pixels, inside, side, size):  # type: ignore[no-untyped-def]
    """The pixels of a view before its colours change: three blocks of float32.

    Bilinear with antialiasing: a stored pixel counts by max(0, 1 - distance / support) in either direction.
    """
    y, x = pixels // size, pixels % size
    x = tl.where(tl.load(view + 5) != 0, size - 1 - x, x)
    bounded = tl.load(view + 4) != 0
    center_y, support_y, first_y, end_y = _line(tl.load(view), tl.load(view + 2), y, bounded, side, size)
    center_x, support_x, first_x, end_x = _line(tl.load(view + 1), tl.load(view + 3), x, bounded, side, size)
    image = images + tl.load(rows + n) * (3 * side * side)
    weights = tl.zeros_like(center_y)
    r, g, b = weights, weights, weights
    for down in range(tl.ceil(2 * support_y).to(tl.int32)):
        j = first_y + down
        of_row = tl.where(j < end_y, tl.maximum(1 - tl.abs(j + 0.5 - center_y) / support_y, 0.0), 0.0)
        for across in range(tl.ceil(2 * support_x).to(tl.int32)):
            k = first_x + across
            weight = tl.where(k < end_x, of_row * tl.maximum(1 - tl.abs(k + 0.5 - center_x) / support_x, 0.0), 0.0)
            place, counts = image + 3 * (j * side + k), inside & (weight > 0)
            weights += weight
            r += weight * tl.load(place, mask=counts, other=0).to(tl.float32)
            g += weight * tl.load(place + 1, mask=counts, other=0).to(tl.float32)
            b += weight * tl.load(place + 2, mask=counts, other=0).to(tl.float32)
    return r / weights, g / weights, b / weights


@triton.jit
def _line(begin, length, index, bounded, side, size):  # type: ignore[no-untyped-def]
    """Along one axis: centre of each pixel, support, first stored pixel that counts, end of those that do."""
    scale = length / size
    support = tl.maximum(scale, 1.0)
    low = tl.where(bounded, begin.to(tl.int32), 0)
    high = tl.where(bounded, (begin + length).to(tl.int32), side)
    center = begin + (index + 0.5) * scale
    first = tl.maximum(tl.floor(center - support + 0.5).to(tl.int32), low)
    end = tl.minimum(tl.floor(center + support + 0.5).to(tl.int32), high)
    return center, support, first, end


@triton.jit
def _normal(key, places, quarter):  # type: ignore[no-untyped-def]
    """Normal values at these places of the key's: Philox-4x32-10 and Box-Muller, as `alexnet.ops.views.normals`."""
    counter = (places % quarter).to(tl.uint32)
    part, zero = places // quarter, tl.zeros_like(counter)
    a, b, c, d = tl.philox(key.to(tl.uint64), counter, zero, zero, zero)
    first = part < 2
    length, turn = tl.where(first, a, c), tl.where(first, b, d)
    radius = tl.sqrt(-2 * tl.log(((length >> 8).to(tl.float32) + 0.5) * (1.0 / 16777216)))
    angle = turn.to(tl.float32) * (6.283185307179586 / 4294967296)
    return radius * tl.where(part % 2 == 0, tl.cos(angle), tl.sin(angle))


@triton.jit
def mix_kernel(batch, share, box, count, width, values, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """batch (N, H, W, 3): each program mixes one block of two partners, which it alone reads and writes."""
    n = tl.program_id(1)
    other = count - 1 - n
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < values
    y, x = places // 3 // width, places // 3 % width
    at_n, at_other = batch + n.to(tl.int64) * values + places, batch + other.to(tl.int64) * values + places
    mine = tl.load(at_n, mask=inside, other=0.0).to(tl.float32)
    theirs = tl.load(at_other, mask=inside, other=0.0).to(tl.float32)
    own = tl.where(_in_box(box + 4 * n, y, x), 0.0, tl.load(share + n))
    its = tl.where(_in_box(box + 4 * other, y, x), 0.0, tl.load(share + other))
    tl.store(at_n, (theirs + own * (mine - theirs)).to(batch.dtype.element_ty), mask=inside)
    tl.store(at_other, (mine + its * (theirs - mine)).to(batch.dtype.element_ty), mask=inside)


@triton.jit
def _in_box(box, y, x):  # type: ignore[no-untyped-def]
    top, bottom, left, right = tl.load(box), tl.load(box + 1), tl.load(box + 2), tl.load(box + 3)
    return (y >= top) & (y < bottom) & (x >= left) & (x < right)
