"""The bars are the probabilities, and the true label is marked."""

import numpy as np
import torch
from matplotlib.colors import to_hex

from alexnet.plots.answers import figure
from alexnet.plots.canvas import ORANGE, SKY, png

NAMES = ["a", "b", "c", "d", "e", "$f_"]
CHANCES = torch.tensor([[0.1, 0.4, 0.05, 0.2, 0.22, 0.03], [0.3, 0.3, 0.1, 0.1, 0.15, 0.05]])


def bars(drawn: object, image: int) -> tuple[list[float], list[str]]:
    """Widths and colours of an image's bars, from the top."""
    axes = [each for each in drawn.axes if each.patches][image]  # type: ignore[attr-defined]
    return [bar.get_width() for bar in axes.patches], [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]


def test_five_bars_stand_in_order_and_the_true_labels_is_orange() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    drawn = figure(images, CHANCES, NAMES, [4, 5])
    widths, colors = bars(drawn, 0)
    assert np.allclose(widths, [0.4, 0.22, 0.2, 0.1, 0.05])
    assert colors == [SKY, ORANGE, SKY, SKY, SKY]
    assert ORANGE not in bars(drawn, 1)[1]  # the true label is not among its five
    assert png(drawn)


def test_two_classes_give_two_bars_and_an_unknown_truth_none_that_is_marked() -> None:
    drawn = figure(np.zeros((1, 8, 8, 3), np.uint8), torch.tensor([[0.25, 0.75]]), ["a", "b"], [None], ["photo.jpg"])
    widths, colors = bars(drawn, 0)
    assert (widths, colors) == ([0.75, 0.25], [SKY, SKY])
    assert "photo.jpg" in [axes.get_title() for axes in drawn.axes]
