"""The outputs of a network's layers for one image, one row for each layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.plots.canvas import SMALL, WIDTH, new_figure, show

COLUMNS = 10  # maps in a row
PITCH = 1.06  # distance from one map to the next, in sides of a map
_ROW_WIDTH = (COLUMNS - 1) * PITCH + 1
SIGNED, POSITIVE = "PuOr_r", "viridis"  # colour maps for any kind of colour vision


@dataclass(frozen=True)
class LayerRow:
    """What is drawn of one layer."""

    name: str
    shape: tuple[int, ...]  # of the whole output, (C, H, W) or (C,)
    values: Tensor  # float32: at most COLUMNS maps (c, H, W), or a dense layer's output (C,)
    numbers: Sequence[int]  # map numbers to write above; empty for none


def layer_outputs_figure(view: Pixels, rows: Sequence[LayerRow]) -> Figure:
    """view: the network's input as pixels, uint8 (S, S, 3), drawn above the rows."""
    figure = new_figure(WIDTH, 2.4 + sum(_height(row) for row in rows))
    grid = figure.add_gridspec(len(rows) + 2, 1, height_ratios=[1.7, *map(_height, rows), 0.25])
    show(figure.add_subplot(grid[0]), view, "network input", 10)
    for place, row in enumerate(rows, 1):
        axes = figure.add_subplot(grid[place])
        if row.values.ndim == 3:
            _draw_maps(axes, row.values, row.numbers)
        else:
            _draw_vector(axes, row.values)
        _label(axes, row)
    _draw_scales(figure, figure.add_subplot(grid[-1]))
    return figure


def _height(row: LayerRow) -> float:
    """Inches."""
    return 0.92 if row.values.ndim == 3 else 0.5


def _draw_maps(axes: Axes, maps: Tensor, numbers: Sequence[int]) -> None:
    """Maps side by side, drawn at the same size whatever their resolution."""
    for index, values in enumerate(maps):
        extent = (index * PITCH, index * PITCH + 1, 1, 0)
        axes.imshow(values.numpy(), interpolation="nearest", extent=extent, **_colors(maps))
    axes.xaxis.tick_top()
    ticks = [index * PITCH + 0.5 for index in range(len(numbers))]
    axes.set_xticks(ticks, [f"map {number}" for number in numbers])
    axes.tick_params(length=0, labelsize=SMALL, pad=1)
    _frame(axes, 1.0)


def _draw_vector(axes: Axes, values: Tensor) -> None:
    """All values in rows from left to right."""
    count = len(values)
    across = count if count <= 64 else 32 if count <= 256 else 128 if count <= 1024 else 512
    lines = -(-count // across)
    padded = np.full(lines * across, np.nan, np.float32)
    padded[:count] = values.numpy()
    extent = (0, _ROW_WIDTH, 0.45, 0)
    axes.imshow(padded.reshape(lines, across), interpolation="nearest", extent=extent, **_colors(values))
    axes.set_xticks([])
    _frame(axes, 0.45)


def _frame(axes: Axes, height: float) -> None:
    """Align the rows at both ends."""
    axes.set(xlim=(0, _ROW_WIDTH), ylim=(height, 0), yticks=[])


def _colors(values: Tensor) -> dict[str, Any]:
    """Colour map and limits: symmetric about zero if any value is negative, else from zero."""
    largest = float(values.abs().max()) or 1.0
    if bool((values < 0).any()):
        return {"cmap": SIGNED, "vmin": -largest, "vmax": largest}
    return {"cmap": POSITIVE, "vmin": 0, "vmax": largest}


def _label(axes: Axes, row: LayerRow) -> None:
    """Name, shape and scale at the left of a row."""
    size = " × ".join(map(str, row.shape))
    largest = float(row.values.abs().max())
    scale = f"±{largest:.3g}" if bool((row.values < 0).any()) else f"0 … {largest:.3g}"
    axes.set_ylabel(f"{row.name}\n{size}\n{scale}", rotation=0, ha="right", va="center", fontsize=SMALL, labelpad=6)
    axes.spines[:].set_visible(False)


def _draw_scales(figure: Figure, axes: Axes) -> None:
    """The colour bars of signed and of non-negative rows."""
    axes.set_axis_off()
    for left, colors, low, ticks in (
        (0.05, SIGNED, -1, ["− the row's maximum", "0", "+ the row's maximum"]),
        (0.6, POSITIVE, 0, ["0", "", "the row's maximum"]),
    ):
        bar = axes.inset_axes((left, 0.3, 0.35, 0.7))
        mappable = ScalarMappable(Normalize(low, 1), colors)
        figure.colorbar(mappable, cax=bar, orientation="horizontal", ticks=[low, (low + 1) / 2, 1])
        bar.set_xticklabels(ticks, fontsize=SMALL)
