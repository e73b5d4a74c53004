"""From a stage and its tensors to launches of the kernels in `stages` and `within`: tiles, programs, constants.

A `Launch` holds all that a kernel is told, so that `alexnet.ops.triton.compiled` compiles the very same for a GPU that
is not here, from tensors of the meta device.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from alexnet.ops.native.operators import Stage
from alexnet.ops.triton import stages, within

WARPS = 4
PROGRAMS = 2048
"""A GPU's share of programs: several for each of its 132 processors (H100)."""
SUMMING = 1056
"""Programs of a backward pass with a bias, eight for each processor; each leaves a row of sums."""
ROWS = 9
"""Rows that a program of `within` goes down: 27 are three strips."""
OPTIONS = {"enable_fp_fusion": True}  # a * b + c rounded once; Triton 3.9 warns where nothing is said


@dataclass(frozen=True)
class Launch:
    """One launch: the kernel, its programs, its tensors and numbers in order, and its constants."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constants: dict[str, Any]
    warps: int = WARPS

    def run(self, device: torch.device) -> None:
        """Launch it on `device`: what Triton compiled for such a launch before, it need not look for again."""
        every = {**self.arguments, **self.constants}
        key = (self.kernel, self.warps, device, *map(_trait, every.values()))
        found = _compiled.get(key)
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            if found is None:  # always so in Triton's interpreter
                _compiled[key] = self.kernel[self.grid](**every, num_warps=self.warps, **OPTIONS)
            else:
                found[(*self.grid, 1, 1)[:3]](*(every[name] for name in self.kernel.arg_names))


_compiled: dict[Any, Any] = {}  # what a launch is like -> the kernel that Triton compiled for it


def _trait(value: Any) -> Any:
    """What of an argument Triton looks at when it compiles: of numbers the value stands for it."""
    return (value.dtype, value.data_ptr() % 16 == 0) if isinstance(value, Tensor) else value


def forward(kernel: str, x: Tensor, bias: Tensor | None, stage: Stage, y: Tensor, winners: Tensor) -> None:
    """y <- the stage of x, both channels last; winners <- one byte a value of y, unless it is empty."""
    if x.numel():
        for launch in forward_launches(kernel, x, bias, stage, y, winners):
            launch.run(x.device)


def backward(
    kernel: str, x: Tensor, bias: Tensor | None, dy: Tensor, winners: Tensor, stage: Stage, dx: Tensor
) -> Tensor | None:
    """dx <- the gradient of x, all channels last. Returns that of the bias, float32 (C,), or None without one."""
    if not x.numel():
        return None if bias is None else torch.zeros(x.shape[1], device=x.device)
    *before, last = backward_launches(kernel, x, bias, dy, winners, stage, dx)
    for launch in (*before, last):
        launch.run(x.device)
    return None if bias is None else last.arguments["sums"].sum(0)


def forward_launches(
    kernel: str, x: Tensor, bias: Tensor | None, stage: Stage, y: Tensor, winners: Tensor
) -> list[Launch]:
    """What `forward` launches."""
    if kernel != "lrn_within":
        return [_forward(kernel, x, bias, stage, y, winners)]
    return _forward_within(x, bias, stage, y)


def backward_launches(
    kernel: str, x: Tensor, bias: Tensor | None, dy: Tensor, winners: Tensor, stage: Stage, dx: Tensor
) -> list[Launch]:
    """What `backward` launches; the last one writes dx and the sums for the bias."""
    if kernel == "lrn_within":
        return _backward_within(x, bias, dy, stage, dx)
    normal = _normal(kernel, stage)
    if normal == 2 and stage.pools:
        dm = torch.empty_like(dy, dtype=torch.float32)
        return [
            _backward_after(x, bias, dy, winners, stage, dm),
            _backward(x, bias, dm, winners, stage, dx, normal=0, after=False),
        ]
    return [_backward(x, bias, dy, winners, stage, dx, normal=min(normal, 1), after=stage.relu_after)]


def _normal(kernel: str, stage: Stage) -> int:
    """NORMAL of the kernels: where LRN between channels stands."""
    return 0 if not stage.size else 2 if kernel == "pool_lrn" else 1


def _channels(x: Tensor, stage: Stage) -> dict[str, Any]:
    """The constants of `channels`: how a tile's channels lie, and how far a window reaches."""
    count = x.shape[1]
    lanes = 16 // x.element_size()
    width = max(triton.next_power_of_2(count), lanes)
    channels = count // stage.blocks
    ragged = stage.blocks > 1 and channels % lanes != 0
    return {
        "ALL": count,
        "WIDTH": width,
        "BACK": stage.size // 2,
        "AHEAD": max(stage.size - 1, 0) // 2,
        "LANES": lanes,
        "CHANNELS": channels,
        "SPAN": width // lanes if ragged or stage.blocks == 1 else channels // lanes,
        "RAGGED": ragged,
    }


def tile_of(x: Tensor, width: int, most: int) -> int:
    """Pixels of a tile: 16 bytes of each thread, at most `most` and those beside them up to a power of two."""
    whole = WARPS * 32 * (16 // x.element_size())
    return int(max(1, min(whole // width, triton.next_power_of_2(most))))


def columns_of(x: Tensor, width: int, pooled: int) -> tuple[int, int]:
    """Columns of a tile of a pooled row, and the warps for it: half a tile where fewer columns are then left over."""
    whole = tile_of(x, width, pooled)
    half = max(1, whole // 2)
    if -(-pooled // half) * half < -(-pooled // whole) * whole:
        return half, WARPS // 2
    return whole, WARPS


def _sizes(x: Tensor, stage: Stage) -> dict[str, int]:
    height, width = x.shape[2:]
    pooled = {"pooled_height": stage.pooled(height), "pooled_width": stage.pooled(width)}
    return {"height": height, "width": width, **pooled}


def _pool(stage: Stage) -> dict[str, Any]:
    """The window; of no pool one pixel."""
    return {"KERNEL": stage.kernel or 1, "STRIDE": stage.stride, "PADDING": stage.padding}


def _given(bias: Tensor | None, x: Tensor) -> Tensor:
    """The bias, or something in its place that is not read."""
    return x if bias is None else bias


def _forward(kernel: str, x: Tensor, bias: Tensor | None, stage: Stage, y: Tensor, winners: Tensor) -> Launch:
    constants, sizes = _channels(x, stage), _sizes(x, stage)
    columns, warps = columns_of(x, constants["WIDTH"], sizes["pooled_width"])
    tiles, keep = triton.cdiv(sizes["pooled_width"], columns), winners.numel() > 0
    strips = min(sizes["pooled_height"], triton.cdiv(PROGRAMS, len(x) * tiles))
    rows = triton.cdiv(sizes["pooled_height"], strips)
    strips = triton.cdiv(sizes["pooled_height"], rows)
    tensors = {"x": x, "bias": _given(bias, x), "y": y, "winners": winners if keep else y}
    numbers = {**sizes, "rows": rows, "strips": strips, "alpha": stage.alpha, "k": stage.k}
    constants |= {"COLUMNS": columns, "BIASED": bias is not None, "RELU": stage.relu, "RELU_AFTER": stage.relu_after}
    constants |= {"NORMAL": _normal(kernel, stage), "KEEP": keep, "CARRIED": stage.kernel - stage.stride == 1}
    constants |= _pool(stage)
    return Launch(stages.forward, (len(x) * strips, tiles), {**tensors, **numbers}, constants, warps)


def _backward(
    x: Tensor, bias: Tensor | None, dy: Tensor, winners: Tensor, stage: Stage, dx: Tensor, normal: int, after: bool
) -> Launch:
    """normal, after: NORMAL and RELU_AFTER of the kernel."""
    constants, blocks = _channels(x, stage), _blocks(x, stage)
    tile = tile_of(x, constants["WIDTH"], blocks["blocks"])
    programs = triton.cdiv(blocks["blocks"], tile)
    programs = programs if bias is None else min(programs, SUMMING)
    sums = dx if bias is None else torch.empty(programs, x.shape[1], device=x.device)
    given, rest = {"x": x, "bias": _given(bias, x), "dy": dy}, {"dx": dx, "sums": sums}
    numbers = {"alpha": stage.alpha, "k": stage.k}
    constants |= {"TILE": tile, "BIASED": bias is not None, "RELU": stage.relu, "RELU_AFTER": after, "NORMAL": normal}
    if not stage.pools:
        arguments = {**given, **rest, "pixels": blocks["blocks"], **numbers}
        return Launch(stages.backward, (programs,), arguments, constants)
    constants |= {**_pool(stage), "TAPS": -(-stage.kernel // stage.stride)}
    arguments = {**given, "winners": winners, **rest, **blocks, **_sizes(x, stage), **numbers}
    return Launch(stages.backward_pool, (programs,), arguments, constants)


def _blocks(x: Tensor, stage: Stage) -> dict[str, int]:
    """Of blocks as wide as the pool's stride: how many there are; of no pool, pixels."""
    rows, columns = (triton.cdiv(side + stage.padding, stage.stride) for side in x.shape[2:])
    return {"blocks": len(x) * rows * columns, "block_rows": rows, "block_columns": columns}


def _backward_after(x: Tensor, bias: Tensor | None, dy: Tensor, winners: Tensor, stage: Stage, dm: Tensor) -> Launch:
    constants, pixels = _channels(x, stage), dy.numel() // dy.shape[1]
    tile = tile_of(x, constants["WIDTH"], pixels)
    tensors = {"x": x, "bias": _given(bias, x), "dy": dy, "winners": winners, "dm": dm}
    numbers = {"pixels": pixels, **_sizes(x, stage), "alpha": stage.alpha, "k": stage.k}
    constants |= {"PIXELS": tile, "BIASED": bias is not None, "RELU": stage.relu, "RELU_AFTER": stage.relu_after}
    grid = (triton.cdiv(pixels, tile),)
    return Launch(stages.backward_after, grid, {**tensors, **numbers}, {**constants, **_pool(stage)})


def _activations(x: Tensor, bias: Tensor | None, stage: Stage) -> tuple[list[Launch], Tensor]:
    """The launch that computes the input of LRN within maps where LRN between channels stands before it, and it."""
    if not stage.size:
        return [], x
    source = torch.empty_like(x)
    single = Stage(relu=stage.relu, blocks=stage.blocks, size=stage.size, alpha=stage.alpha, k=stage.k)
    return [_forward("lrn", x, bias, single, source, source.new_empty(0))], source


def _square(
    x: Tensor, bias: Tensor | None, stage: Stage
) -> tuple[dict[str, Any], dict[str, Any], tuple[int, int], int]:
    """Numbers, constants, programs and warps of the kernels of `within`. bias: of what they normalise."""
    size, width, (height, across) = stage.within_size, _channels(x, stage)["WIDTH"], x.shape[2:]
    columns, warps = columns_of(x, width, across)
    strips = triton.cdiv(height, ROWS)
    numbers: dict[str, Any] = {"height": height, "width": across, "strips": strips}
    numbers |= {"alpha": stage.within_alpha, "k": stage.within_k}
    constants = {"ALL": x.shape[1], "WIDTH": width, "COLUMNS": columns, "ROWS": triton.cdiv(height, strips)}
    constants |= {"BACK": size // 2, "AHEAD": (size - 1) // 2, "RELU_AFTER": stage.relu_after}
    return numbers, {**constants, "BIASED": bias is not None}, (len(x) * strips, triton.cdiv(across, columns)), warps


def _forward_within(x: Tensor, bias: Tensor | None, stage: Stage, y: Tensor) -> list[Launch]:
    """LRN between channels where there is one, then within maps."""
    first, source = _activations(x, bias, stage)
    bias = None if first else bias
    numbers, constants, grid, warps = _square(source, bias, stage)
    tensors = {"x": source, "bias": _given(bias, x), "y": y}
    constants |= {"RELU": stage.relu and not first}
    return [*first, Launch(within.forward, grid, {**tensors, **numbers}, constants, warps)]


def _backward_within(x: Tensor, bias: Tensor | None, dy: Tensor, stage: Stage, dx: Tensor) -> list[Launch]:
    """The activations anew where LRN between channels made them, the terms of the sum, the gradient."""
    first, source = _activations(x, bias, stage)
    own = None if first else bias
    numbers, constants, grid, warps = _square(source, own, stage)
    reached, direct = torch.empty_like(x), torch.empty_like(x, dtype=torch.float32)
    tensors = {"x": source, "bias": _given(own, x), "dy": dy, "reached": reached, "direct": direct}
    relu = {"RELU": stage.relu and not first}
    terms = Launch(within.terms, grid, {**tensors, **numbers}, {**constants, **relu}, warps)
    sums = dx if bias is None else torch.empty(grid[0] * grid[1], x.shape[1], device=x.device)
    tensors |= {"x": x, "bias": _given(bias, x), "source": source, "dx": dx, "sums": sums}
    tensors.pop("dy")
    numbers.pop("k")
    constants.pop("RELU_AFTER")
    numbers |= {"channels_alpha": stage.alpha, "channels_k": stage.k}
    channels = _channels(x, stage)
    constants |= {"CHANNELS_BACK": channels.pop("BACK"), "CHANNELS_AHEAD": channels.pop("AHEAD"), **channels}
    constants |= {"BIASED": bias is not None, "RELU": stage.relu, "NORMAL": bool(first)}
    return [*first, terms, Launch(within.backward, grid, {**tensors, **numbers}, constants, warps)]
