"""A scatter plot of projected images, coloured and labelled by class."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from alexnet.plots.canvas import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION, WIDTH, new_figure, shorten

COLORED = 24  # classes with a colour and a legend entry; the others are gray
NAMED_FROM = 12  # images from which a class is labelled among its points; the medoid of fewer says little
MARKERS = "os^Dv"  # with seven colours 35 combinations
COLORS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, "#222222")
NAME_WIDTH, NAME_HEIGHT = 0.23, 0.028  # of the longest label, as fractions of the plot


def figure(points: ArrayLike, labels: ArrayLike, class_names: Sequence[str], layer: str, method: str) -> Figure:
    """One point for each image, with the name of a class at the medoid of its points.

    points: (N, 2). labels: (N,). layer: the one whose outputs were projected ("fc7"). method: "t-sne" or "pca".
    The 24 classes with the most images have colours; of these, those with at least twelve images are labelled.
    """
    at, of = np.asarray(points, float), np.asarray(labels)
    drawn = new_figure(WIDTH, 8.2)
    axes = drawn.subplots()
    counts = np.bincount(of, minlength=len(class_names))
    colored = sorted(int(label) for label in np.argsort(-counts, kind="stable")[:COLORED] if counts[label])
    rest = ~np.isin(of, colored)
    axes.scatter(at[rest, 0], at[rest, 1], s=14, color=GRAY, alpha=0.5, linewidths=0)
    for index, label in enumerate(colored):
        color, marker = COLORS[index % len(COLORS)], MARKERS[index // len(COLORS) % len(MARKERS)]
        own = at[of == label]
        axes.scatter(own[:, 0], own[:, 1], s=26, alpha=0.8, linewidths=0, color=color, marker=marker, label="x")
    named = [label for label in colored if counts[label] >= NAMED_FROM]
    _draw_names(axes, at, [_medoid(at[of == label]) for label in named], [class_names[label] for label in named])
    _draw_legend(axes, [class_names[label] for label in colored], int(rest.sum()))
    kind = "t-SNE: similar images are close, distances have no unit" if method == "t-sne" else "PCA"
    axes.set_title(f"{len(at):,} images by their {layer} vectors ({kind})", fontsize=12)
    unit = "no unit" if method == "t-sne" else f"in units of {layer}"
    axes.set(xlabel=f"first component ({unit})", ylabel=f"second component ({unit})")
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _medoid(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point of (N, 2) with the smallest sum of distances to the others."""
    sums = np.linalg.norm(points[:, None] - points[None], axis=2).sum(1)
    return np.asarray(points[sums.argmin()])


def _draw_names(
    axes: Axes, points: NDArray[np.float64], medoids: Sequence[NDArray[np.float64]], names: Sequence[str]
) -> None:
    """Class names at the medoids on translucent white, shifted vertically where two would overlap."""
    extent = max(float(np.ptp(points, axis=0).max()), 1e-12)
    positions = separate(np.reshape(medoids, (-1, 2)) / extent) * extent
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "edgecolor": "none"}
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "bbox": box, "parse_math": False}
    for (x, y), name in zip(positions, names, strict=True):
        axes.text(x, y, shorten(name, 20), **style)


def separate(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres (N, 2) of labels, as fractions of the plot, shifted vertically until hardly any two overlap."""
    moved = positions.copy()
    for _ in range(100):
        order = np.argsort(moved[:, 1], kind="stable")
        overlaps = False
        for low, high in combinations(order, 2):
            lacking = NAME_HEIGHT - (moved[high, 1] - moved[low, 1])
            if abs(moved[high, 0] - moved[low, 0]) < NAME_WIDTH and lacking > 1e-9:
                moved[low, 1] -= lacking / 2
                moved[high, 1] += lacking / 2
                overlaps = True
        if not overlaps:
            break
    return moved


def _draw_legend(axes: Axes, names: Sequence[str], others: int) -> None:
    """At the right of the plot; names are set afterwards because `label` would be parsed as a formula."""
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, handletextpad=0.2)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(shorten(name, 22))
    if others:
        legend.set_title(f"gray: {others:,} images\nof other classes")
        legend.get_title().set_fontsize(9)
