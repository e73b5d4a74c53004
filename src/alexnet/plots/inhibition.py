"""Local response normalisation at work on one image."""

from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.plots.canvas import BLUE, GRAY, SMALL, VERMILION, WIDTH, new_figure, show


@dataclass(frozen=True)
class Inhibition:
    """Activations before and after a normalisation between channels; float32 (C, H, W) on the CPU."""

    layer: str
    before: Tensor
    after: Tensor  # times `scale`
    reduction: Tensor  # by the other units, 0..1
    scale: float  # k ** beta
    size: int  # maps in a window
    groups: int  # towers, between which there is no inhibition


def inhibition_figure(view: Pixels, shown: Inhibition) -> Figure:
    """Above, the strongest unit's map before, after and its reduction; below, all units at that unit's peak.

    view: the network's input as pixels, uint8 (S, S, 3).
    """
    before = shown.before
    unit, row, column = (int(each) for each in torch.unravel_index(before.abs().argmax(), before.shape))
    figure = new_figure(WIDTH, 7.6)
    grid = figure.add_gridspec(3, 4, height_ratios=[1.5, 1, 0.8])
    axes = figure.add_subplot(grid[0, 0])
    show(axes, view, "network input", 10)
    spacer = figure.colorbar(axes.images[0], ax=axes, orientation="horizontal", fraction=0.06, pad=0.02)
    spacer.ax.set_visible(False)  # makes the image as large as the maps beside it
    largest = float(before[unit].abs().max())
    low = -largest if bool((before[unit] < 0).any()) else 0.0
    for place, (title, values) in enumerate((("before", before[unit]), ("after", shown.after[unit])), 1):
        colors: dict[str, Any] = {"cmap": "PuOr_r" if low else "viridis", "vmin": low, "vmax": largest}
        title = f"map {unit} {title} {shown.layer}"
        _draw_map(figure, figure.add_subplot(grid[0, place]), values, title, (row, column), **colors)
    axes = figure.add_subplot(grid[0, 3])
    reduction = 100 * shown.reduction[unit]
    _draw_map(figure, axes, reduction, "reduction by neighbours (%)", (row, column), cmap="viridis", vmin=0)
    _draw_activations(figure.add_subplot(grid[1, :]), shown, row, column)
    _draw_reductions(figure.add_subplot(grid[2, :]), shown, row, column)
    figure.suptitle(
        f"{shown.layer}: inhibition among {shown.size} neighbouring maps; below, all {len(before)} units at row {row}, "
        f"column {column} (the cross)",
        fontsize=11,
    )
    return figure


def _draw_map(figure: Figure, axes: Axes, values: Tensor, title: str, place: tuple[int, int], **colors: Any) -> None:
    """One map with its colour bar below and a cross at `place`, (row, column)."""
    image = axes.imshow(values.numpy(), interpolation="nearest", **colors)
    axes.plot(place[1], place[0], "+", color="white", markersize=13, markeredgewidth=3)
    axes.plot(place[1], place[0], "+", color=VERMILION, markersize=11, markeredgewidth=1.4)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.06, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)


def _draw_activations(axes: Axes, shown: Inhibition, row: int, column: int) -> None:
    before, after = shown.before[:, row, column], shown.after[:, row, column]
    units = range(len(before))
    axes.bar(units, before.tolist(), width=0.9, color="#c9c9c9", label="before")
    scaled = f"after, times k^β = {shown.scale:.3g}" if shown.scale != 1 else "after"
    axes.bar(units, after.tolist(), width=0.5, color=BLUE, label=scaled)
    axes.set_ylabel("activation")
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    _align(axes, len(before), shown.groups)
    axes.set_ylim(top=1.25 * max(float(before.max()), 1e-6))  # room for the legend


def _draw_reductions(axes: Axes, shown: Inhibition, row: int, column: int) -> None:
    reduction = shown.reduction[:, row, column]
    axes.bar(range(len(reduction)), (100 * reduction).tolist(), width=0.9, color=VERMILION)
    axes.set(ylabel="reduction by\nneighbours (%)", xlabel="unit (number of its map)")
    _align(axes, len(reduction), shown.groups)


def _align(axes: Axes, count: int, groups: int) -> None:
    """The same limits for both plots, and a line between towers."""
    axes.set_xlim(-1, count)
    for tower in range(1, groups):
        axes.axvline(tower * count / groups - 0.5, color=GRAY, linestyle="dashed", linewidth=1)
    axes.spines[["top", "right"]].set_visible(False)
