"""The filters of the first convolution (the paper's figure 3), and the tower that each belongs to."""

from matplotlib.figure import Figure
from torch import Tensor

from alexnet.explain.activations import convolutions
from alexnet.networks.layers import Network
from alexnet.plots import filters as plot


def figure(network: Network) -> Figure:
    """The filters of the first convolution as RGB tiles, one block for each tower.

    Each filter has its own scale: middle gray is 0, its largest absolute weight is full brightness or black. The
    titles give each tower's `color_share`: in the network of 2012 one tower learned filters that are largely
    color-agnostic, the other color-specific ones (section 6.1 of the paper).
    """
    name, conv = convolutions(network)[0]
    weights = conv.weight.detach().float().cpu()
    blocks = weights.chunk(towers(network))
    return plot.towers_figure(blocks, [color_share(block) for block in blocks], name)


def towers(network: Network) -> int:
    """The number of towers: the groups of the second convolution, 1 for a network with a single convolution.

    Tower t of T is the t-th of T equal blocks of filters, the inputs of the second convolution's t-th group.
    """
    found = convolutions(network)
    return int(found[1][1].groups) if len(found) > 1 else 1


def color_share(weights: Tensor) -> float:
    """The fraction of the filters' energy in colour: sum (w - mean of w over RGB)^2 / sum w^2, in 0..1.

    weights: (C, 3, h, w). 0 for filters with equal weights for red, green and blue.
    """
    energy = weights.square().sum()
    colored = (weights - weights.mean(1, keepdim=True)).square().sum()
    return float(colored / energy) if energy > 0 else 0.0
