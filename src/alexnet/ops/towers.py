"""Convolutions in groups, computed on GPUs as one convolution whose weights between the groups are zero.

cuDNN is slow with few groups of many channels: on an H200, bfloat16, 128 images, forward and backward, conv4 of bvlc
takes 2.59 ms in two groups and 0.29 ms so, conv5 1.46 and 0.26 ms, conv2 0.93 and 0.67 ms (`tools/device.py`, part
convolutions; torch 2.11). Twice the products on units that would have waited.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.device import kind_of


def in_towers(layer: nn.Module) -> bool:
    """Whether the layer is a plain convolution in several groups."""
    return type(layer) is nn.Conv2d and layer.groups > 1 and layer.padding_mode == "zeros"


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """Weights (O, I / groups, k, k) of a convolution in groups -> (O, I, k, k), zero between the groups."""
    ordered = weight.permute(0, 2, 3, 1).view(
        groups, -1, *weight.shape[2:], weight.shape[1]
    )  # tower, output, row, column, input
    placed = torch.diag_embed(ordered.movedim(0, -1), dim1=0, dim2=4)  # the towers of inputs before the inputs
    return placed.flatten(4, 5).flatten(0, 1).permute(0, 3, 1, 2)


class TowerConv:
    """Call an nn.Conv2d with groups: on a GPU without them, elsewhere as it is."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the layer's output."""
        return self.dense(x) if kind_of(x) == "cuda" else self.layer(x)

    def dense(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the layer's output, computed without groups."""
        layer = self.layer
        weight = block_diagonal(layer.weight, layer.groups)
        return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation)


def without_bias(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(N, C, H, W) -> the layer's output before its bias is added, computed without groups."""
    weight = layer.weight if layer.groups == 1 else block_diagonal(layer.weight, layer.groups)
    return F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation)
