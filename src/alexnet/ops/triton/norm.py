"""BatchNorm [-> ReLU] [-> max-pool] on a GPU: what launches the kernels of `batchnorm`."""

from typing import Any

import torch
import triton
from torch import Tensor

from alexnet.ops.native.operators import Stage
from alexnet.ops.triton import batchnorm
from alexnet.ops.triton.launch import PROGRAMS, Launch, columns_of, tile_of


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance (of the batch, not unbiased) of each channel, float32 (C,)."""
    launch = sums_launch(x)
    launch.run(x.device)
    pixels = x.numel() // x.shape[1]
    total, squares = launch.arguments["found"].sum(0) / pixels
    pivot = (x[0, :, 0, 0] if x.ndim == 4 else x[0]).float()
    return pivot + total, (squares - total * total).clamp_min_(0)


def sums_launch(x: Tensor) -> Launch:
    """The sums that the moments are made of."""
    constants, numbers = _tiles(x)
    found = torch.empty(_programs(numbers["pixels"], constants["PIXELS"]), 2, x.shape[1], device=x.device)
    return Launch(batchnorm.sums, (len(found),), {"x": x, "found": found, **numbers}, constants)


def forward_launch(x: Tensor, held: list[Tensor], y: Tensor, winners: Tensor, stage: Stage) -> Launch:
    """held: mean, inverse, weight, bias."""
    constants, sizes = _tiles(x)[0], _sizes(x, stage)
    columns, warps = columns_of(x, constants["WIDTH"], sizes["pooled_width"])
    tiles = triton.cdiv(sizes["pooled_width"], columns)
    strips = min(sizes["pooled_height"], triton.cdiv(PROGRAMS, len(x) * tiles))
    rows = triton.cdiv(sizes["pooled_height"], strips)
    strips = triton.cdiv(sizes["pooled_height"], rows)
    keep = winners.numel() > 0
    tensors = {"x": x, **_named(held), "y": y, "winners": winners if keep else y}
    constants |= {"COLUMNS": columns, "RELU": stage.relu, "KEEP": keep, "CARRIED": stage.kernel - stage.stride == 1}
    constants.pop("PIXELS")
    numbers = {**sizes, "rows": rows, "strips": strips}
    constants |= _pool(stage)
    return Launch(batchnorm.forward, (len(x) * strips, tiles), {**tensors, **numbers}, constants, warps)


def backward_launches(
    x: Tensor, dy: Tensor, winners: Tensor, held: list[Tensor], stage: Stage, batch: bool, dx: Tensor
) -> tuple[Launch, Launch]:
    """First the sums, into "found" (programs, 2, C); then dx from their sums, "found" (2, C), which must be filled."""
    constants, numbers = _tiles(x)
    programs = _programs(numbers["pixels"], constants["PIXELS"])
    found = torch.empty(programs, 2, x.shape[1], device=x.device)
    tensors = {"x": x, "dy": dy, "winners": winners if stage.kernel else dy, **_named(held)}
    numbers |= _sizes(x, stage)
    constants |= {"RELU": stage.relu, "POOLED": stage.kernel > 0, **_pool(stage)}
    constants["TAPS"] = -(-constants["KERNEL"] // stage.stride)
    first = Launch(batchnorm.gradient_sums, (programs,), {**tensors, "found": found, **numbers}, constants)
    whole = {**tensors, "found": torch.empty(2, x.shape[1], device=x.device), "dx": dx, **numbers}
    grid = (triton.cdiv(numbers["pixels"], constants["PIXELS"]),)
    return first, Launch(batchnorm.backward, grid, whole, {**constants, "BATCH": batch})


def gradients(
    x: Tensor, dy: Tensor, winners: Tensor, held: list[Tensor], stage: Stage, batch: bool, dx: Tensor
) -> tuple[Tensor, Tensor]:
    """dx <- the gradient of x; returns those of weight and bias."""
    first, second = backward_launches(x, dy, winners, held, stage, batch, dx)
    first.run(x.device)
    torch.sum(first.arguments["found"], 0, out=second.arguments["found"])
    second.run(x.device)
    bias, weight = second.arguments["found"]
    return weight, bias


def _tiles(x: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """The constants and numbers that all kernels are told."""
    pixels = x.numel() // x.shape[1]
    width = max(triton.next_power_of_2(x.shape[1]), 16 // x.element_size())
    return {"ALL": x.shape[1], "WIDTH": width, "PIXELS": tile_of(x, width, pixels)}, {"pixels": pixels}


def _programs(pixels: int, tile: int) -> int:
    return int(min(triton.cdiv(pixels, tile), PROGRAMS))


def _named(held: list[Tensor]) -> dict[str, Tensor]:
    return dict(zip(("mean", "inverse", "weight", "bias"), held, strict=True))


def _sizes(x: Tensor, stage: Stage) -> dict[str, int]:
    height, width = x.shape[2:] if x.ndim == 4 else (1, 1)
    pooled = {"pooled_height": stage.pooled(height), "pooled_width": stage.pooled(width)}
    return {"height": height, "width": width, **pooled}


def _pool(stage: Stage) -> dict[str, int]:
    return {"KERNEL": stage.kernel or 1, "STRIDE": stage.stride, "PADDING": stage.padding}
