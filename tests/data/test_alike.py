"""Pictures that look alike are found, and no others."""

import numpy as np
from numpy.typing import NDArray

from alexnet.data.alike import ALIKE, BYTES, alike, look, nearest
from alexnet.data.sources import open_source


def test_hashes_that_differ_in_few_bits_are_grouped_wherever_these_bits_are() -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (40, 256), dtype=np.uint8)
    near, far = bits.copy(), bits.copy()
    for row in range(40):
        places = random.permutation(256)
        near[row, places[:ALIKE]] ^= 1
        far[row, places[-ALIKE - 1 :]] ^= 1
    looks = [np.packbits(row).tobytes() for row in np.concatenate([bits, near])]
    assert alike(looks) == [[row, 40 + row] for row in range(40)]
    assert alike([np.packbits(row).tobytes() for row in np.concatenate([bits, far])]) == []


def drifting(random: np.random.Generator) -> NDArray[np.uint8]:
    """Bits (600, 256) of hashes, most of whose bits agree, some in chains of which each is near the one before."""
    bits = (random.random((600, 256)) < np.where(random.random(256) < 0.5, 0.95, 0.05)).astype(np.uint8)
    for row in range(1, 600, 2):
        bits[row] = bits[row - 1 - row % 3]
        bits[row, random.integers(0, 256, random.integers(0, 12))] ^= 1
    return bits


def test_groups_and_nearest_ones_are_those_that_comparing_all_pairs_gives() -> None:
    from scipy.sparse.csgraph import connected_components

    bits = drifting(np.random.default_rng(0))
    looks = [np.packbits(row).tobytes() for row in bits]
    differ = (bits[:, None] != bits).sum(2)
    _, group = connected_components(differ <= ALIKE)
    wanted = [np.flatnonzero(group == each).tolist() for each in range(group.max() + 1)]
    assert len(wanted) > 20
    assert max(map(len, wanted)) > 4
    assert alike(looks) == sorted(rows for rows in wanted if len(rows) > 1)
    found = nearest(looks[:200], looks[200:], workers=2)
    assert found == [(int(row.argmin()), int(row.min())) for row in differ[:200, 200:]]


def test_pictures_without_features_are_nearest_to_none() -> None:
    some = bytes(range(BYTES))
    assert nearest([b"", some], [b"", some]) == [(-1, 257), (1, 0)]
    assert nearest([some], [b""]) == [(-1, 257)]
    assert nearest([], [some]) == []


def test_pictures_without_features_look_like_none() -> None:
    flat = [np.full((20, 30, 3), level, np.uint8) for level in (0, 0, 255)]
    assert [look(image) for image in flat] == [b"", b"", b""]
    assert alike([look(image) for image in flat]) == []


def test_different_drawings_of_one_digit_do_not_look_alike() -> None:
    source = open_source("digits")
    zeros = [row for row, sample in enumerate(source.samples) if sample.label == 0]
    assert alike([look(np.repeat(source.read(row)[:, :, None], 3, 2)) for row in zeros[:60]]) == []
