"""The lost images are lost, and come by confidence."""

import numpy as np
import torch

from alexnet.explain.mistakes import figure, most_confident
from alexnet.plots.canvas import png

CHANCES = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.05, 0.95]])


def test_only_what_is_wrong_is_lost_the_surest_first() -> None:
    assert most_confident(CHANCES, torch.tensor([0, 1, 0, 1, 0])) == [4, 2, 1]
    assert most_confident(CHANCES, torch.tensor([0, 1, 0, 1, 0]), count=2) == [4, 2]
    assert most_confident(CHANCES, torch.tensor([0, 0, 1, 1, 1])) == []


def test_a_picture_says_what_was_said_and_what_it_is() -> None:
    drawn = figure(np.zeros((1, 8, 8, 3), np.uint8), CHANCES[4:], [0], ["$a_", "b"])
    assert drawn.axes[0].get_title() == "said: b 95%\nis: $a_ 5%"
    assert png(drawn)
