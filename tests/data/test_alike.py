"""Pictures that look alike are found, and no others."""

import numpy as np

from alexnet.data.alike import ALIKE, alike, look
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


def test_pictures_without_features_look_like_none() -> None:
    flat = [np.full((20, 30, 3), level, np.uint8) for level in (0, 0, 255)]
    assert [look(image) for image in flat] == [b"", b"", b""]
    assert alike([look(image) for image in flat]) == []


def test_different_drawings_of_one_digit_do_not_look_alike() -> None:
    source = open_source("digits")
    zeros = [row for row, sample in enumerate(source.samples) if sample.label == 0]
    assert alike([look(np.repeat(source.read(row)[:, :, None], 3, 2)) for row in zeros[:60]]) == []
