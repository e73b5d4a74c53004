"""Images with the five most probable labels as bars: the left half of the paper's figure 4."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.plots.canvas import GRAY, ORANGE, SKY, SMALL, WIDTH, new_figure, shorten, show

COLUMNS = 4
LABELS = 5


def figure(
    images: Pixels | Sequence[Pixels],
    probabilities: Tensor,
    class_names: Sequence[str],
    truths: Sequence[int | None],
    names: Sequence[str] = (),
) -> Figure:
    """A cell for each image: the image, its true label, and below the most probable labels with their probabilities.

    images: N of uint8 (S, S, 3). probabilities: (N, K). truths: the true classes, None where nobody knows. names: what
    is written above an image of unknown class, its file's name say.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    drawn = new_figure(WIDTH * columns / COLUMNS if columns > 1 else 3.6, 0.6 + 3.9 * rows)
    grid = drawn.subplots(2 * rows, columns, squeeze=False, height_ratios=[2.2, 1.2] * rows)
    for axes in grid.ravel():
        axes.set_axis_off()
    for index, (image, row, truth) in enumerate(zip(images, probabilities, truths, strict=True)):
        above, below = (grid[2 * (index // columns) + half, index % columns] for half in (0, 1))
        show(above, image, shorten(class_names[truth] if truth is not None else names[index], 26), 10)
        _bars(below, row, class_names, truth)
    parts = [Patch(color=ORANGE, label="the true label"), Patch(color=SKY, label="another label")]
    unknown = all(truth is None for truth in truths)
    legend = [Patch(color=SKY, label="probability of a label; the true one is not known")] if unknown else parts
    drawn.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return drawn


def _bars(axes: Axes, probabilities: Tensor, class_names: Sequence[str], truth: int | None) -> None:
    """Bars with the labels written over them, the most probable on top."""
    values, classes = (each.tolist() for each in probabilities.topk(min(LABELS, len(probabilities))))
    axes.set_axis_on()
    colors = [ORANGE if label == truth else SKY for label in classes]
    axes.barh(range(len(values)), values, color=colors, height=0.82)
    for place, (label, value) in enumerate(zip(classes, values, strict=True)):
        weight = "bold" if label == truth else "normal"
        axes.text(
            0.015, place, shorten(class_names[label], 24), va="center", fontsize=9, weight=weight, parse_math=False
        )
        axes.text(1.01, place, f"{value:.0%}", va="center", fontsize=SMALL, color="#444444")
    axes.set(xlim=(0, 1), ylim=(LABELS - 0.5, -0.5), yticks=[])
    axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"], fontsize=SMALL)
    axes.tick_params(length=2, color=GRAY)
    axes.spines[["top", "right", "left"]].set_visible(False)
