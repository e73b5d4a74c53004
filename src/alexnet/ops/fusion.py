"""Fuse consecutive layers into one native kernel, which passes over the feature map once.

A network remains a list of ordinary layers. If the kernels support the input (`alexnet.ops.native.operators.takes`),
the layers between two convolutions, or after a dense layer from BatchNorm on, run as one operator. The first
convolution uses the backward pass of `alexnet.ops.blocks` where that is faster. Otherwise, and if a layer has hooks,
the layers are called one by one. Both paths agree up to rounding.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from alexnet.ops import blocks, norm
from alexnet.ops.lrn import LocalResponseNorm
from alexnet.ops.native import operators
from alexnet.ops.native.operators import Stage
from alexnet.ops.towers import TowerConv, in_towers

# Sequences of layer kinds and the kernel that computes them. The first match wins.
PATTERNS = (
    (("norm", "relu", "pool"), "norm"),  # modern
    (("norm", "pool", "relu"), "norm"),
    (("norm", "relu"), "norm"),
    (("norm", "pool"), "norm"),
    (("norm",), "norm"),  # article
    (("relu", "lrn", "within"), "lrn_within"),  # krizhevsky2012, conv2; its pool is a separate kernel
    (("relu", "lrn", "pool"), "lrn_pool"),  # paper, bvlc
    (("lrn", "pool", "relu"), "lrn_pool"),  # krizhevsky2012, conv1
    (("relu", "pool", "lrn"), "pool_lrn"),  # caffenet
    (("lrn", "within"), "lrn_within"),
    (("lrn", "pool"), "lrn_pool"),
    (("pool", "lrn"), "pool_lrn"),
    (("relu", "lrn"), "lrn"),
    (("relu", "within"), "lrn_within"),
    (("relu", "pool"), "pool_lrn"),
    (("pool", "relu"), "pool_lrn"),  # ReLU is monotonic, so it may precede the pool
    (("pool",), "pool_lrn"),
    (("within",), "lrn_within"),
    (("lrn",), "lrn"),
)
# Convolutions that are called in a way of their own.
SINGLE: dict[str, Callable[[nn.Conv2d], Callable[[Tensor], Tensor]]] = {"images": blocks.ImageConv, "towers": TowerConv}


def fused(layers: Iterable[nn.Module]) -> Iterator[Callable[[Tensor], Tensor]]:
    """The callables that compute `layers` in order, with fusible sequences replaced by one `Fused` each."""
    waiting = list(layers)
    kinds = [kind_of(layer) for layer in waiting]
    while waiting:
        found = next(((p, kernel) for p, kernel in PATTERNS if tuple(kinds[: len(p)]) == p), None)
        count = len(found[0]) if found else 1
        run, first, waiting, kinds = waiting[:count], kinds[0], waiting[count:], kinds[count:]
        if found:
            yield Fused(run, found[1])
        else:
            yield SINGLE[first](run[0]) if first in SINGLE else run[0]  # type: ignore[arg-type]


def outputs_of(
    stages: Iterable[tuple[str, nn.Module]], wanted: Collection[str], x: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, output) of each wanted stage, in order of computation; the stages between two of them are fused.

    stages: (name, layer) from the input on; nothing is computed after the last one wanted. x: the first layer's input.
    """
    left, between = set(wanted), list[nn.Module]()
    for name, stage in stages:
        between.append(stage)
        if name in left:
            for step in fused(between):
                x = step(x)
            yield name, x
            left.remove(name)
            between = []
        if not left:
            return


@dataclass(frozen=True)
class Fused:
    """A sequence of layers and the kernel that computes it."""

    layers: list[nn.Module]
    kernel: str

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W), or (N, C) for BatchNorm -> the output of the last layer, in x's dtype."""
        first, stage = self.layers[0], stage_of(self.layers)
        if isinstance(first, nn.BatchNorm1d | nn.BatchNorm2d):
            if norm.takes(x, first, stage):
                return norm.apply(first, x, stage)
        elif operators.takes(x):
            return operators.apply(self.kernel, x, stage)
        for layer in self.layers:
            x = layer(x)
        return x


class Applied:
    """A `Fused` whose layers do not change, without gradients: its settings are read once."""

    def __init__(self, step: Fused) -> None:
        self._step, self._kernel = step, operators.Applied(step.kernel, stage_of(step.layers))

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the output of the last layer, in x's dtype."""
        return self._kernel(x) if operators.takes(x) else self._step(x)


def applied(step: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A step of `fused`, read once where it is a kernel other than BatchNorm's."""
    return Applied(step) if isinstance(step, Fused) and step.kernel != "norm" else step


def kind_of(layer: nn.Module) -> str | None:
    """The kind of a layer that the kernels support, else None.

    Kinds: "relu", "lrn", "within", "pool", "norm" for BatchNorm, "images" for the first convolution, and "towers" for
    those in groups.
    """
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return None  # hooks fire only if the layer itself is called
    if type(layer) is nn.ReLU:
        return "relu"
    if type(layer) is LocalResponseNorm and layer.beta == operators.BETA and layer.size >= 1:
        return "within" if layer.within_channel else "lrn"
    if type(layer) is nn.MaxPool2d and _is_plain(layer):
        return "pool"
    if norm.fits(layer):
        return "norm"
    if blocks.FASTER and blocks.pays(layer):
        return "images"
    return "towers" if in_towers(layer) else None


def _is_plain(pool: nn.MaxPool2d) -> bool:
    """Square, without dilation, and without return_indices."""
    sides = (pool.kernel_size, pool.stride, pool.padding)
    return all(isinstance(side, int) for side in sides) and pool.dilation == 1 and not pool.return_indices


def stage_of(layers: list[nn.Module]) -> Stage:
    """The kernel's settings for a sequence of layers; a ReLU is applied first unless LRN precedes it."""
    settings: dict[str, Any] = {}
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            settings["relu_after" if "size" in settings else "relu"] = True
        elif isinstance(layer, nn.MaxPool2d):
            settings |= {name: getattr(layer, name) for name in ("stride", "padding", "ceil_mode")}
            settings["kernel"] = layer.kernel_size
        elif isinstance(layer, LocalResponseNorm):
            settings |= layer.settings()
    return Stage(**settings)
