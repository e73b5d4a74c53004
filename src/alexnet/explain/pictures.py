"""Pictures of a run: learning curves, confusion, and what the network is shown.

Drawn with matplotlib's objects on the Agg canvas: no window, no state shared between pictures. Names are drawn as they
are, never read as formulas.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike
from torch import Tensor

from alexnet.files import whole_file

DOTS_PER_INCH = 150
COLORS = {"train": "#8a8a8a", "val": "#1f6fb4", "test": "#c8501e"}
PARTS = {"train": "training", "val": "validation", "test": "test"}
COUNTS_UP_TO = 20  # classes with the counts written into the cells of a confusion matrix
SHARE_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
NAMES_UP_TO = 40  # classes with their names beside it
MARKERS_UP_TO = 30  # epochs that are marked one by one


def curves(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Loss and top-1 accuracy by epoch, side by side, as PNG.

    rows: one an epoch, as in metrics.csv: "epoch", and of "train_loss", "train_top1", "val_loss", "val_top1",
    "test_loss", "test_top1" what there is; None, "" or a missing key is a gap. Accuracies are fractions.
    """
    figure = _figure(10, 4)
    loss, top1 = figure.subplots(1, 2)
    for axes, measure, title in ((loss, "loss", "Loss"), (top1, "top1", "Top-1 accuracy")):
        for part in PARTS:
            _curve(axes, rows, part, measure)
        _finish_curves(axes, title)
    top1.yaxis.set_major_formatter(PercentFormatter(1.0))
    _save(figure, path)


def confusion(matrix: ArrayLike, class_names: Sequence[str], path: str | Path) -> None:
    """A confusion matrix as PNG; the colour is the share of the true class's images (row).

    matrix: counts (K, K), [i][j] images of class i predicted as j. Counts are written into the cells up to 20 classes,
    names beside them up to 40; beyond, axes are numbered. A class without images has an empty row.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = float(np.clip(3.2 + 0.34 * len(counts), 5, 12))
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))  # rare mistakes stay visible
    _add_color_bar(figure, axes, image)
    axes.set(xlabel="predicted", ylabel="true", title=_confusion_title(counts))
    _name_classes(axes, class_names)
    if len(counts) <= COUNTS_UP_TO:
        _write_counts(axes, counts, shares)
    _save(figure, path)


def samples(
    batch: Tensor, mean: Sequence[float], std: Sequence[float], titles: Sequence[str] | None, path: str | Path
) -> None:
    """A grid of images as the network sees them, as PNG.

    batch: (N, 3, H, W), normalized by `mean` and `std` (RGB, 0..255), which is undone here: value * std + mean.
    titles: one for each image, cut where it is too long for its column; None for none.
    """
    pixels = batch.detach().float().cpu().permute(0, 2, 3, 1).numpy() * np.array(std) + np.array(mean)
    images = pixels.round().clip(0, 255).astype(np.uint8)
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = _figure(1.6 * columns, (1.8 if titles else 1.6) * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for index, image in enumerate(images):
        grid[index].imshow(image, interpolation="nearest")
        if titles:
            grid[index].set_title(_shorten(titles[index], 22), fontsize=8, pad=3, parse_math=False)
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches on an Agg canvas."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: str | Path) -> None:
    """Write a PNG, whole or not at all; letters that the font lacks become boxes, silently."""
    with whole_file(path, "wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="png", bbox_inches="tight", pad_inches=0.1)


def _curve(axes: Axes, rows: Sequence[Mapping[str, Any]], part: str, measure: str) -> None:
    """One line, marked epoch by epoch where there are few; nothing where no row has the measure."""
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
    """A bar as high as the matrix, at its right."""
    beside = axes.inset_axes((1.03, 0.0, 0.035, 1.0))
    bar = figure.colorbar(image, cax=beside, ticks=SHARE_TICKS, format=PercentFormatter(1.0, decimals=0))
    bar.outline.set_visible(False)
    bar.set_label("share of the true class")


def _confusion_title(counts: np.ndarray) -> str:
    right, total = int(np.trace(counts)), int(counts.sum())
    return f"{right:,} of {total:,} right ({right / max(total, 1):.1%})"


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    """The classes' names at both axes where there is room, else whole numbers."""
    if len(class_names) > NAMES_UP_TO:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return
    names = [_shorten(name, 24) for name in class_names]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.tick_params(length=0, labelsize=9 if len(names) <= COUNTS_UP_TO else 7)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """The counts that are not zero, white on dark cells."""
    for i, j in np.argwhere(counts):
        color = "white" if shares[i, j] > 0.35 else "#222222"
        axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=8, color=color)


def _shorten(text: str, length: int) -> str:
    """At most `length` letters; bytes of a file name that are no text become question marks, for no font draws them."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= length else text[: length - 1] + "…"
