"""Receptive fields: the part of an image that a unit depends on, from the layers' kernels, strides and padding."""

from dataclasses import dataclass

import torch
from torch import nn

from alexnet.explain.activations import check_layer, layers_of
from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, Network, evaluating
from alexnet.ops import LocalResponseNorm

POINTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity)


@dataclass(frozen=True)
class Field:
    """The receptive field of the unit at row y and column x of a layer's map: the square of `size` pixels with its
    upper left corner at (start + step * y, start + step * x). It may extend into the zero padding around the image.
    """

    step: float
    start: float
    size: float
    side: int  # of the image, pixels

    def box(self, y: int, x: int) -> tuple[float, float, float, float]:
        """Top, left, bottom, right in pixels (the latter two exclusive), clipped to the image."""
        top, left = self.start + self.step * y, self.start + self.step * x
        low, high = 0.0, float(self.side)
        return max(low, top), max(low, left), min(high, top + self.size), min(high, left + self.size)


def receptive_field(network: Network, layer: str) -> Field:
    """The receptive field of a layer's units in images of the network's input size.

    Output i of a layer with kernel k, stride s and padding p depends on inputs s * i - p ... s * i - p + k - 1, so
    step -> step * s, start -> start - step * p and size -> size + step * (k - 1). After a dense layer or a layer of
    unknown type it is the whole image. UsageError for a layer that the network does not have.
    """
    check_layer(network, layer)
    side = network.input_size
    step, start, size = 1.0, 0.0, 1.0
    for window in _windows(network, layer):
        if window is None:
            return Field(0.0, 0.0, float(side), side)
        kernel, stride, padding, scale = window
        step, start, size = step * scale, start * scale, size * scale
        step, start, size = step * stride, start - step * padding, size + step * (kernel - 1)
    return Field(step, start, size, side)


Window = tuple[float, float, float, float]


def _windows(network: Network, last: str) -> list[Window | None]:
    """`_window` of each layer up to the stage `last`, for one image of the network's input size."""
    found = []
    x = torch.zeros(1, 3, network.input_size, network.input_size, device=next(network.parameters()).device)
    with evaluating(network), torch.no_grad():
        for name, stage in network.stages():
            for layer in layers_of(stage):
                below, x = tuple(x.shape[2:]), layer(x)
                found.append(_window(layer, below, tuple(x.shape[2:])))
            if name == last:
                break
    return found


def _window(stage: nn.Module, below: tuple[int, ...], here: tuple[int, ...]) -> Window | None:
    """Kernel, stride, padding and the factor by which the map was shrunk; None if outputs depend on all inputs."""
    if isinstance(stage, Enlarge) and here != below:
        return 3.0, 1.0, 1.0, below[0] / here[0]  # interpolation reads both neighbours
    if isinstance(stage, nn.ZeroPad2d):
        left, _, top, _ = stage.padding
        return (1.0, 1.0, float(top), 1.0) if left == top else None
    if isinstance(stage, LocalResponseNorm) and stage.within_channel:
        return float(stage.size), 1.0, float(stage.size // 2), 1.0
    if isinstance(stage, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride, padding = (_side(each) for each in (stage.kernel_size, stage.stride, stage.padding))
        kernel = (kernel - 1) * _side(getattr(stage, "dilation", 1)) + 1
        return kernel, stride, padding, 1.0
    unchanged = isinstance(stage, AdaptiveAvgPool2d | Enlarge) and here == below
    if unchanged or isinstance(stage, (*POINTWISE, LocalResponseNorm)):
        return 1.0, 1.0, 0.0, 1.0
    return None


def _side(value: object) -> float:
    """The side of a square setting, which torch stores as n or (n, n)."""
    return float(value[0] if isinstance(value, tuple) else value)  # type: ignore[arg-type]
