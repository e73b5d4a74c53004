"""What every layer gives for one image: its maps, row under row."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor, nn

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.explain.look import maps_of, shown, view
from alexnet.networks.layers import Enlarge, Network
from alexnet.plots.canvas import SMALL, WIDTH, new_figure, show

COLUMNS = 10  # maps shown of each layer
PITCH = 1.06  # from one map to the next, in sides of a map
_WIDE = (COLUMNS - 1) * PITCH + 1
SIGNED, POSITIVE = "PuOr_r", "viridis"  # both can be told apart with any kind of colour vision


def figure(network: Network, preprocessing: Preprocessing, image: Pixels) -> Figure:
    """The maps of every layer that changes something, for one image in stored form, uint8 (S, S, 3).

    Of each block (a convolution and what follows up to the next one) the ten strongest maps are shown, the same in
    every row of the block, in the order of their numbers; a dense layer is shown whole. Each row has a scale of its
    own, which stands beside it.
    """
    _, maps = maps_of(network, view(network, preprocessing, [image]))
    rows = list(_rows(network, {name: each[0].float().cpu() for name, each in maps.items()}))
    drawn = new_figure(WIDTH, 2.4 + sum(_height(values) for _, values, _, _ in rows))
    grid = drawn.add_gridspec(len(rows) + 2, 1, height_ratios=[1.7, *(_height(row[1]) for row in rows), 0.25])
    show(drawn.add_subplot(grid[0]), shown(preprocessing, [image])[0], "what the network sees", 10)
    for place, (name, values, channels, new) in enumerate(rows, 1):
        axes = drawn.add_subplot(grid[place])
        seen = values[list(channels)] if values.ndim == 3 else values
        if values.ndim == 3:
            _draw_maps(axes, seen, channels if new else [])
        else:
            _draw_values(axes, values)
        _label(axes, name, values, seen)
    _scales(drawn, drawn.add_subplot(grid[-1]))
    return drawn


def strongest(maps: Tensor, count: int = COLUMNS) -> list[int]:
    """The numbers, ascending, of the `count` maps of (C, H, W) with the largest mean of absolute values."""
    means = maps.abs().mean((1, 2))
    return sorted(means.topk(min(count, len(means))).indices.tolist())


def _rows(network: Network, maps: dict[str, Tensor]) -> Iterator[tuple[str, Tensor, Sequence[int], bool]]:
    """Name, values, channels, and whether their numbers are to be written, for each layer that is shown."""
    for block in _blocks(network, maps):
        last = maps[block[-1]]
        chosen = strongest(last) if _are_maps(last) else []
        for name in block:
            values = maps[name] if _are_maps(maps[name]) else maps[name].flatten()
            yield name, values, chosen, name == block[0]


def _blocks(network: Network, maps: dict[str, Tensor]) -> Iterator[list[str]]:
    """The layers that change something, in blocks of as many maps that begin with a convolution or a dense layer."""
    block: list[str] = []
    before = torch.empty(0)
    for name, stage in network.stages():
        values = maps[name]
        if isinstance(stage, nn.Flatten | nn.ZeroPad2d | Enlarge) or torch.equal(values.flatten(), before.flatten()):
            continue
        other = (len(values), _are_maps(values)) != (len(before), _are_maps(before))
        if block and (other or isinstance(stage, nn.Conv2d | nn.Linear)):
            yield block
            block = []
        block.append(name)
        before = values
    yield block


def _are_maps(values: Tensor) -> bool:
    """Whether there is more than one place."""
    return values.ndim == 3 and values.shape[1:] != (1, 1)


def _height(values: Tensor) -> float:
    """Inches of a row."""
    return 0.92 if values.ndim == 3 else 0.5


def _draw_maps(axes: Axes, maps: Tensor, numbers: Sequence[int]) -> None:
    """Maps side by side, all of one size whatever their number of places, with what numbers are given."""
    for index, values in enumerate(maps):
        extent = (index * PITCH, index * PITCH + 1, 1, 0)
        axes.imshow(values.numpy(), interpolation="nearest", extent=extent, **_colors(maps))
    axes.xaxis.tick_top()
    ticks = [index * PITCH + 0.5 for index in range(len(numbers))]
    axes.set_xticks(ticks, [f"map {number}" for number in numbers])
    axes.tick_params(length=0, labelsize=SMALL, pad=1)
    _frame(axes, 1.0)


def _draw_values(axes: Axes, values: Tensor) -> None:
    """All values of a dense layer, line after line as in a text."""
    count = len(values)
    across = count if count <= 64 else 32 if count <= 256 else 128 if count <= 1024 else 512
    lines = -(-count // across)
    padded = np.full(lines * across, np.nan, np.float32)
    padded[:count] = values.numpy()
    extent = (0, _WIDE, 0.45, 0)
    axes.imshow(padded.reshape(lines, across), interpolation="nearest", extent=extent, **_colors(values))
    axes.set_xticks([])
    _frame(axes, 0.45)


def _frame(axes: Axes, height: float) -> None:
    """All rows begin and end at the same places."""
    axes.set(xlim=(0, _WIDE), ylim=(height, 0), yticks=[])


def _colors(values: Tensor) -> dict[str, Any]:
    """The colours and their range for what is shown of a layer: around zero if any is negative, else from zero."""
    largest = float(values.abs().max()) or 1.0
    if bool((values < 0).any()):
        return {"cmap": SIGNED, "vmin": -largest, "vmax": largest}
    return {"cmap": POSITIVE, "vmin": 0, "vmax": largest}


def _label(axes: Axes, name: str, values: Tensor, seen: Tensor) -> None:
    """Beside a row: the layer's name, its size and the scale of what is shown of it."""
    size = " × ".join(map(str, values.shape))
    largest = float(seen.abs().max())
    scale = f"±{largest:.3g}" if bool((seen < 0).any()) else f"0 … {largest:.3g}"
    axes.set_ylabel(f"{name}\n{size}\n{scale}", rotation=0, ha="right", va="center", fontsize=SMALL, labelpad=6)
    axes.spines[:].set_visible(False)


def _scales(drawn: Figure, axes: Axes) -> None:
    """The two scales of colour."""
    axes.set_axis_off()
    for left, colors, low, ticks in (
        (0.05, SIGNED, -1, ["− the row's largest", "0", "+ the row's largest"]),
        (0.6, POSITIVE, 0, ["0", "", "the row's largest"]),
    ):
        bar = axes.inset_axes((left, 0.3, 0.35, 0.7))
        mappable = ScalarMappable(Normalize(low, 1), colors)
        drawn.colorbar(mappable, cax=bar, orientation="horizontal", ticks=[low, (low + 1) / 2, 1])
        bar.set_xticklabels(ticks, fontsize=SMALL)
