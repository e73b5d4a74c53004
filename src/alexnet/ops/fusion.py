"""Fuse consecutive layers into one kernel, which passes over the feature map once.

A network remains a list of ordinary layers. If the kernels support the input (`alexnet.ops.native.operators.takes` on
processors, `alexnet.ops.triton.takes` on GPUs), the layers between two convolutions, or after a dense layer from
BatchNorm on, run as one operator. On a GPU it also adds the bias of the convolution before it, and has its gradient,
for which cuDNN takes a pass each. The first convolution is computed by `alexnet.ops.blocks` where that is faster.
Otherwise, and if a layer has hooks, the layers are called one by one. Both paths agree up to rounding.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from alexnet.device import kind_of as device_of
from alexnet.ops import blocks, norm, triton
from alexnet.ops.lrn import LocalResponseNorm
from alexnet.ops.native import operators
from alexnet.ops.native.operators import Stage
from alexnet.ops.towers import TowerConv, in_towers, ungrouped

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
        step, count = _after_convolution(waiting, kinds) or _next(waiting, kinds)
        waiting, kinds = waiting[count:], kinds[count:]
        yield step


def _next(layers: list[nn.Module], kinds: list[str | None]) -> tuple[Callable[[Tensor], Tensor], int]:
    """What computes the first layers, and how many these are."""
    first = kinds[0]
    if found := _matching(kinds):
        return Fused(layers[: len(found[0])], found[1]), len(found[0])
    return SINGLE[first](layers[0]) if first in SINGLE else layers[0], 1  # type: ignore[arg-type]


def _matching(kinds: list[str | None]) -> tuple[tuple[str, ...], str] | None:
    return next(((p, kernel) for p, kernel in PATTERNS if tuple(kinds[: len(p)]) == p), None)


def _after_convolution(layers: list[nn.Module], kinds: list[str | None]) -> tuple["Convolved", int] | None:
    """A convolution with a bias on a GPU and what a kernel computes after it; how many layers these are."""
    first = layers[0]
    if not isinstance(first, nn.Conv2d) or first.bias is None or device_of(first.weight) != "cuda":
        return None
    if _is_hooked(first) or type(first) is not nn.Conv2d or first.padding_mode != "zeros":
        return None
    found = _matching(kinds[1:]) or ((("relu",), "relu") if kinds[1:2] == ["relu"] else None)
    if found is None or found[1] == "norm":
        return None
    call, _ = _next(layers, kinds)
    return Convolved(first, call, Fused(layers[1 : 1 + len(found[0])], found[1])), 1 + len(found[0])


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

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, C, H, W), or (N, C) for BatchNorm, plus bias (C,) -> the output of the last layer, in x's dtype."""
        first, stage = self.layers[0], self.stage
        if isinstance(first, nn.BatchNorm1d | nn.BatchNorm2d):
            if norm.takes(x, first, stage):
                return norm.apply(first, x, stage)
        elif (self.kernel != "relu" and operators.takes(x)) or triton.takes(x, stage):
            return operators.apply("pool_lrn" if self.kernel == "relu" else self.kernel, x, stage, bias)
        x = x if bias is None else x + bias[:, None, None].to(x.dtype)
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def stage(self) -> Stage:
        """The kernel's settings; ReLU alone, which GPUs take along with a bias, is a pool of one pixel."""
        found = stage_of(self.layers)
        return replace(found, kernel=1) if self.kernel == "relu" else found


@dataclass(frozen=True)
class Convolved:
    """A convolution on a GPU and the layers after it, whose kernel adds the bias.

    call: computes the convolution with its bias where no kernel takes its output.
    """

    layer: nn.Conv2d
    call: Callable[[Tensor], Tensor]
    after: Fused

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the output of the last layer."""
        if device_of(x) != "cuda" or not triton.usable(x.device):
            return self.after(self.call(x))
        if blocks.pays(self.layer) and blocks.on_gpu(x):
            return self.after(blocks.over_blocks(self.layer, x, None), self.layer.bias)
        return self.after(ungrouped(self.layer, x, None), self.layer.bias)


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
    if _is_hooked(layer):
        return None  # hooks fire only if the layer itself is called
    if type(layer) is nn.ReLU:
        return "relu"
    if type(layer) is LocalResponseNorm and layer.beta == operators.BETA and layer.size >= 1:
        return "within" if layer.within_channel else "lrn"
    if type(layer) is nn.MaxPool2d and _is_plain(layer):
        return "pool"
    if norm.fits(layer):
        return "norm"
    if isinstance(layer, nn.Conv2d) and blocks.pays(layer) and (blocks.FASTER or device_of(layer.weight) == "cuda"):
        return "images"
    return "towers" if in_towers(layer) else None


def _is_hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


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
