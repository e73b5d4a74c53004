"""Grids of captioned images: predictions with bars, confident errors, nearest neighbours, inputs that excite a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.plots.canvas import BLUE, GRAY, ORANGE, SKY, SMALL, VERMILION, WIDTH, new_figure, shorten, show

COLUMNS = 4
LABELS = 5  # bars for each image
CONTEXT, LEAST = 3, 24.0  # a receptive field is shown with three times its side, but at least 24 pixels

Box = tuple[float, float, float, float]  # top, left, bottom, right in pixels


@dataclass(frozen=True)
class NeighbourRow:
    """An image and its nearest neighbours."""

    image: Pixels  # uint8 (S, S, 3)
    title: str
    neighbours: Sequence[Pixels]  # nearest first
    titles: Sequence[str]
    same: Sequence[bool]  # whether the neighbour's class is the image's
    distances: Sequence[float]


@dataclass(frozen=True)
class UnitRow:
    """A unit and the images that excite it most."""

    label: str
    images: Sequence[Pixels]  # uint8 (S, S, 3)
    titles: Sequence[str]
    boxes: Sequence[Box]  # receptive field of the unit's peak in each image


def top_labels_figure(
    images: Pixels | Sequence[Pixels],
    probabilities: Tensor,
    class_names: Sequence[str],
    truths: Sequence[int | None],
    names: Sequence[str] = (),
) -> Figure:
    """Each image with its true label above and bars of its most probable labels below.

    images: N of uint8 (S, S, 3). probabilities: (N, K). truths: the true classes, None if unknown. names: title of an
    image without a true class, such as its file name.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    below = 0.4 + 0.2 * min(LABELS, len(class_names))  # inches, as for the images above: no room for bars that are none
    figure = new_figure(WIDTH * columns / COLUMNS if columns > 1 else 3.6, 0.6 + (2.5 + below) * rows)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2.2, below - 0.2] * rows)
    for axes in grid.ravel():
        axes.set_axis_off()
    for index, (image, row, truth) in enumerate(zip(images, probabilities, truths, strict=True)):
        above, under = (grid[2 * (index // columns) + half, index % columns] for half in (0, 1))
        show(above, image, shorten(class_names[truth] if truth is not None else names[index], 26), 10)
        _draw_bars(under, row, class_names, truth)
    known = [Patch(color=ORANGE, label="true label"), Patch(color=SKY, label="other label")]
    unknown = [Patch(color=SKY, label="probability of a label (the true label is unknown)")]
    handles = unknown if all(truth is None for truth in truths) else known
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_bars(axes: Axes, probabilities: Tensor, class_names: Sequence[str], truth: int | None) -> None:
    """Horizontal bars under their labels, the most probable on top."""
    values, classes = (each.tolist() for each in probabilities.topk(min(LABELS, len(probabilities))))
    axes.set_axis_on()
    colors = [ORANGE if label == truth else SKY for label in classes]
    axes.barh(range(len(values)), values, color=colors, height=0.82)
    for row, (label, value) in enumerate(zip(classes, values, strict=True)):
        weight = "bold" if label == truth else "normal"
        axes.text(0.015, row, shorten(class_names[label], 24), va="center", fontsize=9, weight=weight, parse_math=False)
        axes.text(1.01, row, f"{value:.0%}", va="center", fontsize=SMALL, color="#444444")
    axes.set(xlim=(0, 1), ylim=(len(values) - 0.5, -0.5), yticks=[])
    axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"], fontsize=SMALL)
    axes.tick_params(length=2, color=GRAY)
    axes.spines[["top", "right", "left"]].set_visible(False)


def mistakes_figure(
    images: Sequence[Pixels] | Pixels, probabilities: Tensor, labels: Sequence[int], class_names: Sequence[str]
) -> Figure:
    """Misclassified images with predicted and true label and the probability of each.

    images: N >= 1 of uint8 (S, S, 3). probabilities: (N, K). labels: the true classes.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(WIDTH * columns / COLUMNS, 0.3 + 2.95 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, row, label in zip(grid, images, probabilities, labels, strict=False):
        predicted = int(row.argmax())
        above = f"predicted: {shorten(class_names[predicted], 18)} {float(row[predicted]):.0%}"
        below = f"true: {shorten(class_names[label], 18)} {float(row[label]):.0%}"
        show(axes, image, f"{above}\n{below}", 10)
    return figure


def neighbours_figure(rows: Sequence[NeighbourRow], layer: str) -> Figure:
    """One row for each image: the image, then its neighbours, framed by whether their class is the same.

    layer: the one whose outputs the distances are between ("fc7").
    """
    columns = 1 + max(len(row.neighbours) for row in rows)
    figure = new_figure(WIDTH, 0.9 + 1.72 * len(rows))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        show(line[0], row.image, shorten(row.title, 18), 9)
        for axes, image, title, same, distance in zip(
            line[1:], row.neighbours, row.titles, row.same, row.distances, strict=False
        ):
            show(axes, image, f"{shorten(title, 18)}\n{distance:.3g}")
            axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, clip_on=False, **_frame_style(same)))
    handles = [Patch(label="same class", **_frame_style(True)), Patch(label="other class", **_frame_style(False))]
    figure.suptitle(
        f"each image (left) and its nearest training images, by Euclidean distance of {layer} vectors", fontsize=11
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=3)
    return figure


def _frame_style(same: bool) -> dict[str, Any]:
    """Frames differ in colour and in dashes."""
    edge = {"edgecolor": BLUE, "linestyle": "solid"} if same else {"edgecolor": VERMILION, "linestyle": "dashed"}
    return {"fill": False, "linewidth": 2.5, **edge}


def units_figure(rows: Sequence[UnitRow], title: str) -> Figure:
    """One row for each unit: the images that excite it most, each with the unit's receptive field framed.

    Where the receptive field is smaller than a third of the image, only its surroundings are shown.
    """
    columns = max(len(row.images) for row in rows)
    field = max(max(box[2] - box[0], box[3] - box[1]) for row in rows for box in row.boxes)
    figure = new_figure(max(6.0, min(WIDTH, 0.5 + 1.86 * columns)), 0.5 + 1.86 * len(rows))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes in line[len(row.images) :]:
            axes.set_axis_off()
        for axes, image, caption, box in zip(line, row.images, row.titles, row.boxes, strict=False):
            _draw_field(axes, image, box, field, caption)
        line[0].set_ylabel(row.label, fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


def _draw_field(axes: Axes, image: Pixels, box: Box, field: float, title: str) -> None:
    """An image with `box` framed, cropped around it where `field`, the largest box's side, is small."""
    top, left, bottom, right = box
    show(axes, image, title)
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    side = len(image)
    if not (bottom - top >= side and right - left >= side):
        for color, width in (("black", 3.2), ("white", 1.4)):  # visible on any image
            corner = (left - 0.5, top - 0.5)
            axes.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=color, linewidth=width))
    length = min(float(side), max(CONTEXT * field, LEAST))
    x, y = _crop_start(left, right, length, side), _crop_start(top, bottom, length, side)
    axes.set_xlim(x - 0.5, x + length - 0.5)
    axes.set_ylim(y + length - 0.5, y - 0.5)


def _crop_start(start: float, end: float, length: float, side: int) -> float:
    """Start of a crop of `length` pixels centred on start..end, shifted to lie within 0..side."""
    return float(np.clip((start + end - length) / 2, 0, side - length))
