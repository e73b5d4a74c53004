"""Pictures that look alike, saved anew or resized: known by a perceptual hash, for `check` alone."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import Pixels

SIDE = 16  # frequencies a side
BYTES = SIDE * SIDE // 8
SHRUNK = 4 * SIDE  # pixels a side that the frequencies are taken from
FLAT = 1.0  # grey levels: a picture of less deviation has no features to compare
ALIKE = 8  # bits of 256 that differ at most; 17 flowers saved anew or at a third of the size differ in 8 at most, any
# two of 400 that are not copies in 90
BANDS = (3, 3, 3, 3, 4, 4, 4, 4, 4)  # bytes; one more band than bits may differ, so that one is equal


def look(pixels: Pixels) -> bytes:
    """The perceptual hash of uint8 (H, W, 3): 32 bytes; empty for a picture of one colour.

    The signs, about their median, of the lowest frequencies of a small grey copy (C. Zauner, "Implementation and
    Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1, with 16 x 16 frequencies for 8 x 8).
    """
    from PIL import Image
    from scipy.fft import dctn  # takes a while to import

    small = Image.fromarray(pixels).convert("L").resize((SHRUNK, SHRUNK), Image.Resampling.LANCZOS, reducing_gap=3)
    grey = np.asarray(small, np.float64)
    if grey.std() < FLAT:
        return b""
    low = dctn(grey)[:SIDE, :SIDE]
    return np.packbits(low > np.median(low)).tobytes()


def alike(looks: list[bytes]) -> list[list[int]]:
    """Groups of two or more of N pictures that look alike, each to one of its group; ascending, ordered by the first.

    looks: from `look`; pictures whose look is empty are in no group.
    """
    rows_of: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, each in enumerate(looks):
        if each:
            rows_of[each].append(row)
    hashes = np.frombuffer(b"".join(rows_of), np.uint8).reshape(len(rows_of), BYTES)
    group = list(range(len(hashes)))  # of each distinct hash: another one of its group, or itself
    for one, other in _near(hashes):
        group[_first(group, one)] = _first(group, other)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number, rows in enumerate(rows_of.values()):
        members[_first(group, number)] += rows
    return sorted(sorted(rows) for rows in members.values() if len(rows) > 1)


def _near(hashes: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Pairs of hashes that differ in at most ALIKE bits: each agrees in a band, by the pigeonhole principle."""
    words = hashes.view(np.uint64)
    for band in np.split(hashes, np.cumsum(BANDS)[:-1], axis=1):
        numbers_of: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, value in enumerate(band):
            numbers_of[value.tobytes()].append(number)
        for equal in (np.array(numbers) for numbers in numbers_of.values() if len(numbers) > 1):
            for place, number in enumerate(equal[:-1]):
                rest = equal[place + 1 :]
                differ = np.bitwise_count(words[rest] ^ words[number]).sum(1)
                yield from ((int(number), int(other)) for other in rest[differ <= ALIKE])


def _first(group: list[int], number: int) -> int:
    while group[number] != number:
        group[number] = number = group[group[number]]
    return number
