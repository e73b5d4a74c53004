"""A few values for all weights of a layer: k-means that counts the bits of the codes, too. K values.

Rows of weights are divided by their scale, the root of their mean square, so that one codebook serves the layer. The
codebook minimises, over the weights x,

    mean of (x - v[code])^2 + rate * -log2 p[code]          p: how often a code occurs

by Lloyd's iterations from evenly spaced values (Chou, Lookabaugh and Gray 1989, "Entropy-constrained vector
quantization"; for networks Choi, El-Khamy and Lee 2017, "Towards the limit of network quantization", arXiv 1612.01543).
Han, Mao and Dally 2016 take plain k-means, rate 0, whose codes are longer by a third of a bit at equal errors.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.weights.coded import half_rounded

Floats = NDArray[np.float32]
BINS, ROUNDS = 4096, 60  # of the histogram that the iterations work on; iterations
REACH = 4.5  # scales: evenly spaced values begin and end there, or at the largest weight
RATE = 0.03  # of 4 bits, in squares of a scale a bit; a bit more divides errors by 4, and so what a bit is worth


class Codebook(NamedTuple):
    """Values that stand for all others."""

    values: Floats  # (K,) ascending
    bounds: Floats  # (K - 1,): x has the code that is the number of bounds below it
    zero: int | None  # the code of exactly 0, where the layer is pruned

    def codes(self, scaled: Floats) -> NDArray[np.uint8]:
        """float32 of any shape -> uint8 of the same."""
        return np.searchsorted(self.bounds, scaled).astype(np.uint8)


def row_scales(rows: Floats) -> Floats:
    """float32 (R, L) -> (R,): the root of the mean square of the weights that are not 0; 1 for rows of zeros."""
    counts = np.maximum((rows != 0).sum(1), 1)
    roots = np.sqrt(np.square(rows, dtype=np.float64).sum(1) / counts).astype(np.float32)
    return half_rounded(np.where(roots > 0, roots, 1).astype(np.float32))


def find(scaled: Floats, bits: int, pruned: bool = False) -> Codebook:
    """At most 2^bits values for weights that were divided by their scales; 1 <= bits <= 8.

    pruned: weights of exactly 0 keep a value of their own.
    """
    flat = scaled.ravel()
    zeros = int((flat == 0).sum()) if pruned else 0
    most = float(np.abs(flat).max(initial=0)) or 1.0
    counts, edges = np.histogram(flat[flat != 0] if pruned else flat, BINS, (-most, most))
    middles = (edges[1:] + edges[:-1]) / 2
    reach = min(most, REACH)
    values = np.linspace(-reach, reach, 2**bits)
    zero = int(np.abs(values).argmin()) if pruned else None
    lengths = np.full(len(values), float(bits))
    rate = RATE * 4.0 ** (4 - bits)
    for _ in range(ROUNDS):
        values, lengths, zero = _iterated(values, lengths, zero, (middles, counts, zeros), rate)
    kept = half_rounded(values.astype(np.float32))
    return Codebook(kept, _bounds(kept, lengths, rate), zero)


def _iterated(
    values: NDArray[np.float64],
    lengths: NDArray[np.float64],
    zero: int | None,
    histogram: tuple[NDArray[np.float64], NDArray[np.int64], int],
    rate: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], int | None]:
    """Values and code lengths after one of Lloyd's iterations; values that nothing chose are dropped."""
    middles, counts, zeros = histogram
    if zero is not None:
        values[zero] = 0
    near = (np.square(middles[:, None] - values) + rate * lengths).argmin(1)
    members = np.bincount(near, counts, len(values))
    sums = np.bincount(near, counts * middles, len(values))
    means = np.divide(sums, members, out=values.copy(), where=members > 0)
    if zero is not None:
        means[zero], members[zero] = 0, members[zero] + zeros
    kept = np.flatnonzero(members > 0)
    zero = None if zero is None else int((kept < zero).sum())
    lengths = -np.log2(members[kept] / members.sum())
    order = np.argsort(means[kept], kind="stable")
    if zero is not None:
        zero = int(np.flatnonzero(order == zero)[0])
    return means[kept][order], lengths[order], zero


def _bounds(values: Floats, lengths: NDArray[np.float64], rate: float) -> Floats:
    """Where two neighbours cost the same."""
    gaps = np.maximum(np.diff(values.astype(np.float64)), 1e-9)
    even = (values[1:] + values[:-1]) / 2 + rate * np.diff(lengths) / (2 * gaps)
    found: Floats = np.maximum.accumulate(even).astype(np.float32)
    return found
