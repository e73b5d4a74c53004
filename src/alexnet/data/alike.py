"""Pictures that look alike, saved anew or resized: known by a perceptual hash, for `check` alone."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import Pixels
from alexnet.data.workers import ordered_map

SIDE = 16  # frequencies a side
BYTES = SIDE * SIDE // 8
SHRUNK = 4 * SIDE  # pixels a side that the frequencies are taken from
FLAT = 1.0  # grey levels: a picture of less deviation has no features to compare
ALIKE = 8  # bits of 256 that differ at most; 17 flowers saved anew or at a third of the size differ in 8 at most, any
# two of 400 that are not copies in 90
RESEMBLING = 60  # bits of 256 that differ at most where `against` names a pair: a photograph cropped or squeezed
# otherwise. Of the 15 pairs that CIFAR-10 and Tiny ImageNet have up to there 13 are one photograph, looked at; 17
# flowers and Tiny ImageNet, which share none, differ in 76 at least
BANDS = ALIKE + 1  # parts of a hash; one more than bits may differ, so that one is equal


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
    groups = _groups(np.frombuffer(b"".join(rows_of), np.uint8).reshape(len(rows_of), BYTES))
    members: defaultdict[int, list[int]] = defaultdict(list)
    for group, rows in zip(groups.tolist(), rows_of.values(), strict=True):
        members[group] += rows
    return sorted(sorted(rows) for rows in members.values() if len(rows) > 1)


def nearest(looks: list[bytes], others: list[bytes], workers: int | None = None) -> list[tuple[int, int]]:
    """For each of N pictures the one of M others of the nearest look: its index and the number of bits that differ.

    (-1, 8 * BYTES + 1) where either has none with features. Every pair is compared, 300 million a second on a core
    of an AMD EPYC (Zen 4). workers: threads, None for one per core.
    """
    known = np.array([row for row, each in enumerate(others) if each], np.int64)
    words = np.ascontiguousarray(_words([others[row] for row in known]).T)

    def found(each: bytes) -> tuple[int, int]:
        if not each or not len(known):
            return -1, 8 * BYTES + 1
        differ = np.bitwise_count(words ^ _words([each]).T).sum(0, dtype=np.uint16)
        row = int(differ.argmin())
        return int(known[row]), int(differ[row])

    with ordered_map(found, looks, workers) as results:
        return list(results)


def _words(looks: list[bytes]) -> NDArray[np.uint64]:
    """uint64 (N, BYTES / 8)."""
    return np.frombuffer(b"".join(looks), np.uint64).reshape(len(looks), BYTES // 8)


def _groups(hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 (M,): for each of M hashes the lowest number of those that near ones, one after another, lead to."""
    group = np.arange(len(hashes))
    for one, other in _near(hashes):
        while (apart := group[one] != group[other]).any():
            one, other = one[apart], other[apart]
            np.minimum.at(group, np.maximum(group[one], group[other]), np.minimum(group[one], group[other]))
            while (above := group[group] != group).any():
                group[above] = group[group[above]]
    return group


def _near(hashes: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Numbers of pairs of hashes that differ in at most ALIKE bits: each agrees in a band, by the pigeonhole principle.

    Of M hashes at most M pairs at a time. A band takes every BANDS-th bit, so that all bands tell hashes apart about
    equally well; neighbouring frequencies resemble each other in pictures of one kind.
    """
    bits, words = np.unpackbits(hashes, axis=1), hashes.view(np.uint64)
    for band in range(BANDS):
        key = np.packbits(bits[:, band::BANDS], axis=1).view(np.uint32)[:, 0]
        order = np.argsort(key, kind="stable")
        key, ordered = key[order], np.ascontiguousarray(words[order].T)
        place, step = np.arange(len(key)), 0  # of the first of each pair among the ordered, and how far the other is
        while len(place):
            step += 1
            place = place[: np.searchsorted(place, len(key) - step)]
            place = place[key[place] == key[place + step]]
            differ = np.bitwise_count(ordered[:, place] ^ ordered[:, place + step]).sum(0)
            near = place[differ <= ALIKE]
            yield order[near], order[near + step]
