"""A trained network as it is applied: every BatchNorm folded into a neighbouring layer, dropout left out.

In evaluation mode BatchNorm (Ioffe and Szegedy 2015, section 3.1) is a scale and a shift of every channel,

    y = scale * x + shift        scale = weight / sqrt(variance + eps)        shift = bias - mean * scale

and what precedes or follows it is linear: conv(x) * scale + shift = conv'(x), and dense(scale * x + shift) = dense'(x).
A convolution with zeros around its maps takes only a BatchNorm that follows it: one before it would have to shift these
zeros, too. BatchNorm between a pool and such a convolution stays (`article` with padding=True, and norm="batch" of the
networks for CIFAR-10; none as published).
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.networks.layers import AdaptiveAvgPool2d, Network

Stages = list[tuple[str, nn.Module]]


class Folded(Network):
    """A network of given stages: those of another network that evaluation needs."""

    def __init__(self, network: Network, stages: Sequence[tuple[str, nn.Module]]) -> None:
        """network: whose name, sizes and normalisation it takes over. stages: (name, layer) in order."""
        nn.Module.__init__(self)
        for setting in ("name", "least_input", "resize", "mean", "std", "default_classes", "num_classes", "input_size"):
            setattr(self, setting, getattr(network, setting))
        for name, stage in stages:
            self.add_module(name, stage)

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield (name, stage) in the order of computation."""
        yield from self.named_children()


def folded(network: Network) -> Network:
    """A copy of `network` in evaluation mode: BatchNorm folded into its neighbours, no dropout; it takes no gradients.

    Stages that remain keep their names, whatever the original calls their parameters: "conv1.weight". Weights are
    folded in float64 and rounded once to their type. For float (N, 3, H, W) the logits (N, K) are the original's in
    evaluation mode up to rounding: in float32 about 1e-6 of the largest.
    """
    stages = [(name, copy.deepcopy(stage)) for name, stage in fold(network.stages())]
    return Folded(network, stages).eval().requires_grad_(False)


@torch.no_grad()
def fold(stages: Iterable[tuple[str, nn.Module]]) -> Stages:
    """Stages of a network in order, as `folded` has them: a layer that changes is a copy, others are those given."""
    left = [(name, stage) for name, stage in stages if not isinstance(stage, nn.Dropout)]
    place = 0
    while place < len(left):
        if _fold(left, place):
            del left[place]
        else:
            place += 1
    return left


def _fold(stages: Stages, place: int) -> bool:
    """Whether the stage at `place` was a BatchNorm and is now part of a copy of the layer before or after it."""
    norm = stages[place][1]
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or norm.running_mean is None:
        return False
    if place and isinstance(stages[place - 1][1], nn.Conv2d | nn.Linear):
        _scale_outputs(_own(stages, place - 1), *affine(norm))
        return True
    after = place + 1
    while after < len(stages) and isinstance(stages[after][1], AdaptiveAvgPool2d | nn.Flatten):
        after += 1
    if after < len(stages) and _takes_shifts(stages[after][1]):
        _scale_inputs(_own(stages, after), *affine(norm))
        return True
    return False


def _own(stages: Stages, place: int) -> Any:
    """The layer at `place`, replaced by a copy."""
    name, layer = stages[place]
    stages[place] = name, copy.deepcopy(layer)
    return stages[place][1]


def _takes_shifts(layer: nn.Module) -> bool:
    """Whether a shift of the layer's input is a shift of its output: of a convolution, without zeros at the border."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and _is_unpadded(layer))


def _is_unpadded(conv: nn.Conv2d) -> bool:
    return conv.padding in ((0, 0), "valid")


def affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The scale and shift of each channel, float64 (C)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def _scale_outputs(layer: nn.Conv2d | nn.Linear, scale: Tensor, shift: Tensor) -> None:
    """Make the layer's output scale * output + shift; both float64 (output channels)."""
    weight = layer.weight.double()
    bias = shift if layer.bias is None else shift + scale * layer.bias.double()
    _set(layer, weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias)


def _scale_inputs(layer: nn.Conv2d | nn.Linear, scale: Tensor, shift: Tensor) -> None:
    """Make the layer read scale * input + shift; both float64 (C), where a dense layer reads flattened maps of C."""
    weight = layer.weight.double()
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    width = weight.shape[1] * groups // len(scale)  # values of each channel that a dense layer reads
    scale, shift = (each.repeat_interleave(width).view(groups, 1, -1, 1) for each in (scale, shift))
    by_group = weight.view(groups, weight.shape[0] // groups, weight.shape[1], -1)  # groups, outputs, inputs, pixels
    moved = (by_group * shift).sum((2, 3)).flatten()
    _set(layer, (by_group * scale).view_as(weight), moved if layer.bias is None else moved + layer.bias.double())


def _set(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Replace weight and bias, in the weight's type and memory format."""
    layer.weight.copy_(weight)
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype))
