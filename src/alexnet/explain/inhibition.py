"""Local response normalisation before and after: how much units that answer at the same place take from each other.

    after = before / (k + alpha' * sum of squares over the window) ** beta         (`alexnet.ops.lrn`)

A unit that answers alone is divided too, by its own square and by k. What its neighbours take is the rest:

    taken = 1 - ((k + alpha' * sum of squares) / (k + alpha' * own square)) ** -beta
"""

from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError
from alexnet.explain.activations import centre_views, layers_of, view_pixels
from alexnet.networks.layers import Network, evaluating
from alexnet.ops import LocalResponseNorm
from alexnet.plots.canvas import BLUE, GRAY, SMALL, VERMILION, WIDTH, new_figure, show


def figure(network: Network, preprocessing: Preprocessing, image: Pixels) -> Figure:
    """The first normalisation between channels at work on one image in stored form, uint8 (S, S, 3).

    Above, the strongest unit's map before and after, and what its neighbours take from it; below, all units at the
    place where it answers most. "After" is shown times k ** beta, so that only inhibition lowers it. UsageError for a
    network without such a layer.
    """
    name, norm = normalization(network)
    before = values_before(network, norm, centre_views(network, preprocessing, [image]))
    after = norm(before)[0].float().cpu() * norm.k**norm.beta
    before = before[0].float().cpu()
    taken = taken_by_neighbours(before, norm)
    unit, row, column = (int(each) for each in torch.unravel_index(before.abs().argmax(), before.shape))

    drawn = new_figure(WIDTH, 7.6)
    grid = drawn.add_gridspec(3, 4, height_ratios=[1.5, 1, 0.8])
    seen = drawn.add_subplot(grid[0, 0])
    show(seen, view_pixels(preprocessing, [image])[0], "what the network sees", 10)
    beside = drawn.colorbar(seen.images[0], ax=seen, orientation="horizontal", fraction=0.06, pad=0.02)
    beside.ax.set_visible(False)  # it only keeps the image as large as the maps at its right
    largest = float(before[unit].abs().max())
    low = -largest if bool((before[unit] < 0).any()) else 0.0
    for place, (title, values) in enumerate((("before", before[unit]), ("after", after[unit])), 1):
        colors: dict[str, Any] = {"cmap": "PuOr_r" if low else "viridis", "vmin": low, "vmax": largest}
        _map(drawn, drawn.add_subplot(grid[0, place]), values, f"map {unit} {title} {name}", (row, column), **colors)
    axes = drawn.add_subplot(grid[0, 3])
    _map(drawn, axes, 100 * taken[unit], "taken by its neighbours (%)", (row, column), cmap="viridis", vmin=0)
    _profile(drawn.add_subplot(grid[1, :]), before[:, row, column], after[:, row, column], norm)
    _shares(drawn.add_subplot(grid[2, :]), taken[:, row, column], norm)
    drawn.suptitle(
        f"{name}: {norm.size} neighbouring maps inhibit each other; below, all {len(before)} units at row {row}, "
        f"column {column} (the cross)",
        fontsize=11,
    )
    return drawn


def first_normalization(network: Network) -> tuple[str, LocalResponseNorm] | None:
    """The first normalisation between channels and the name of its stage; None for a network without one."""
    for name, stage in network.stages():
        for layer in layers_of(stage):
            if isinstance(layer, LocalResponseNorm) and not layer.within_channel:
                return name, layer
    return None


def normalization(network: Network) -> tuple[str, LocalResponseNorm]:
    """`first_normalization`; UsageError, with what to do, for a network without one."""
    if found := first_normalization(network):
        return found
    raise UsageError(
        f"network {network.name!r} has no local response normalisation between channels; "
        "to see it at work take a model of krizhevsky2012, paper, bvlc or caffenet"
    )


def values_before(network: Network, layer: nn.Module, batch: Tensor) -> Tensor:
    """The input of one of the network's layers, (N, C, H, W) for a batch (N, 3, S, S), in evaluation mode."""
    x = batch
    with evaluating(network), torch.no_grad():
        for each in (each for _, stage in network.stages() for each in layers_of(stage)):
            if each is layer:
                break
            x = each(x)
    return x


def taken_by_neighbours(before: Tensor, norm: LocalResponseNorm) -> Tensor:
    """The share of each value that the other units in its window take away: (C, H, W) -> 0..1, 0 where it is 0."""
    own = before.square()
    lines = own.view(norm.groups, -1, *before.shape[1:])
    padded = F.pad(lines, (0, 0, 0, 0, norm.size // 2, (norm.size - 1) // 2))
    window = padded.unfold(1, norm.size, 1).sum(-1).view_as(before)
    taken = 1 - ((norm.k + norm.alpha_per_square * window) / (norm.k + norm.alpha_per_square * own)) ** -norm.beta
    return torch.where(before == 0, 0.0, taken)


def _map(drawn: Figure, axes: Axes, values: Tensor, title: str, place: tuple[int, int], **colors: Any) -> None:
    """One map with its scale below and a cross at a place."""
    image = axes.imshow(values.numpy(), interpolation="nearest", **colors)
    axes.plot(place[1], place[0], "+", color="white", markersize=13, markeredgewidth=3)
    axes.plot(place[1], place[0], "+", color=VERMILION, markersize=11, markeredgewidth=1.4)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    bar = drawn.colorbar(image, ax=axes, orientation="horizontal", fraction=0.06, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)


def _profile(axes: Axes, before: Tensor, after: Tensor, norm: LocalResponseNorm) -> None:
    units = range(len(before))
    axes.bar(units, before.tolist(), width=0.9, color="#c9c9c9", label="before")
    scaled = f"after, times k^β = {norm.k**norm.beta:.3g}" if norm.k != 1 else "after"
    axes.bar(units, after.tolist(), width=0.5, color=BLUE, label=scaled)
    axes.set_ylabel("activation")
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    _finish(axes, len(before), norm)
    axes.set_ylim(top=1.25 * max(float(before.max()), 1e-6))  # room for the legend


def _shares(axes: Axes, taken: Tensor, norm: LocalResponseNorm) -> None:
    axes.bar(range(len(taken)), (100 * taken).tolist(), width=0.9, color=VERMILION)
    axes.set(ylabel="taken by\nneighbours (%)", xlabel="unit (number of its map)")
    _finish(axes, len(taken), norm)


def _finish(axes: Axes, count: int, norm: LocalResponseNorm) -> None:
    """The same units on both axes; a line where one tower ends, which no inhibition crosses."""
    axes.set_xlim(-1, count)
    for tower in range(1, norm.groups):
        axes.axvline(tower * count / norm.groups - 0.5, color=GRAY, linestyle="dashed", linewidth=1)
    axes.spines[["top", "right"]].set_visible(False)
