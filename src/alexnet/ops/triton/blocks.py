"""Images in blocks of pixels, as a Triton kernel: the layout in which a strided convolution has a stride of 1."""

import triton
import triton.language as tl
from torch import Tensor

from alexnet.ops.triton.launch import Launch

BLOCKS = 32  # of an image, in a tile


@triton.jit
def gather(
    x,
    out,
    count,
    height,
    width,
    rows,
    columns,
    COLORS: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    WIDTH: tl.constexpr,
    TILE: tl.constexpr,
):
    """out (N, rows, columns, STRIDE * STRIDE * COLORS) <- blocks of x (N, H, W, COLORS); zero outside the images.

    count: of all blocks. Programs: one for each TILE of them.
    """
    block = tl.program_id(0) * TILE + tl.arange(0, TILE)
    value = tl.arange(0, WIDTH)
    index = block // (rows * columns)
    top = block % (rows * columns) // columns * STRIDE - PADDING
    left = block % columns * STRIDE - PADDING
    row = top[:, None] + (value // (STRIDE * COLORS))[None, :]
    beside = (value % (STRIDE * COLORS))[None, :]
    column = left[:, None] + beside // COLORS
    held = (block < count)[:, None] & (value < STRIDE * STRIDE * COLORS)[None, :]
    inside = held & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel = (index[:, None] * height + row) * width + left[:, None]
    a = tl.load(x + pixel.to(tl.int64) * COLORS + beside, mask=inside, other=0.0)
    at = block.to(tl.int64)[:, None] * (STRIDE * STRIDE * COLORS) + value[None, :]
    tl.store(out + at, a, mask=held)


def gather_launch(x: Tensor, out: Tensor, stride: int, padding: int) -> Launch:
    """x (N, C, H, W), out (N, stride * stride * C, rows, columns), both channels last."""
    count, colors, height, width = x.shape
    rows, columns = out.shape[2:]
    blocks = count * rows * columns
    numbers = {"count": blocks, "height": height, "width": width, "rows": rows, "columns": columns}
    constants = {"COLORS": colors, "STRIDE": stride, "PADDING": padding, "TILE": BLOCKS}
    constants["WIDTH"] = triton.next_power_of_2(stride * stride * colors)
    return Launch(gather, (triton.cdiv(blocks, BLOCKS),), {"x": x, "out": out, **numbers}, constants)


def blocks_of(x: Tensor, out: Tensor, stride: int, padding: int) -> None:
    """Fill `out`, as for `gather_launch`."""
    if out.numel():
        gather_launch(x, out, stride, padding).run(x.device)
