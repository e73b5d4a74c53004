"""The images that were lost with most confidence: what the network is surest of and wrong about."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.plots.canvas import WIDTH, new_figure, shorten, show

LOST = 12
COLUMNS = 4


def most_confident(probabilities: Tensor, labels: Tensor, count: int = LOST) -> list[int]:
    """The rows whose most probable class is wrong, the surest first, at most `count`.

    probabilities: (N, K). labels: int64 (N,). Empty where nothing was lost.
    """
    sure, answers = probabilities.max(1)
    wrong = (answers != labels).nonzero()[:, 0]
    return wrong[torch.sort(sure[wrong], descending=True, stable=True).indices][:count].tolist()


def figure(
    images: Sequence[Pixels] | Pixels, probabilities: Tensor, labels: Sequence[int], class_names: Sequence[str]
) -> Figure:
    """The lost images with what was said of each and what it is, with their probabilities.

    images: N >= 1 of uint8 (S, S, 3). probabilities: (N, K). labels: the true classes.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    drawn = new_figure(WIDTH * columns / COLUMNS, 0.3 + 2.95 * rows)
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, row, label in zip(grid, images, probabilities, labels, strict=False):
        said = int(row.argmax())
        answer = f"said: {shorten(class_names[said], 18)} {float(row[said]):.0%}"
        truth = f"is: {shorten(class_names[label], 18)} {float(row[label]):.0%}"
        show(axes, image, f"{answer}\n{truth}", 10)
    return drawn
