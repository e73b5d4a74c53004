"""Matrices with all singular values made about 1: polynomials of the Gram matrix instead of a decomposition."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

Step = tuple[float, float, float]

STEPS: tuple[Step, ...] = (
    (7.7805, -21.3295, 14.8345),
    (3.4574, -2.4478, 0.4603),
    (2.5863, -1.9324, 0.4553),
)
"""(a, b, c) of the polynomials a s + b s^3 + c s^5 that a singular value passes one after the other.

Each is the one nearest to 1 on the interval that those before it leave of [.012, 1]: after them all of it lies within
[.76, 1.24], and what was smaller is up to 70 times as large. Remez' algorithm, as in Amsel et al. 2025, "The Polar
Express", section 3; the first two bear values 3 % too large, which rounding to bfloat16 makes.
"""

WIDE = 1.5  # columns a row from which on it is cheaper to take the steps on the Gram matrix
BLOCKED = 384  # rows from which on a processor computes little more than half of a symmetric product
BLOCKS = 4


def orthogonalize(matrices: Tensor) -> Tensor:
    """(..., rows, columns) -> the same shape and type: U V' of each singular value decomposition U S V', nearly.

    Let S4 be (sum of s^4)^(1/4) over a matrix's singular values s, which is at least the largest of them. Those above
    .012 S4 become .76 to 1.24 (in bfloat16 .6 to 1.6), smaller ones up to 70 s / S4. Zeros stay zeros.

    A step is X <- (aI + bG + cG^2) X with G = X X' (K. Jordan 2024). The steps of wide matrices are taken on G, rows x
    rows, which becomes P G P with P = aI + bG + cG^2, for all of these commute; X itself is multiplied once, by the
    product of the P. Computed in the type given: float64, float32 or bfloat16.
    """
    rows, columns = matrices.shape[-2:]
    if rows > columns:
        return orthogonalize(matrices.mT).mT
    if matrices.ndim > 2 and _one_by_one(matrices):
        return torch.stack([orthogonalize(matrix) for matrix in matrices.flatten(0, -3)]).view(matrices.shape)
    groups = [STEPS] if columns > WIDE * rows else [(step,) for step in STEPS]
    x, gram = _normalized(matrices)
    x = _stepped(x, groups[0], gram)
    for group in groups[1:]:
        x = _stepped(x, group, _symmetric(x, x.mT))
    return x


def _one_by_one(matrices: Tensor) -> bool:
    """Whether a processor computes large matrices one after the other, which is faster than its batched products."""
    return matrices.device.type == "cpu" and matrices.shape[-2] * matrices.shape[-1] >= 128 * 128


def _normalized(x: Tensor) -> tuple[Tensor, Tensor]:
    """x / S4 and its Gram matrix; nothing waits for a number to come from a GPU.

    The Gram matrix is first divided by its trace, so that its square stays within the range of floats.
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    gram = _symmetric(x, x.mT)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1, dtype=exact)[..., None, None].clamp_min(torch.finfo(exact).tiny)
    gram = gram / trace.to(x.dtype)
    bound = torch.linalg.vector_norm(gram, dim=(-2, -1), keepdim=True, dtype=exact).clamp_min(0.5 * x.shape[-2] ** -0.5)
    return x * (trace * bound).rsqrt().to(x.dtype), gram / bound.to(x.dtype)


def _stepped(x: Tensor, steps: Sequence[Step], gram: Tensor) -> Tensor:
    """X after some steps, all of them taken on its Gram matrix.

    P and the product of the P are held without their multiple of I, so that rounding spares the small eigenvalues.
    """
    scale, b, c = steps[0]
    product = p = _symmetric(gram, gram, gram, b, c)
    for (before, _, _), (a, b, c) in pairwise(steps):
        gram = _symmetric(gram, p, gram, before)  # P G
        gram = _symmetric(gram, p, gram, before)  # P G P
        p = _symmetric(gram, gram, gram, b, c)
        product = _symmetric(p, product, product, a).add_(p, alpha=scale)
        scale *= a
    return _plus_product(product, x, x, scale)


def _symmetric(
    left: Tensor, right: Tensor, added: Tensor | None = None, beta: float = 1.0, alpha: float = 1.0
) -> Tensor:
    """`_plus_product` where it is known to be symmetric; large ones in blocks of columns.

    Of each block only what lies on and below the diagonal is computed, and mirrored.
    """
    rows = left.shape[-2]
    if left.device.type != "cpu" or left.ndim > 2 or rows < BLOCKED:
        return _plus_product(left, right, added, beta, alpha)
    result = left.new_empty(rows, rows)
    size = -(-rows // BLOCKS)
    for start in range(0, rows, size):
        end = min(start + size, rows)
        part = None if added is None else added[start:, start:end]
        result[start:, start:end] = _plus_product(left[start:], right[:, start:end], part, beta, alpha)
        result[start:end, end:] = result[end:, start:end].mT
    return result


def _plus_product(left: Tensor, right: Tensor, added: Tensor | None, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """alpha * left @ right + beta * added; left @ right where nothing is added."""
    if added is None:
        return left @ right
    if left.ndim > 2:
        return torch.baddbmm(added, left, right, beta=beta, alpha=alpha)
    return torch.addmm(added, left, right, beta=beta, alpha=alpha)
