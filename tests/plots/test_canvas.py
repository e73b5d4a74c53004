"""The canvas is deterministic; tiles and pixels are exact."""

import io

import numpy as np
import torch
from PIL import Image

from alexnet.plots.canvas import filter_colors, mosaic, new_figure, png, shorten, unnormalized


def test_png_is_deterministic() -> None:
    pictures = []
    for _ in range(2):
        figure = new_figure(3, 2)
        figure.subplots().plot([1, 2], [3, 4])
        pictures.append(png(figure))
    assert pictures[0] == pictures[1]
    assert Image.open(io.BytesIO(pictures[0])).format == "PNG"


def test_a_mosaic_has_every_tile_in_its_place_on_white() -> None:
    tiles = np.stack([np.full((2, 3, 3), number / 10, np.float32) for number in range(5)])
    canvas = mosaic(tiles, columns=2, gap=1)
    assert canvas.shape == (8, 7, 3)
    assert np.allclose([canvas[3 * (n // 2), 4 * (n % 2), 0] for n in range(5)], [0, 0.1, 0.2, 0.3, 0.4])
    assert (canvas[2] == 1).all()
    assert (canvas[:, 3] == 1).all()
    assert (canvas[6:, 4:] == 1).all()  # no sixth tile


def test_a_zero_weight_is_middle_gray_and_the_largest_is_full_brightness_or_black() -> None:
    weights = torch.zeros(2, 3, 4, 4)
    weights[0, 0, 1, 2], weights[0, 2, 3, 3] = 0.02, -0.01
    colors = filter_colors(weights)
    assert colors[0, 1, 2].tolist() == [1.0, 0.5, 0.5]
    assert colors[0, 3, 3].tolist() == [0.5, 0.5, 0.25]
    assert (colors[1] == 0.5).all()


def test_unnormalized_inverts_normalisation() -> None:
    pixels = torch.randint(0, 256, (2, 5, 5, 3), generator=torch.Generator().manual_seed(0))
    mean, std = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
    batch = ((pixels - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)
    assert np.array_equal(unnormalized(batch, mean, std), pixels.numpy())


def test_a_name_is_shortened_and_made_encodable() -> None:
    assert shorten("a" * 30, 10) == "a" * 9 + "…"
    assert shorten("caf\udce9", 10) == "caf?"
