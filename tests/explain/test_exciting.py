"""A unit's favourite images are those in which it answers most."""

import numpy as np
import pytest
import torch

from alexnet.errors import UsageError
from alexnet.explain.exciting import figure, selective, units
from alexnet.explain.field import Field
from alexnet.explain.look import Look

FIELD = Field(step=4, start=-2, size=8, side=32)


def seen(peaks: list[list[float]]) -> Look:
    """A look at images, a row each, with these peaks of the units of "conv"."""
    values = torch.tensor(peaks)
    places = torch.arange(values.numel() * 2, dtype=torch.int16).view(*values.shape, 2) % 8
    return Look(torch.ones(len(values), 1), torch.ones(len(values), 1), {"conv": values}, {"conv": places})


def test_favourites_come_in_the_order_of_their_values_with_what_the_unit_saw() -> None:
    look = seen([[1, 9], [5, 2], [3, 4]])
    first, second = units(look, FIELD, "conv", [0, 1], images=2)
    assert (first.images, first.values) == ([1, 2], [5, 3])
    assert (second.images, second.values) == ([0, 2], [9, 4])
    row, column = look.places["conv"][1, 0].tolist()
    assert first.boxes[0] == FIELD.box(row, column)


def test_a_unit_that_singles_out_images_comes_before_one_that_answers_to_all_and_a_dead_one_is_last() -> None:
    rare, steady, dead = [10.0] * 6 + [0.0] * 54, [5 + 0.1 * (n % 2) for n in range(60)], [0.0] * 60
    look = seen([list(row) for row in zip(dead, steady, rare, strict=True)])
    assert selective(look, "conv", 3) == [2, 1, 0]
    assert [unit.number for unit in units(look, FIELD, "conv")] == [2, 1, 0]


def test_a_unit_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="layer conv has no unit 2; it has 0 to 1"):
        units(seen([[1, 2]]), FIELD, "conv", [2])


def test_a_small_field_is_shown_with_what_lies_around_it_and_a_large_one_with_the_whole_image() -> None:
    images = {row: np.zeros((90, 90, 3), np.uint8) for row in range(3)}
    titles = dict.fromkeys(images, "$x_")
    for size, width in ((10, 30), (60, 90)):
        field = Field(step=4, start=0, size=size, side=90)
        drawn = figure(units(seen([[1, 9], [5, 2], [3, 4]]), field, "conv"), images, titles)
        for axes in drawn.axes:
            left, right = axes.get_xlim()
            assert right - left == width
            assert left >= -0.5
            assert right <= 89.5
