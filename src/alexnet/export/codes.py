"""Weights in few bits: rows of float32 to codes with a scale for each row. R rows of L values."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.weights import entropy

Floats = NDArray[np.float32]
BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
"""Precision -> bits of a weight."""
PACKED = 100  # in the place of bits: codes of a codebook in a range code, `alexnet.weights.entropy`
EXACT = 1e-4  # of the largest weight of a row: how far known codes may be from it
BINS, ROUNDS, LEVELS = 4096, 40, 16  # of the histogram that k-means works on; its iterations; its codes


class Codes(NamedTuple):
    """Rows as they are stored: value = scale * code, or scale * codebook[code] where there is a codebook."""

    bits: int  # 32, 16, 8, 4, or PACKED
    codes: bytes  # R rows, each from a whole byte, of 4 bits the lower half of a byte first; of PACKED a range code
    scales: Floats  # (R)
    codebook: Floats  # (16) for 4 bits, (K) for PACKED, else (0)


def encode(rows: Floats, bits: int) -> Codes:
    """float32 (R, L) -> codes. A row's scale is its largest magnitude.

    32: float32 itself. 16: half precision of the scaled row. 8: steps of 1/127. 4: the sixteen values that are nearest
    to all scaled weights (k-means, as in Han, Mao and Dally 2016, arXiv 1510.00149), which belong to the layer.
    """
    none = np.zeros(0, np.float32)
    if bits == 32:
        return Codes(32, rows.astype("<f4").tobytes(), np.ones(len(rows), np.float32), none)
    scales = np.abs(rows).max(1).astype(np.float32)
    divisors: Floats = np.where(scales > 0, scales, 1).astype(np.float32)
    scaled: Floats = rows / divisors[:, None]
    if bits == 16:
        return Codes(16, scaled.astype("<f2").tobytes(), scales, none)
    if bits == 8:
        return Codes(8, np.rint(scaled * 127).astype(np.int8).tobytes(), (scales / 127).astype(np.float32), none)
    codebook = _codebook(scaled)
    nearest = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, scaled).astype(np.uint8)
    return Codes(4, _halves(nearest).tobytes(), scales, codebook)


def from_known(codes: NDArray[np.uint8], codebook: Floats, rows: Floats) -> Codes | None:
    """uint8 (R, L), codes of float32 (R, L) up to a scale for each row -> as stored; None where they are not."""
    table = codebook[codes]
    squares = np.square(table).sum(1)
    scales = ((rows * table).sum(1) / np.where(squares > 0, squares, 1)).astype(np.float32)
    if (np.abs(rows - scales[:, None] * table).max(1) > EXACT * np.abs(rows).max(1)).any():
        return None
    return Codes(PACKED, entropy.encode(codes.ravel(), len(codebook)), scales, codebook)


def decoded(codes: Codes, length: int) -> Floats:
    """The float32 (R, length) that the engine reads from codes."""
    if codes.bits == PACKED:
        values = codes.codebook[entropy.decode(codes.codes).reshape(-1, length)]
    elif codes.bits == 4:
        pairs = np.frombuffer(codes.codes, np.uint8).reshape(len(codes.scales), -1)
        values = codes.codebook[np.stack([pairs & 15, pairs >> 4], 2).reshape(len(pairs), -1)[:, :length]]
    else:
        kind = {32: "<f4", 16: "<f2", 8: "i1"}[codes.bits]
        values = np.frombuffer(codes.codes, kind).reshape(-1, length).astype(np.float32)
    result: Floats = values * codes.scales[:, None]
    return result


def _halves(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (R, L) below 16 -> (R, L / 2, rounded up)."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    result: NDArray[np.uint8] = even[:, ::2] | even[:, 1::2] << np.uint8(4)
    return result


def _codebook(scaled: Floats) -> Floats:
    """Sixteen ascending values in -1..1 by Lloyd's algorithm on a histogram, from quantiles of it."""
    counts, edges = np.histogram(scaled, BINS, (-1, 1))
    middles = (edges[1:] + edges[:-1]) / 2
    shares = counts.cumsum() / counts.sum()
    values = middles[np.searchsorted(shares, (np.arange(LEVELS) + 0.5) / LEVELS).clip(0, BINS - 1)]
    for _ in range(ROUNDS):
        near = np.searchsorted((values[1:] + values[:-1]) / 2, middles)
        weights = np.bincount(near, counts, LEVELS)
        sums = np.bincount(near, counts * middles, LEVELS)
        values = np.sort(np.where(weights > 0, sums / np.maximum(weights, 1), values))
    result: Floats = values.astype(np.float32)
    return result
