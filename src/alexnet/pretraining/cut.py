"""A network cut at its convolutions: what stands before each, itself, and what stands between it and the next."""

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
    """One convolution of a network, in its place."""

    name: str
    conv: nn.Conv2d
    below: list[nn.Module]  # the stages before it
    after: list[nn.Module]  # those up to the next convolution or, behind the last, up to the dense layers
    stored: list[str]  # the convolution's name, and those of the BatchNorms after it

    def inputs(self, images: Tensor) -> Tensor:
        """What the convolution sees of images (N, 3, H, W): float32 (N, C, h, w)."""
        for step in fused(self.below):
            images = step(images)
        return images.float()

    @property
    def norm(self) -> nn.BatchNorm2d | None:
        """The BatchNorm that follows the convolution at once, if one does."""
        first = self.after[0] if self.after else None
        return first if isinstance(first, nn.BatchNorm2d) else None

    @property
    def pool(self) -> nn.MaxPool2d | None:
        """The max-pool between this convolution and the next, if there is one."""
        return next((stage for stage in self.after if isinstance(stage, nn.MaxPool2d)), None)


def cut(network: Network) -> list[Layer]:
    """The network's convolutions in their order."""
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
    """The network with nothing in the place of its dense layers and their normalisation: most of its weights."""
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.Linear | nn.BatchNorm1d):
            network.set_submodule(path, nn.Identity())
    return network


def chosen(layers: Sequence[Layer], asked: str) -> list[Layer]:
    """Of these layers those that `asked` names: a comma list, or how many from the image on; empty for all."""
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
    """The root of the mean square of all values, never zero: something is divided by it."""
    return x.float().square().mean().sqrt().clamp_min(1e-6)


def filtered(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution without its bias."""
    return nn.functional.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def transposed(code: Tensor, weight: Tensor, conv: nn.Conv2d, size: Sequence[int]) -> Tensor:
    """The transpose of `conv` with this weight: code (N, K, h, w) to (N, C, *size), with the filters flipped.

    Where the convolution's windows leave a rest at the right and lower edge, nothing is put there.
    """
    rest = [
        side - ((small - 1) * step - 2 * pad + kernel)
        for side, small, step, pad, kernel in zip(
            size, code.shape[2:], conv.stride, _padding(conv), conv.kernel_size, strict=True
        )
    ]
    return nn.functional.conv_transpose2d(
        code, weight, None, conv.stride, _padding(conv), output_padding=rest, groups=conv.groups
    )


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    assert not isinstance(conv.padding, str)  # the networks of this house give numbers
    return conv.padding[0], conv.padding[1]
