"""Convolutions of frozen weights on processors: oneDNN's own layout of the weights, kept, and ReLU in the same pass.

PyTorch lays a convolution's weights out anew for every call, because they may have changed; those of a network that is
only applied do not. The operators are those that torch.compile's inductor calls.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.ops.native.operators import transformed


class PackedConv(nn.Module):
    """What a convolution computes, without gradients, and the ReLU after it on request.

    The weights are laid out when they are first used and whenever they have changed. float32 on a processor only: see
    `takes`. oneDNN's ReLU makes 0 of NaN.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self._conv, self._relu = [conv], relu  # in a list, so that it is no sub-module
        self._packed: tuple[tuple[int, int], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the convolution's output, channels last."""
        (conv,) = self._conv
        state = (conv.weight.data_ptr(), conv.weight._version)
        if self._packed is None or self._packed[0] != state:
            self._packed = (state, _laid_out(conv, x))
        parts: tuple[Any, ...] = (
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            "relu" if self._relu else "none",
            [],
            "",
        )
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self._packed[1], conv.bias, *parts)
        return output


def takes(x: Tensor) -> bool:
    """Whether packed convolutions can compute from this tensor in the current context."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not (torch.is_grad_enabled() and x.requires_grad)
        and not transformed()
        and not torch.compiler.is_compiling()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and not torch.is_autocast_enabled("cpu")
    )


def packed(layers: Iterable[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    """The named layers with every convolution packed, and a ReLU that follows one computed with it."""
    listed = list(layers)
    following = [layer for _, layer in listed[1:]] + [None]
    done = False
    for (name, layer), after in zip(listed, following, strict=True):
        if _is_plain(layer):
            done = type(after) is nn.ReLU
            yield name, PackedConv(layer, done)  # type: ignore[arg-type]
        else:
            yield name, nn.Identity() if done else layer
            done = False


def _is_plain(layer: nn.Module) -> bool:
    """A convolution with zeros of a given number at its borders, and without hooks, which would not be called."""
    return (
        type(layer) is nn.Conv2d
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and not (layer._forward_hooks or layer._forward_pre_hooks)
    )


def _laid_out(conv: nn.Conv2d, x: Tensor) -> Tensor:
    weight = conv.weight.detach().to_mkldnn()
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
    reordered: Tensor = reorder(weight, conv.padding, conv.stride, conv.dilation, conv.groups, list(x.shape))
    return reordered
