"""Resizing is bit-identical to Pillow with every instruction set and without kernels."""

import numpy as np
import pytest
from PIL import Image

from alexnet.ops.resize import resize_square


@pytest.mark.parametrize("size", [1, 2, 7, 64, 225, 256])
@pytest.mark.parametrize("side", [1, 2, 5, 33, 224, 257, 375, 1000])
def test_resize_is_bit_identical_to_pillow(instructions, side, size):
    large = np.random.default_rng(side).integers(0, 256, (side, side + 9, 3), np.uint8)
    part = large[:, 4 : 4 + side]  # its rows lie apart
    wanted = Image.fromarray(part.copy()).resize((size, size), Image.Resampling.BILINEAR)
    assert np.array_equal(resize_square(part, size), np.asarray(wanted))


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay_exact(instructions, value):
    image = np.full((37, 37, 3), value, np.uint8)
    assert (resize_square(image, 23) == value).all()


def test_non_contiguous_images_are_accepted(instructions):
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    turned = image.swapaxes(0, 1)[::-1, :, ::-1]
    assert np.array_equal(resize_square(turned, 9), resize_square(turned.copy(), 9))
