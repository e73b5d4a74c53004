"""Local response normalisation in plain torch: the reference that the kernels are checked against.

It runs on every device and in every floating type, and can be differentiated any number of times.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def lrn(x: Tensor, size: int, alpha: float, beta: float, k: float, within_channel: bool) -> Tensor:
    """x / (k + alpha * sum of x² over a window) ** beta, in x's shape and dtype; alpha is divided already.

    x: floating, (N, C, ...), or (N, C, H, W) where within_channel. Half precision is computed in float32 inside.
    """
    a = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    dims = (2, 3) if within_channel else (1,)
    energy = a * a
    for dim in dims:  # a square window is one along H, then one along W
        energy = _window_sum(energy, dim, size)
    return (a / (k + alpha * energy) ** beta).to(x.dtype)


def _window_sum(x: Tensor, dim: int, size: int) -> Tensor:
    """The sum of x over i - size // 2 ... i + (size - 1) // 2 along `dim`, same shape as x."""
    # Shifted additions, not cumulative sums: a difference of two large sums loses what is small between them.
    edges = [0, 0] * (x.ndim - 1 - dim) + [size // 2, (size - 1) // 2]
    padded = F.pad(x, edges)
    return reduce(torch.add, (padded.narrow(dim, shift, x.shape[dim]) for shift in range(size)))
