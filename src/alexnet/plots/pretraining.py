"""Figures of pre-training: filters by epoch, reconstructions beside originals, errors by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from alexnet.plots.canvas import BLUE, GRAY, VERMILION, filter_colors, mosaic, new_figure, save, unnormalized

FILTERS = 20  # shown: those with the most energy after the last epoch
WHITENED = "\nborders are flat: each filter is a smaller learned one convolved with the whitening of the images"
HELD_OUT, TRAINING, CONSTANT = BLUE, GRAY, VERMILION


def filters(grown: Mapping[int, Tensor], title: str, path: str | Path, whitened: bool = False) -> None:
    """`filters_figure` as PNG."""
    save(filters_figure(grown, title, whitened), path)


def filters_figure(grown: Mapping[int, Tensor], title: str, whitened: bool = False) -> Figure:
    """The first layer's filters, a row for each of some epochs.

    grown: epoch -> weights (K, 3, h, w). Each filter has its own scale: middle gray is 0, its largest absolute weight
    is full brightness or black. whitened: whether filters from epoch 1 on include the whitening filter, which makes
    their borders flat.
    """
    epochs = sorted(grown)
    energy = grown[epochs[-1]].square().sum((1, 2, 3))
    best = energy.argsort(descending=True)[:FILTERS].tolist()
    figure = new_figure(10, 0.9 + 0.15 * whitened + 0.52 * len(epochs))
    for row, epoch in zip(figure.subplots(len(epochs), 1, squeeze=False)[:, 0], epochs, strict=True):
        row.imshow(mosaic(filter_colors(grown[epoch][best]), len(best)), interpolation="nearest")
        row.set(xticks=[], yticks=[])
        row.set_ylabel(f"{epoch}", rotation=0, ha="right", va="center", fontsize=9)
        row.spines[:].set_visible(False)
    figure.suptitle(f"{title}: {len(best)} of {len(energy)} filters by epoch", fontsize=11)
    figure.supylabel("epochs", fontsize=9)
    figure.supxlabel("one column per filter, each on its own scale; middle gray is 0" + WHITENED * whitened, fontsize=9)
    return figure


def rebuilt(rows: Mapping[str, Tensor], mean: Sequence[float], std: Sequence[float], path: str | Path) -> None:
    """Images and their reconstructions, one column for each image, as PNG.

    rows: title -> (N, 3, H, W), normalised by `mean` and `std` (RGB, 0..255). Whitened images have no brightness and
    appear around the mean colour.
    """
    figure = new_figure(10, 0.5 + 1.35 * len(rows))
    count = len(next(iter(rows.values())))
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (title, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, unnormalized(images, mean, std), strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(title, fontsize=9, wrap=True)
    figure.suptitle("held-out images and their reconstructions by the first layer", fontsize=11)
    save(figure, path)


def errors(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Reconstruction error by epoch, a plot for each layer, as PNG; 1 is the error of a constant prediction.

    rows: as in metrics.csv: "layer", "layer_epoch", "train_loss", "error", "constant_error".
    """
    names = list(dict.fromkeys(row["layer"] for row in rows))
    if not names:
        return
    figure = new_figure(max(4.5, min(12, 2.6 * len(names))), 3.2)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _errors_of(axes, [row for row in rows if row["layer"] == name])
        axes.set_title(name, fontsize=10)
        axes.set_ylim(bottom=0)
    first = figure.axes[0]
    first.set_ylabel("squared error relative to\na constant prediction", fontsize=9)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save(figure, path)


def _errors_of(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    epochs = [row["layer_epoch"] for row in rows]
    for key, color, label in (("train_loss", TRAINING, "training images"), ("error", HELD_OUT, "held-out images")):
        shares = [row[key] / max(row["constant_error"], 1e-12) for row in rows]
        axes.plot(epochs, shares, color=color, marker="o", markersize=3, linewidth=1.6, label=label)
    axes.axhline(1, color=CONSTANT, linestyle="--", linewidth=1.2, label="constant prediction")
    axes.set_xlabel("epoch", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
