"""Figures of a run: learning curves, confusion matrix, augmented samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike
from torch import Tensor

from alexnet.plots.canvas import new_figure, save, shorten, show, unnormalized

COLORS = {"train": "#8a8a8a", "val": "#1f6fb4", "test": "#c8501e"}
PARTS = {"train": "training (while it learns)", "val": "validation", "test": "test"}
COUNTS_UP_TO = 20  # classes of a confusion matrix with counts in its cells
SHARE_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
DRAWN_UP_TO = 30  # classes of one that is drawn whole; of more classes the most confused COUNTS_UP_TO are drawn
BETWEEN = "#cfd8e3"  # lines between its cells; white would be invisible between empty cells
TITLE = 22  # characters in a line above a sample
MARKERS_UP_TO = 30  # epochs with a marker each


def curves(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """`curves_figure` as PNG."""
    save(curves_figure(rows), path)


def curves_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss and top-1 accuracy by epoch, side by side.

    rows: one per epoch, as in metrics.csv: "epoch" and any of "train_loss", "train_top1", "val_loss", "val_top1",
    "test_loss", "test_top1"; None, "" or a missing key is a gap. Accuracies are fractions. Training accuracy is
    measured on augmented and mixed images while the weights change, so it can be below validation accuracy.
    """
    figure = new_figure(10, 4)
    loss, top1 = figure.subplots(1, 2)
    for axes, measure, title in ((loss, "loss", "Loss"), (top1, "top1", "Top-1 accuracy")):
        for part in PARTS:
            _curve(axes, rows, part, measure)
        _finish_curves(axes, title)
    top1.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def confusion(matrix: ArrayLike, class_names: Sequence[str], path: str | Path) -> None:
    """`confusion_figure` as PNG."""
    save(confusion_figure(matrix, class_names), path)


def confusion_figure(matrix: ArrayLike, class_names: Sequence[str]) -> Figure:
    """A confusion matrix; the colour is the fraction of the true class (row).

    matrix: counts (K, K), [i][j] images of class i predicted as j. Of more than 30 classes only the 20 with the most
    frequent confusions are drawn, as the title says. Counts are written for up to 20 classes. A class without images
    has an empty row.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    chosen = list(range(len(counts))) if len(counts) <= DRAWN_UP_TO else _most_confused_classes(counts)
    part = np.ix_(chosen, chosen)
    side = float(np.clip(3.2 + 0.34 * len(chosen), 5, 12))
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(shares[part], cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))  # rare mistakes stay visible
    _add_color_bar(figure, axes, image)
    axes.set(xlabel="predicted", ylabel="true", title=_confusion_title(counts, len(chosen)))
    _name_classes(axes, [class_names[index] for index in chosen])
    _separate_cells(axes, len(chosen))
    if len(chosen) <= COUNTS_UP_TO:
        _write_counts(axes, counts[part], shares[part])
    return figure


def samples(
    batch: Tensor, mean: Sequence[float], std: Sequence[float], titles: Sequence[str] | None, path: str | Path
) -> None:
    """A grid of network inputs, as PNG.

    batch: (N, 3, H, W), normalised by `mean` and `std` (RGB, 0..255). titles: one for each image, of one line or more;
    long lines are shortened.
    """
    images = unnormalized(batch, mean, std)
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    lines = max(title.count("\n") + 1 for title in titles) if titles else 0
    figure = new_figure(1.6 * columns, (1.6 + 0.2 * lines) * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for index, image in enumerate(images):
        show(grid[index], image, _cut(titles[index]) if titles else "")
    save(figure, path)


def shares_title(shares: Sequence[float], class_names: Sequence[str]) -> str:
    """A title for `samples`: the class, or for a mixed image each class with its share, largest first.

    shares: K target probabilities, summing to one; those that round to 0% are omitted.
    """
    parts = [(name, share) for name, share in zip(class_names, shares, strict=True) if share >= 0.005]
    if len(parts) == 1:
        return parts[0][0]
    parts.sort(key=lambda part: -part[1])
    return ",\n".join(f"{shorten(name, TITLE - len(' 99%,'))} {share:.0%}" for name, share in parts)


def _cut(title: str) -> str:
    return "\n".join(shorten(line, TITLE) for line in title.split("\n"))


def _curve(axes: Axes, rows: Sequence[Mapping[str, Any]], part: str, measure: str) -> None:
    """One curve, with markers if there are few epochs; nothing where no row has the measure."""
    key = f"{part}_{measure}"
    points = [(float(row["epoch"]), float(row[key])) for row in rows if row.get(key) not in (None, "")]
    if not points:
        return
    epochs, values = zip(*points, strict=True)
    marker = "o" if len(points) <= MARKERS_UP_TO else None
    axes.plot(epochs, values, color=COLORS[part], marker=marker, markersize=3.5, linewidth=1.6, label=PARTS[part])


def _finish_curves(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="epoch")
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if axes.get_lines():
        axes.legend(frameon=False)


def _add_color_bar(figure: Figure, axes: Axes, image: AxesImage) -> None:
    """A colour bar of the matrix's height at its right."""
    beside = axes.inset_axes((1.03, 0.0, 0.035, 1.0))
    bar = figure.colorbar(image, cax=beside, ticks=SHARE_TICKS, format=PercentFormatter(1.0, decimals=0))
    bar.outline.set_visible(False)
    bar.set_label("fraction of the true class")


def _most_confused_classes(counts: np.ndarray) -> list[int]:
    """The 20 classes that occur in the most frequent confusions, in the order of the classes."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    pairs = np.argsort(-mistakes, axis=None, kind="stable")
    classes = np.stack(np.unravel_index(pairs, counts.shape), axis=1).ravel()
    return sorted(list(dict.fromkeys(classes.tolist()))[:COUNTS_UP_TO])


def _confusion_title(counts: np.ndarray, drawn: int) -> str:
    correct, total = int(np.trace(counts)), int(counts.sum())
    of = f"\nthe {drawn} of {len(counts):,} classes most often confused" if drawn < len(counts) else ""
    return f"{correct:,} of {total:,} correct ({correct / max(total, 1):.1%}){of}"


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    names = [shorten(name, 24) for name in class_names]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.tick_params(length=0, labelsize=9 if len(names) <= COUNTS_UP_TO else 7)


def _separate_cells(axes: Axes, count: int) -> None:
    """Thin lines between the cells, to follow a row to its name."""
    between = np.arange(count - 1) + 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(which="minor", color=BETWEEN, linewidth=0.8)
    axes.tick_params(which="minor", length=0)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Write the counts above zero, white on dark cells."""
    for i, j in np.argwhere(counts):
        color = "white" if shares[i, j] > 0.35 else "#222222"
        axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=8, color=color)
