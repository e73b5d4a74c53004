"""The figure shows every layer that changes its input, once."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.data.preprocess import Preprocessing
from alexnet.explain.maps import figure, strongest
from alexnet.networks.layers import Network
from alexnet.plots.canvas import png


def test_every_layer_that_changes_its_input_has_a_row_with_its_shape(
    tiny: Network, preprocessing: Preprocessing
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (72, 72, 3), np.uint8)
    drawn = figure(tiny, preprocessing, image)
    labels = [axes.get_ylabel().splitlines() for axes in drawn.axes if axes.get_ylabel()]
    assert [label[0] for label in labels] == [
        *("conv1", "relu1", "norm1", "pool1"),
        *("conv2", "relu2", "fc3", "relu3", "fc4"),
    ]
    assert [label[1] for label in labels][:5] == ["8 × 14 × 14"] * 3 + ["8 × 7 × 7", "12 × 7 × 7"]
    assert labels[0][2].startswith("±")
    assert labels[1][2].startswith("0 …")


def test_the_figure_fits_the_page(tiny: Network, preprocessing: Preprocessing) -> None:
    drawn = figure(tiny, preprocessing, np.full((72, 72, 3), 90, np.uint8))
    width, _ = Image.open(io.BytesIO(png(drawn))).size
    assert 1300 < width < 1700


def test_the_strongest_maps_have_the_largest_magnitude_and_ascending_numbers() -> None:
    maps = torch.tensor([0.1, -5.0, 3.0, 0.0, 4.0])[:, None, None].expand(-1, 2, 2)
    assert strongest(maps, 3) == [1, 2, 4]
    assert strongest(maps, 9) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_without_contrast_is_drawn(tiny: Network, preprocessing: Preprocessing, value: int) -> None:
    assert png(figure(tiny, preprocessing, np.full((72, 72, 3), value, np.uint8)))


def test_the_scale_of_a_row_covers_the_shown_maps_only(tiny: Network, preprocessing: Preprocessing) -> None:
    with torch.no_grad():  # one map of conv2 that its ReLU silences, so that it is not among the ten of twelve
        tiny.conv2.bias.fill_(5.0)
        tiny.conv2.bias[0] = -1000.0
    label = next(
        axes.get_ylabel()
        for axes in figure(tiny, preprocessing, np.full((72, 72, 3), 90, np.uint8)).axes
        if axes.get_ylabel().startswith("conv2")
    )
    assert float(label.splitlines()[2].lstrip("±0 …")) < 100
