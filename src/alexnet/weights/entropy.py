"""Symbols of few kinds to bytes and back, in nearly as few bits as their entropy, many at once in NumPy.

N symbols, K kinds, L lanes. The code is rANS (Duda 2013, "Asymmetric numeral systems", arXiv 1311.2540): a number x
holds the symbols that are still to come. A symbol s has the share f[s] / 4096, and c[s] is the sum of the shares before
it:

    decode   s: c[s] <= x mod 4096 < c[s] + f[s];  x <- f[s] (x div 4096) + x mod 4096 - c[s]
             where x < 2^16:  x <- 2^16 x + the next word
    encode   where x >= 2^20 f[s]:  a word is x mod 2^16, and x <- x div 2^16
             x <- 4096 (x div f[s]) + x mod f[s] + c[s]

Symbol i belongs to lane i mod L; a lane has an x of its own, and the lanes take their words from one row, in the order
in which they ask. So the lanes are decoded at once, and one after the other by the engine of a page.

A record, little-endian: uint32 N, L, K and the number of words; uint16 f, K values, and one zero more where K is odd;
uint32 x, L values; uint16 words. This file imports no torch.
"""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import WeightsError

Symbols = NDArray[np.uint8]
HEAD = struct.Struct("<4I")
PRECISION = 12  # bits of a share
WHOLE = 1 << PRECISION
LEAST = 1 << 16  # of x between two symbols; decoding ends with it
STEPS, LANES = 1024, 32  # most symbols in a lane, which costs 16 bits; lanes that there are at least

Words = NDArray[np.uint32]


class _Table(NamedTuple):
    """What decoding looks up by x mod 4096."""

    symbol: Symbols
    share: Words
    shift: Words  # x mod 4096 - c[s]


def encode(symbols: Symbols, kinds: int) -> bytes:
    """uint8 (N,), N > 0, each below `kinds` <= 256 -> a record."""
    count = len(symbols)
    lanes = max(min(LANES, count), -(-count // STEPS))
    shares = shares_of(np.bincount(symbols, minlength=kinds))
    before = (np.cumsum(shares) - shares).astype(np.uint64)
    wide, limits = shares.astype(np.uint64), shares.astype(np.uint64) << np.uint64(20)
    states, words = np.full(lanes, LEAST, np.uint64), []
    for start in range((count - 1) // lanes * lanes, -1, -lanes):
        now = symbols[start : start + lanes]
        x = states[: len(now)]
        full = x >= limits[now]
        words.append((x[full] & np.uint64(LEAST - 1)).astype("<u2"))
        x = np.where(full, x >> np.uint64(16), x)
        states[: len(now)] = (x // wide[now] << np.uint64(PRECISION)) + x % wide[now] + before[now]
    row = np.concatenate(words[::-1])
    told = np.pad(shares, (0, kinds % 2)).astype("<u2")
    return HEAD.pack(count, lanes, kinds, len(row)) + told.tobytes() + states.astype("<u4").tobytes() + row.tobytes()


def decode(record: bytes | memoryview | Symbols) -> Symbols:
    """A record -> uint8 (N,). WeightsError for whatever is no whole record: every length, share and end is checked."""
    data = np.frombuffer(record, np.uint8)
    count, lanes, kinds, length = _head(data)
    shares, states, words = _parts(data, lanes, kinds, length)
    table, place = _table(shares), 0
    found = np.empty(count, np.uint8)
    for start in range(0, count, lanes):
        now = found[start : start + lanes]
        x = states[: len(now)]
        slot = x & np.uint32(WHOLE - 1)
        now[:] = table.symbol[slot]
        np.right_shift(x, np.uint32(PRECISION), out=x)
        x *= table.share[slot]
        x += table.shift[slot]
        low = np.flatnonzero(x < LEAST)
        if place + len(low) > length:
            raise _damaged("it ends too early")
        x[low] = x[low] << np.uint32(16) | words[place : place + len(low)]
        place += len(low)
    if place != length or (states != LEAST).any():
        raise _damaged("it does not end where its symbols do")
    return found


def shares_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts of the kinds -> their shares of 4096, which sum to it; at least 1 for a kind that there is."""
    shares = np.where(counts > 0, np.maximum(1, np.rint(counts * (WHOLE / counts.sum()))), 0).astype(np.int64)
    while (over := int(shares.sum()) - WHOLE) != 0:
        largest = int(shares.argmax())
        shares[largest] -= min(over, int(shares[largest]) // 2) if over > 0 else over
    return shares


def entropy(counts: NDArray[np.int64]) -> float:
    """Bits a symbol that no code of single symbols with these counts can do without."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def _head(data: Symbols) -> tuple[int, int, int, int]:
    """The numbers at the beginning, which fit each other and the length of the record."""
    if len(data) < HEAD.size:
        raise _damaged(f"it has {len(data)} bytes")
    count, lanes, kinds, length = HEAD.unpack(data[: HEAD.size].tobytes())
    wanted = HEAD.size + 2 * (kinds + kinds % 2) + 4 * lanes + 2 * length
    if not (1 <= kinds <= 256 and 1 <= lanes <= count <= STEPS * lanes) or wanted != len(data):
        raise _damaged(f"it tells {count} symbols of {kinds} kinds in {lanes} lanes, and has {len(data)} bytes")
    return count, lanes, kinds, length


def _parts(data: Symbols, lanes: int, kinds: int, length: int) -> tuple[NDArray[np.int64], Words, Words]:
    """Shares (K,), states (L,) and words."""
    ends = np.cumsum([HEAD.size, 2 * (kinds + kinds % 2), 4 * lanes, 2 * length])
    told, states, words = (
        data[start:end].view(kind) for start, end, kind in zip(ends[:-1], ends[1:], ("<u2", "<u4", "<u2"), strict=True)
    )
    shares = told[:kinds].astype(np.int64)
    if shares.sum() != WHOLE or (states < LEAST).any():
        raise _damaged("its shares do not sum to 1, or a state is too small")
    return shares, states.astype(np.uint32), words.astype(np.uint32)


def _table(shares: NDArray[np.int64]) -> _Table:
    symbol = np.repeat(np.arange(len(shares)), shares)
    shift = np.arange(WHOLE) - (np.cumsum(shares) - shares)[symbol]
    return _Table(symbol.astype(np.uint8), shares[symbol].astype(np.uint32), shift.astype(np.uint32))


def _damaged(reason: str) -> WeightsError:
    return WeightsError(f"a row of codes is damaged: {reason}")
