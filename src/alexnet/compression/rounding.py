"""Codes for the weights of a layer, so chosen that its outputs change little. R rows of L weights; L inputs.

The error of one weight is made good by the weights after it, whose inputs go up and down with its own: with H the mean
of x x^T over inputs x, the weights w are given codes one column after the other, and the error e of column j moves
column k by -e U[j, k] / U[j, j], where U^T U = H^-1, U upper triangular (Frantar, Ashkboos, Hoefler and Alistarh 2023,
"GPTQ", arXiv 2210.17323, from Hassibi and Stork 1993, "Optimal Brain Surgeon"). The largest inputs come first.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.compression.codebooks import Codebook

Floats = NDArray[np.float32]
DAMPING = 0.01  # of the mean square of an input, added to each: H of few images has no inverse
BLOCK = 128  # columns whose errors reach the later ones together


def codes(scaled: Floats, book: Codebook, moments: Floats | None = None) -> NDArray[np.uint8]:
    """float32 (R, L), weights over their scales -> uint8 (R, L).

    moments: H, float32 (L, L); None: each weight gets its own best code. Where the codebook has a code for 0, weights
    of 0 keep it.
    """
    if moments is None:
        found = book.codes(scaled)
        return found if book.zero is None else np.where(scaled == 0, np.uint8(book.zero), found)
    order = np.argsort(-moments.diagonal(), kind="stable")
    upper = _upper(moments[np.ix_(order, order)])
    left = np.ascontiguousarray(scaled.T[order])  # (L, R): what is to be coded, errors before made good
    chosen = np.empty(left.shape, np.uint8)
    fixed = left == 0 if book.zero is not None else None
    for start in range(0, len(left), BLOCK):
        _block(left, chosen, fixed, book, upper, slice(start, min(start + BLOCK, len(left))))
    found = np.empty(scaled.shape, np.uint8)
    found[:, order] = chosen.T
    return found


def _block(
    left: Floats,
    chosen: NDArray[np.uint8],
    fixed: NDArray[np.bool_] | None,
    book: Codebook,
    upper: Floats,
    block: slice,
) -> None:
    """Code some columns, and move those after them."""
    errors = np.empty((block.stop - block.start, left.shape[1]), np.float32)
    for column in range(block.start, block.stop):
        chosen[column] = book.codes(left[column])
        if fixed is not None:
            chosen[column][fixed[column]] = book.zero
        error = (left[column] - book.values[chosen[column]]) / upper[column, column]
        left[column + 1 : block.stop] -= upper[column, column + 1 : block.stop, None] * error
        errors[column - block.start] = error
    left[block.stop :] -= upper[block, block.stop :].T @ errors


def _upper(moments: Floats) -> Floats:
    """U of a symmetric H, float32 (L, L)."""
    wide = torch.from_numpy(moments).double()
    mean = float(wide.diagonal().mean()) or 1.0
    wide.diagonal().add_(DAMPING * mean)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(wide))
    found: Floats = torch.linalg.cholesky(inverse, upper=True).float().numpy()
    return found
