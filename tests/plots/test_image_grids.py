"""Grids of images show the labels, probabilities, frames and crops that they are given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from alexnet.plots.canvas import ORANGE, SKY, png
from alexnet.plots.image_grids import (
    NeighbourRow,
    UnitRow,
    mistakes_figure,
    neighbours_figure,
    top_labels_figure,
    units_figure,
)

NAMES = ["a", "b", "c", "d", "e", "$f_"]
CHANCES = torch.tensor([[0.1, 0.4, 0.05, 0.2, 0.22, 0.03], [0.3, 0.3, 0.1, 0.1, 0.15, 0.05]])


def bars(drawn: object, image: int) -> tuple[list[float], list[str]]:
    """Widths and colours of an image's bars from the top."""
    axes = [each for each in drawn.axes if each.patches][image]  # type: ignore[attr-defined]
    return [bar.get_width() for bar in axes.patches], [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]


def test_five_bars_are_in_order_and_the_true_label_is_orange() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    drawn = top_labels_figure(images, CHANCES, NAMES, [4, 5])
    widths, colors = bars(drawn, 0)
    assert np.allclose(widths, [0.4, 0.22, 0.2, 0.1, 0.05])
    assert colors == [SKY, ORANGE, SKY, SKY, SKY]
    assert ORANGE not in bars(drawn, 1)[1]  # the true label is not among its five
    assert png(drawn)


def test_two_classes_give_two_bars_and_an_unknown_true_label_marks_none() -> None:
    drawn = top_labels_figure(
        np.zeros((1, 8, 8, 3), np.uint8), torch.tensor([[0.25, 0.75]]), ["a", "b"], [None], ["photo.jpg"]
    )
    widths, colors = bars(drawn, 0)
    assert (widths, colors) == ([0.75, 0.25], [SKY, SKY])
    assert "photo.jpg" in [axes.get_title() for axes in drawn.axes]


def test_a_figure_has_no_room_for_labels_and_images_that_are_not_there() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    two, many = (
        top_labels_figure(images, torch.full((2, count), 1 / count), list("abcdefg"[:count]), [0, 1])
        for count in (2, 7)
    )
    assert two.get_figheight() < many.get_figheight()
    assert two.axes[2].get_ylim() == (1.5, -0.5)
    rows = [UnitRow("unit 1", list(images), ["a", "b"], [(0, 0, 8, 8)] * 2)]
    assert (
        units_figure(rows, "").get_figwidth()
        < units_figure([UnitRow("unit 1", [images[0]] * 6, ["a"] * 6, [(0, 0, 8, 8)] * 6)], "").get_figwidth()
    )


def test_a_mistake_shows_predicted_and_true_label() -> None:
    drawn = mistakes_figure(np.zeros((1, 8, 8, 3), np.uint8), torch.tensor([[0.05, 0.95]]), [0], ["$a_", "b"])
    assert drawn.axes[0].get_title() == "predicted: b 95%\ntrue: $a_ 5%"
    assert png(drawn)


def test_the_frame_of_a_neighbour_of_another_class_is_dashed() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    row = NeighbourRow(image, "a", [image, image], ["a", "b"], [True, False], [1.5, 2.5])
    drawn = neighbours_figure([row], "fc7")
    assert [axes.patches[0].get_linestyle() for axes in drawn.axes if axes.patches] == ["solid", "dashed"]
    assert [axes.get_title() for axes in drawn.axes] == ["a", "a\n1.5", "b\n2.5"]
    assert png(drawn)


@pytest.mark.parametrize(("size", "width"), [(10, 30), (60, 90)])
def test_an_image_is_cropped_around_a_small_receptive_field(size: float, width: int) -> None:
    image = np.zeros((90, 90, 3), np.uint8)
    boxes = [(0.0, 0.0, size, size), (90 - size, 90 - size, 90.0, 90.0), (20.0, 12.0, 20 + size, 12 + size)]
    for axes in units_figure([UnitRow("unit 0", [image] * 3, ["$x_"] * 3, boxes)], "conv1").axes:
        left, right = axes.get_xlim()
        assert right - left == width
        assert left >= -0.5
        assert right <= 89.5
