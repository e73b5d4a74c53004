"""Rows of arrays are the images that they name, and are rendered as these are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alexnet.data.store.rows import Rows
from alexnet.errors import UsageError
from alexnet.ops import native
from alexnet.ops.gpu_views import gathered
from alexnet.ops.views import ColorMap, Windows, render

COUNT, SIDE = 5, 37
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)
ROWS = Rows([IMAGES[[0, 1, 4, 2]], IMAGES[[3, 0]]], np.array([0, 1, 0, 0, 0]), np.array([2, 0, 3, 1, 0]))  # backwards


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("mirrored", [None, torch.arange(COUNT) % 2 == 0])
@pytest.mark.parametrize("size", [9, SIDE, 50])
def test_rows_are_rendered_as_their_images_are(kernels, size, mirrored):
    shown = Windows(torch.tensor([[2.0, 3.0, 30.0, 20.0]] * COUNT), mirrored=mirrored)
    part = replace(shown, parts=shown.parts[1:4], mirrored=None if mirrored is None else mirrored[1:4])
    with native.using(kernels):
        alone = render(list(IMAGES[::-1]), shown, ColorMap.identity(COUNT), size)
        assert torch.equal(render(ROWS, shown, ColorMap.identity(COUNT), size), alone)
        assert torch.equal(render(ROWS[1:4], part, ColorMap.identity(3), size), alone[1:4])


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("images", [ROWS, list(IMAGES[::-1]), [torch.from_numpy(each) for each in IMAGES[::-1]]])
def test_images_are_gathered_for_a_gpu_as_they_are(kernels, images):
    with native.using(kernels):
        assert np.array_equal(gathered(images).numpy(), IMAGES[::-1])


def test_rows_are_views_of_their_arrays():
    assert np.array_equal(np.stack(list(ROWS)), IMAGES[::-1])
    assert np.array_equal(ROWS[-1], IMAGES[0])
    assert np.shares_memory(ROWS.arrays[0], ROWS[0])
    assert np.shares_memory(ROWS.arrays[1], ROWS[1])


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_rows_of_different_sizes_are_refused(kernels):
    mixed = Rows([np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 9, 9, 3), np.uint8)], np.arange(2), np.zeros(2, int))
    with native.using(kernels), pytest.raises(UsageError, match="they must be of one square size"):
        render(mixed, Windows.square([0, 0], [0, 0], 8), ColorMap.identity(2), 8)
