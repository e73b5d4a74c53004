"""Local response normalisation in plain torch: the reference for the native kernels.

Runs on every device and in every floating dtype, and supports derivatives of any order.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def lrn(x: Tensor, size: int, alpha: float, beta: float, k: float, within_channel: bool) -> Tensor:
    """x / (k + alpha * sum of x² over a window) ** beta, in x's shape and dtype; alpha is not divided by the window.

    x: floating, (N, C, ...), or (N, C, H, W) if within_channel. Half precision is computed in float32 internally.
    """
    a = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    dims = (2, 3) if within_channel else (1,)
    energy = a * a
    for dim in dims:  # a square window is one along H, then one along W
        energy = _window_sum(energy, dim, size)
    return (a / (k + alpha * energy) ** beta).to(x.dtype)


def _window_sum(x: Tensor, dim: int, size: int) -> Tensor:
    """The sum of x over i - size // 2 ... i + (size - 1) // 2 along `dim`, same shape as x."""
    # Shifted additions instead of cumulative sums: subtracting two large sums would cancel small values.
    edges = [0, 0] * (x.ndim - 1 - dim) + [size // 2, (size - 1) // 2]
    padded = F.pad(x, edges)
    return reduce(torch.add, (padded.narrow(dim, shift, x.shape[dim]) for shift in range(size)))
