"""Split a network at its convolutions, for training layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alexnet.errors import UsageError, unknown_name
from alexnet.networks.layers import Network
from alexnet.ops.fusion import fused
from alexnet.training.initial import ENDS


@dataclass(frozen=True)
class Layer:
    """One convolution and its neighbouring stages."""

    name: str
    conv: nn.Conv2d
    below: list[nn.Module]  # the stages before it
    after: list[nn.Module]  # up to the next convolution or the first dense layer
    stored: list[str]  # names of the convolution and of the BatchNorms after it

    def inputs(self, images: Tensor) -> Tensor:
        """The convolution's inputs for images (N, 3, H, W): float32 (N, C, h, w)."""
        for step in fused(self.below):
            images = step(images)
        return images.float()

    @property
    def norm(self) -> nn.BatchNorm2d | None:
        """The BatchNorm directly after the convolution, if any."""
        first = self.after[0] if self.after else None
        return first if isinstance(first, nn.BatchNorm2d) else None

    @property
    def pool(self) -> nn.MaxPool2d | None:
        """The max-pool before the next convolution, if any."""
        return next((stage for stage in self.after if isinstance(stage, nn.MaxPool2d)), None)


def cut(network: Network) -> list[Layer]:
    """The network's convolutions before its first dense layer, in order."""
    stages = list(network.stages())
    ends = [place for place, (_, stage) in enumerate(stages) if isinstance(stage, ENDS)]
    places = [place for place, (_, stage) in enumerate(stages) if isinstance(stage, nn.Conv2d)]
    places = [place for place in places if place < min(ends, default=len(stages))]
    layers = []
    for place, end in zip(places, [*places[1:], min(ends, default=len(stages))], strict=True):
        here = stages[place:end]
        conv = here[0][1]
        assert isinstance(conv, nn.Conv2d)
        stored = [name for name, stage in here if stage is conv or isinstance(stage, nn.BatchNorm2d)]
        below, after = [stage for _, stage in stages[:place]], [stage for _, stage in here[1:]]
        layers.append(Layer(here[0][0], conv, below, after, stored))
    return layers


def without_dense(network: Network) -> Network:
    """Replace dense layers and their BatchNorm, most of the weights, by identities, in place; returns the network."""
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.Linear | nn.BatchNorm1d):
            network.set_submodule(path, nn.Identity())
    return network


def chosen(layers: Sequence[Layer], asked: str) -> list[Layer]:
    """The layers selected by `asked`: names separated by commas, or the number of first layers; empty for all.

    UsageError for an unknown name or a wrong number.
    """
    names = [layer.name for layer in layers]
    if asked.strip().isdigit():
        count = int(asked)
        if not 1 <= count <= len(layers):
            raise UsageError(f"layers is {asked}; the network has {len(layers)} convolutions: {', '.join(names)}")
        return list(layers[:count])
    wanted = [name.strip() for name in asked.split(",") if name.strip()]
    for name in wanted:
        if name not in names:
            raise unknown_name("convolution", name, names)
    return [layer for layer in layers if not wanted or layer.name in wanted]


@torch.no_grad()
def root_mean_square(x: Tensor) -> Tensor:
    """Root mean square of all values, at least 1e-6, as it is used as a divisor."""
    return x.float().square().mean().sqrt().clamp_min(1e-6)


def filtered(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply the convolution without its bias."""
    return nn.functional.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def transposed(code: Tensor, weight: Tensor, conv: nn.Conv2d, size: Sequence[int]) -> Tensor:
    """The transpose of `conv` with this weight: code (N, K, h, w) -> (N, C, *size).

    Rows and columns at the right and lower edge that no window of the convolution covers are zero.
    """
    uncovered = [
        side - ((small - 1) * step - 2 * pad + kernel)
        for side, small, step, pad, kernel in zip(
            size, code.shape[2:], conv.stride, _padding(conv), conv.kernel_size, strict=True
        )
    ]
    return nn.functional.conv_transpose2d(
        code, weight, None, conv.stride, _padding(conv), output_padding=uncovered, groups=conv.groups
    )


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    assert not isinstance(conv.padding, str)  # our networks use integers
    return conv.padding[0], conv.padding[1]
