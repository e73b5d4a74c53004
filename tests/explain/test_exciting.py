"""The images that excite a unit most are those with its highest peaks."""

import numpy as np
import pytest
import torch

from alexnet.errors import UsageError
from alexnet.explain.activations import Activations
from alexnet.explain.exciting import exciting_images, figure, selective_units
from alexnet.explain.field import Field

FIELD = Field(step=4, start=-2, size=8, side=32)


def activations(peaks: list[list[float]]) -> Activations:
    """Activations of one image a row, with these peaks of the units of layer "conv"."""
    values = torch.tensor(peaks)
    places = torch.arange(values.numel() * 2, dtype=torch.int16).view(*values.shape, 2) % 8
    return Activations(torch.ones(len(values), 1), torch.ones(len(values), 1), {"conv": values}, {"conv": places})


def test_images_are_in_descending_order_of_peaks_with_the_receptive_field_of_each() -> None:
    recorded = activations([[1, 9], [5, 2], [3, 4]])
    first, second = exciting_images(recorded, FIELD, "conv", [0, 1], images=2)
    assert (first.images, first.values) == ([1, 2], [5, 3])
    assert (second.images, second.values) == ([0, 2], [9, 4])
    row, column = recorded.peak_positions["conv"][1, 0].tolist()
    assert first.boxes[0] == FIELD.box(row, column)


def test_a_unit_with_rare_high_peaks_is_more_selective_than_a_steady_one_and_a_dead_unit_is_last() -> None:
    rare, steady, dead = [10.0] * 6 + [0.0] * 54, [5 + 0.1 * (n % 2) for n in range(60)], [0.0] * 60
    recorded = activations([list(row) for row in zip(dead, steady, rare, strict=True)])
    assert selective_units(recorded, "conv", 3) == [2, 1, 0]
    assert [unit.number for unit in exciting_images(recorded, FIELD, "conv")] == [2, 1, 0]


def test_a_unit_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="layer conv has no unit 2; it has 0 to 1"):
        exciting_images(activations([[1, 2]]), FIELD, "conv", [2])


def test_the_figure_labels_units_and_gives_peak_and_class_of_each_image() -> None:
    units = exciting_images(activations([[1, 9], [5, 2], [3, 4]]), FIELD, "conv", [1], images=2)
    images = {row: np.zeros((32, 32, 3), np.uint8) for row in range(3)}
    drawn = figure(units, images, {0: "$x_", 2: "y"})
    assert [axes.get_title() for axes in drawn.axes] == ["9: $x_", "4: y"]
    assert drawn.axes[0].get_ylabel() == "unit 1"
