"""Convolutions in groups, computed on GPUs as one convolution whose weights between the groups are zero.

cuDNN is slow with few groups of many channels: on an H200, bfloat16, 128 images, forward and backward, conv4 of bvlc
takes 2.58 ms in two groups and 0.28 ms so, conv5 1.47 and 0.20 ms, conv2 0.94 and 0.67 ms (`tools/device.py`, part
convolutions; torch 2.11). Twice the products on units that would have waited.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.device import kind_of


def in_towers(layer: nn.Module) -> bool:
    """Whether the layer is a plain convolution in several groups."""
    return type(layer) is nn.Conv2d and layer.groups > 1 and layer.padding_mode == "zeros"


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """Weights (O, I / groups, k, k) of a convolution in groups -> (O, I, k, k), zero between the groups."""
    placed: Tensor = _Placed.apply(weight, groups)
    return placed


class _Placed(torch.autograd.Function):
    """`block_diagonal` in one pass over memory each way, channels last."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, groups: int) -> Tensor:
        outputs, inputs, *window = weight.shape
        ordered = weight.permute(0, 2, 3, 1).reshape(groups, -1, *window, 1, inputs)
        placed = weight.new_empty(groups, outputs // groups, *window, groups, inputs)
        torch.mul(ordered, _own(groups, weight.dtype, weight.device), out=placed)
        return placed.flatten(4, 5).flatten(0, 1).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.groups = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        outputs, inputs, *window = gradient.shape
        split = gradient.permute(0, 2, 3, 1).reshape(ctx.groups, -1, *window, ctx.groups, inputs // ctx.groups)
        own = split.diagonal(dim1=0, dim2=4).movedim(-1, 0)
        return own.reshape(outputs, *window, -1).permute(0, 3, 1, 2), None


@cache
def _own(groups: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(groups, 1, 1, 1, groups, 1): 1 where a tower of outputs sees its own inputs, else 0."""
    return torch.eye(groups, dtype=dtype, device=device).view(groups, 1, 1, 1, groups, 1)


class TowerConv:
    """Call an nn.Conv2d with groups: on a GPU without them, elsewhere as it is."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the layer's output."""
        return self.dense(x) if kind_of(x) == "cuda" else self.layer(x)

    def dense(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the layer's output, computed without groups."""
        return ungrouped(self.layer, x, self.layer.bias)


def ungrouped(layer: nn.Conv2d, x: Tensor, bias: Tensor | None) -> Tensor:
    """(N, C, H, W) -> the layer's output with this bias, computed without groups."""
    weight = layer.weight if layer.groups == 1 else block_diagonal(layer.weight, layer.groups)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)
