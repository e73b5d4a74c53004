"""Local response normalisation (LRN) across channels and within channels: the function and the module.

    b = a / (k + alpha' * sum of a² over a window) ** beta        alpha' = alpha / window, or alpha itself

Across channels (Krizhevsky, Sutskever, Hinton 2012, section 3.3) the window is `size` neighbouring channels at the
same position; within a channel (cuda-convnet's `rnorm`, Caffe's WITHIN_CHANNEL) it is `size` x `size` positions of the
same map. Values outside the tensor count as zero. `alexnet.ops.reference` implements the formula in plain torch, and a
kernel replaces it where `alexnet.ops.native.operators.takes` the input, or on GPUs `alexnet.ops.triton.takes` it.

Published settings differ in k and in the meaning of alpha. The resulting alpha':

    the paper's text                  k=2, alpha=1e-4, not divided     1e-4
    the 2012 code, between channels   k=2, alpha=1e-4 / 5              2e-5
    the 2012 code, within a channel   k=1, alpha=1e-3 / 25             4e-5
    Caffe, between channels           k=1, alpha=1e-4 / 5              2e-5
"""

from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.errors import UsageError
from alexnet.ops import triton
from alexnet.ops.native import operators
from alexnet.ops.native.operators import Stage
from alexnet.ops.reference import lrn


def local_response_norm(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    alpha_over_size: bool = True,
    within_channel: bool = False,
) -> Tensor:
    """Divide each activation by (k + alpha' * sum of squares over its window) ** beta.

    x: floating, (N, C, ...) across channels, (N, C, H, W) within a channel. Returns a tensor of x's shape and dtype.
    size: width of the window, >= 1. An even window extends one further back than ahead, as in torch and cuda-convnet.
    alpha_over_size: divide alpha by the number of values in a window, `size` or, within a channel, `size`².
    Half-precision input is computed in float32 internally. Raises UsageError for other types and values.
    """
    _check_settings(size, alpha, beta, k)
    _check_input(x, within_channel)
    alpha = _alpha_per_square(alpha, size, alpha_over_size, within_channel)
    stage = Stage(**_settings(size, alpha, k, within_channel))
    if beta == operators.BETA and (operators.takes(x) or triton.takes(x, stage)):
        return _native(x, _kernel(within_channel), stage)
    return lrn(x, size, alpha, beta, k, within_channel)


def _alpha_per_square(alpha: float, size: int, alpha_over_size: bool, within_channel: bool) -> float:
    """alpha' of the formula: alpha, divided by the number of values in a window if alpha_over_size."""
    squares = size * size if within_channel else size
    return alpha / squares if alpha_over_size else alpha


def _native(x: Tensor, kernel: str, stage: Stage) -> Tensor:
    """Run the kernel and return a tensor in x's memory format."""
    y = operators.apply(kernel, x, stage)
    return y.contiguous() if x.is_contiguous() else y


def _kernel(within_channel: bool) -> str:
    return "lrn_within" if within_channel else "lrn"


def _settings(size: int, alpha: float, k: float, within_channel: bool) -> dict[str, Any]:
    """The LRN fields of a kernel's `Stage`; alpha is alpha' of the formula."""
    prefix = "within_" if within_channel else ""
    return {f"{prefix}size": size, f"{prefix}alpha": alpha, f"{prefix}k": k}


def _check_settings(size: Any, alpha: Any, beta: Any, k: Any) -> None:
    if not _is_count(size):
        raise UsageError(f"local_response_norm got size={size!r}; it takes a whole number from 1, such as 5")
    for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise UsageError(f"local_response_norm got {name}={value!r}; it takes a number")


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _check_input(x: Any, within_channel: bool) -> None:
    if not isinstance(x, Tensor):
        raise UsageError(f"local_response_norm got {type(x).__name__}; it takes a tensor: torch.as_tensor(x)")
    if not x.is_floating_point():
        raise UsageError(f"local_response_norm got {x.dtype}; it takes floating tensors: convert with x.float()")
    if within_channel and x.ndim != 4:
        raise UsageError(f"local_response_norm within a channel got shape {tuple(x.shape)}; it takes (N, C, H, W)")
    if x.ndim < 2:
        raise UsageError(f"local_response_norm got shape {tuple(x.shape)}; it takes (N, C, ...)")


class LocalResponseNorm(nn.Module):
    """`local_response_norm` as a module, applied to each of `groups` equal blocks of channels.

    groups=2 normalises the two towers of the 2012 network separately: a window never crosses from the channels of one
    GPU to those of the other.
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        alpha_over_size: bool = True,
        within_channel: bool = False,
        groups: int = 1,
    ) -> None:
        super().__init__()
        _check_settings(size, alpha, beta, k)
        if not _is_count(groups):
            raise UsageError(f"LocalResponseNorm got groups={groups!r}; it takes a whole number from 1")
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.alpha_over_size, self.within_channel, self.groups = alpha_over_size, within_channel, groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W); C must be a multiple of `groups`."""
        if x.shape[1] % self.groups:
            raise UsageError(f"LocalResponseNorm got {x.shape[1]} channels; it takes multiples of groups={self.groups}")
        # Within-channel LRN treats every channel alone, so groups have no effect.
        if self.groups == 1 or self.within_channel:
            return self._normalize(x)
        return torch.cat([self._normalize(block) for block in x.chunk(self.groups, dim=1)], dim=1)

    def _normalize(self, x: Tensor) -> Tensor:
        return local_response_norm(
            x, self.size, self.alpha, self.beta, self.k, self.alpha_over_size, self.within_channel
        )

    @property
    def alpha_per_square(self) -> float:
        """alpha' of the formula: alpha, divided by the number of values in a window if `alpha_over_size`."""
        return _alpha_per_square(self.alpha, self.size, self.alpha_over_size, self.within_channel)

    def settings(self) -> dict[str, Any]:
        """The fields of a kernel's `Stage` that this layer sets."""
        found = _settings(self.size, self.alpha_per_square, self.k, self.within_channel)
        return found if self.within_channel else {**found, "blocks": self.groups}

    def extra_repr(self) -> str:
        """The settings, for repr()."""
        return (
            f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, "
            f"alpha_over_size={self.alpha_over_size}, within_channel={self.within_channel}, groups={self.groups}"
        )
