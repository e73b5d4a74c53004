"""Layers of frozen weights on processors: weights held in the type and layout of oneDNN, and ReLU in the same pass.

PyTorch lays a layer's weights out anew for every call, because they may have changed; those of a network that is only
applied do not. The operators are those that torch.compile's inductor calls.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.ops import native, winograd
from alexnet.ops.frozen import State, state_of
from alexnet.ops.native.operators import transformed

MANY = 16
"""Rows from which a dense layer's weights are laid out for products of matrices: for one row that is the slower way."""
Made = dict[tuple[int, bool], nn.Module]
"""Packed layers by their layer's identity, which they hold, and whether they compute ReLU."""


class PackedConv(nn.Module):
    """What a convolution computes, without gradients, and the ReLU after it on request.

    The weights are laid out in the input's type when they are first used and whenever they have changed. float32 or
    bfloat16 on a processor only: see `takes`. oneDNN's ReLU makes 0 of NaN.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self._conv, self._relu = [conv], relu  # in a list, so that it is no sub-module
        self._packed: tuple[State, Tensor] | None = None
        self._settings: Any = (
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            "relu" if relu else "none",
            [],
            "",
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the convolution's output in x's type, channels last."""
        (conv,) = self._conv
        state = state_of(conv.weight, x)
        if self._packed is None or self._packed[0] != state:
            self._packed = (state, _laid_out(conv, x))
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self._packed[1], conv.bias, *self._settings)
        return output


class WinogradConv(PackedConv):
    """A `PackedConv` for which `winograd.pays` holds: maps of some size it computes with fewer products."""

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__(conv, relu)
        self._points: tuple[tuple[State, str | None], Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the convolution's output in x's type, channels last."""
        if min(x.shape[2:]) < winograd.SMALLEST or not winograd.takes(x):
            return super().forward(x)
        (conv,) = self._conv
        state = (state_of(conv.weight, x), native.instruction_set())  # weights lie as its kernels read them
        if self._points is None or self._points[0] != state:
            self._points = (state, *winograd.weights_of(conv, x.dtype))
        return winograd.convolve(x, *self._points[1:], conv.groups, self._relu)


class PackedLinear(nn.Module):
    """What a dense layer computes, without gradients, and the ReLU after it on request; as `PackedConv`.

    From `MANY` rows on weights are laid out for oneDNN; for fewer they are held in the input's type as they are.
    """

    def __init__(self, dense: nn.Linear, relu: bool) -> None:
        super().__init__()
        self._dense, self._relu = [dense], relu
        self._held: tuple[State, Tensor, Tensor | None] | None = None
        self._packed: tuple[State, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> the layer's output (N, O) in x's type."""
        return self._many(x) if len(x) >= MANY else self._few(x)

    def _many(self, x: Tensor) -> Tensor:
        (dense,) = self._dense
        state = state_of(dense.weight, x)
        if self._packed is None or self._packed[0] != state:
            weight = dense.weight.detach().to(x.dtype)
            self._packed = (state, torch.ops.mkldnn._reorder_linear_weight(weight, len(x)))
        bias = None if dense.bias is None else dense.bias.to(x.dtype)
        then = "relu" if self._relu else "none"
        output: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed[1], bias, then, [], "")
        return output

    def _few(self, x: Tensor) -> Tensor:
        (dense,) = self._dense
        state = state_of(dense.weight, x)
        if self._held is None or self._held[0] != state:
            bias = None if dense.bias is None else dense.bias.detach().to(x.dtype)
            self._held = (state, dense.weight.detach().to(x.dtype), bias)
        output = F.linear(x, *self._held[1:])
        return output.relu_() if self._relu else output


def takes(x: Tensor) -> bool:
    """Whether packed layers can compute from this tensor in the current context."""
    return (
        x.device.type == "cpu"
        and computes_in(x.dtype)
        and not (torch.is_grad_enabled() and x.requires_grad)
        and not transformed()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


def computes_in(dtype: torch.dtype) -> bool:
    """Whether this machine has the operators for float32 or bfloat16 on the processor."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def packed(
    layers: Iterable[tuple[str, nn.Module]], relu: bool = True, made: Made | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """The named layers with every convolution and dense layer packed, and a ReLU that follows one computed with it.

    relu: False leaves every ReLU by itself, where NaN must not become 0. made: packed layers from earlier calls, which
    are taken again, and to which new ones are added, so that weights are kept once.
    """
    made = {} if made is None else made
    listed = list(layers)
    following = [*(layer for _, layer in listed[1:]), None]
    done = False
    for (name, layer), after in zip(listed, following, strict=False):
        if kind := _kind_of(layer):
            done = relu and type(after) is nn.ReLU
            key = (id(layer), done)
            made[key] = made.get(key) or kind(layer, done)
            yield name, made[key]
        else:
            yield name, nn.Identity() if done else layer
            done = False


def _kind_of(layer: nn.Module) -> Any:
    """The class that packs a layer, None where none does: such a layer has no hooks, which would not be called."""
    if layer._forward_hooks or layer._forward_pre_hooks:
        return None
    if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return WinogradConv if winograd.pays(layer) else PackedConv
    return PackedLinear if type(layer) is nn.Linear else None


def _laid_out(conv: nn.Conv2d, x: Tensor) -> Tensor:
    weight = conv.weight.detach().to(x.dtype).to_mkldnn()
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
    reordered: Tensor = reorder(weight, conv.padding, conv.stride, conv.dilation, conv.groups, list(x.shape))
    return reordered
