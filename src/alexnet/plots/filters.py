"""First-layer filters as RGB tiles, one block for each tower."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from alexnet.plots.canvas import SMALL, WIDTH, filter_colors, mosaic, new_figure

COLUMNS = 16


def towers_figure(blocks: Sequence[Tensor], color_shares: Sequence[float], layer: str) -> Figure:
    """blocks: the filters of each tower, float32 (C, 3, h, w). color_shares: each tower's fraction of energy in colour,
    0..1. layer: the convolution's name.
    """
    rows = [-(-len(block) // COLUMNS) for block in blocks]
    figure = new_figure(WIDTH, 1.0 + sum(0.58 * count + 0.45 for count in rows))
    grid = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=rows).ravel()
    first = 0
    for number, (axes, block, share) in enumerate(zip(grid, blocks, color_shares, strict=True), 1):
        _draw_block(axes, block, first)
        tower = f"tower {number}" if len(blocks) > 1 else "one tower"
        last = first + len(block) - 1
        axes.set_title(f"{tower}: filters {first} to {last}; {share:.0%} of their energy is colour", fontsize=10)
        first += len(block)
    size = " x ".join(map(str, blocks[0].shape[2:]))
    figure.suptitle(f"{layer}: {first} filters of {size} pixels", fontsize=12)
    figure.supxlabel("each filter on its own scale, middle gray is 0; filter number = row label + column", fontsize=9)
    return figure


def _draw_block(axes: Axes, block: Tensor, first: int) -> None:
    """A mosaic whose tick labels give the filters' numbers."""
    axes.imshow(mosaic(filter_colors(block), COLUMNS), interpolation="nearest")
    pitch = block.shape[2] + 1
    centre = (pitch - 2) / 2
    rows, columns = -(-len(block) // COLUMNS), min(COLUMNS, len(block))
    axes.set_xticks([centre + pitch * column for column in range(columns)], [f"+{n}" for n in range(columns)])
    axes.set_yticks([centre + pitch * row for row in range(rows)], [str(first + COLUMNS * row) for row in range(rows)])
    axes.tick_params(length=0, labelsize=SMALL)
    axes.spines[:].set_visible(False)
