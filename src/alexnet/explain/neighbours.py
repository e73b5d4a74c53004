"""The training images whose last hidden vectors lie nearest: the right half of the paper's figure 4."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.errors import DataError
from alexnet.plots.canvas import BLUE, VERMILION, WIDTH, new_figure, shorten, show

NEIGHBOURS = 6


@dataclass(frozen=True)
class Row:
    """An image and its neighbours, as they are drawn."""

    image: Pixels  # uint8 (S, S, 3)
    title: str
    neighbours: Sequence[Pixels]  # nearest first
    titles: Sequence[str]
    same: Sequence[bool]  # whether a neighbour is of the image's class
    distances: Sequence[float]


def nearest(
    queries: Tensor, base: Tensor, count: int = NEIGHBOURS, own: Sequence[int | None] | None = None
) -> tuple[Tensor, Tensor]:
    """For each query the rows of `base` with the smallest Euclidean distance, nearest first, and these distances.

    queries: (Q, D). base: (N, D). own: for each query the row of `base` that is the query itself, which is left out, or
    None. Returns int64 and float32 (Q, min(count, N)). DataError where nothing is left to compare with.
    """
    distances = torch.cdist(queries, base, compute_mode="donot_use_mm_for_euclid_dist")
    for query, row in enumerate(own or ()):
        if row is not None:
            distances[query, row] = torch.inf
    count = min(count, len(base) - (1 if own and any(row is not None for row in own) else 0))
    if count < 1:
        raise DataError("no other images to compare with; give data with a training part")
    found = distances.topk(count, dim=1, largest=False)
    return found.indices, found.values


def figure(rows: Sequence[Row], vector: str) -> Figure:
    """A row for each image: itself at the left, its neighbours at the right, framed by whether the class is the same.

    vector: what the distance is measured between ("fc7").
    """
    columns = 1 + max(len(row.neighbours) for row in rows)
    drawn = new_figure(WIDTH, 0.9 + 1.72 * len(rows))
    grid = drawn.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        show(line[0], row.image, shorten(row.title, 18), 9)
        for axes, image, title, same, distance in zip(
            line[1:], row.neighbours, row.titles, row.same, row.distances, strict=False
        ):
            show(axes, image, f"{shorten(title, 18)}\n{distance:.3g}")
            _frame(axes, BLUE if same else VERMILION, "solid" if same else "dashed")
    parts = [
        Patch(fill=False, edgecolor=BLUE, linewidth=2.5, label="of the same class"),
        Patch(fill=False, edgecolor=VERMILION, linewidth=2.5, linestyle="dashed", label="of another class"),
    ]
    title = f"each image (left) and the nearest training images, by the distance of their {vector} vectors"
    drawn.suptitle(title, fontsize=11)
    drawn.legend(handles=parts, loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=3)
    return drawn


def _frame(axes: Axes, color: str, style: str) -> None:
    """A line around an image."""
    look: dict[str, Any] = {"edgecolor": color, "linewidth": 2.5, "linestyle": style}
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, clip_on=False, **look))
