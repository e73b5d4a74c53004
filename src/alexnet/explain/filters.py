"""The first layer's filters, as in the paper's figure 3, and the tower that each belongs to."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from alexnet.explain.look import convolutions
from alexnet.networks.layers import Network
from alexnet.plots.canvas import SMALL, WIDTH, filter_colors, mosaic, new_figure

COLUMNS = 16


def figure(network: Network) -> Figure:
    """The filters of the first convolution as colours, a block for each tower.

    Each filter is on its own scale: middle gray is 0, its largest weight of either sign is full brightness or black.
    The title says how much of a tower's energy is colour (`color_share`): in the network of 2012 one tower's filters
    came out largely without colour, the other's coloured (section 6.1 of the paper).
    """
    name, conv = convolutions(network)[0]
    weights = conv.weight.detach().float().cpu()
    blocks = weights.chunk(towers(network))
    rows = [-(-len(block) // COLUMNS) for block in blocks]
    drawn = new_figure(WIDTH, 1.0 + sum(0.58 * count + 0.45 for count in rows))
    first = 0
    for number, (axes, block) in enumerate(
        zip(drawn.subplots(len(blocks), 1, squeeze=False, height_ratios=rows).ravel(), blocks, strict=True), 1
    ):
        _draw(axes, block, first)
        whose = f"tower {number}" if len(blocks) > 1 else "one tower"
        axes.set_title(
            f"{whose}: filters {first} to {first + len(block) - 1}; colour is {_percent(block)}", fontsize=10
        )
        first += len(block)
    size = " x ".join(map(str, weights.shape[2:]))
    drawn.suptitle(f"{name}: {len(weights)} filters of {size} pixels", fontsize=12)
    drawn.supxlabel(
        "each filter on its own scale, middle gray is 0; its number is that of its row plus its column", fontsize=9
    )
    return drawn


def towers(network: Network) -> int:
    """In how many towers the first layer's maps go: the groups of the second convolution, 1 where there are none.

    Tower t of T is the t-th of T equal blocks of filters, which the t-th group of the second convolution sees.
    """
    found = convolutions(network)
    return int(found[1][1].groups) if len(found) > 1 else 1


def color_share(weights: Tensor) -> float:
    """The share, 0..1, of the filters' energy that is colour: what a gray filter of their means over RGB lacks.

    weights: (C, 3, h, w). 0 for filters that weigh red, green and blue alike.
    """
    energy = weights.square().sum()
    colored = (weights - weights.mean(1, keepdim=True)).square().sum()
    return float(colored / energy) if energy > 0 else 0.0


def _percent(block: Tensor) -> str:
    return f"{color_share(block):.0%} of their energy"


def _draw(axes: Axes, block: Tensor, first: int) -> None:
    """A mosaic with the filters' numbers at its edges."""
    side = block.shape[2] + 1
    axes.imshow(mosaic(filter_colors(block), COLUMNS), interpolation="nearest")
    rows = -(-len(block) // COLUMNS)
    columns = min(COLUMNS, len(block))
    middle = (side - 2) / 2
    axes.set_xticks([middle + side * column for column in range(columns)], [f"+{n}" for n in range(columns)])
    axes.set_yticks([middle + side * row for row in range(rows)], [str(first + COLUMNS * row) for row in range(rows)])
    axes.tick_params(length=0, labelsize=SMALL)
    axes.spines[:].set_visible(False)
