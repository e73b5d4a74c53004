"""Local response normalisation before and after: how much activations at one position reduce each other.

    after = before / (k + alpha' * sum of squares over the window) ** beta         (`alexnet.ops.lrn`)

A unit without active neighbours is divided too, by its own square and k. The reduction by the neighbours is the rest:

    reduction = 1 - ((k + alpha' * sum of squares) / (k + alpha' * own square)) ** -beta
"""

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError
from alexnet.explain.activations import centre_views, layers_of, view_pixels
from alexnet.networks.layers import Network, evaluating
from alexnet.ops import LocalResponseNorm
from alexnet.plots.inhibition import Inhibition, inhibition_figure


def figure(network: Network, preprocessing: Preprocessing, image: Pixels) -> Figure:
    """The effect of the first normalisation between channels on one image in stored form, uint8 (S, S, 3).

    "After" is shown times k ** beta, so that only inhibition lowers it. UsageError for a network without such a layer.
    """
    name, norm = normalization(network)
    before = values_before(network, norm, centre_views(network, preprocessing, [image]))
    scale = norm.k**norm.beta
    after = norm(before)[0].float().cpu() * scale
    before = before[0].float().cpu()
    reduction = reduction_by_neighbours(before, norm)
    shown = Inhibition(name, before, after, reduction, scale, norm.size, norm.groups)
    return inhibition_figure(view_pixels(preprocessing, [image])[0], shown)


def first_normalization(network: Network) -> tuple[str, LocalResponseNorm] | None:
    """The first normalisation between channels and the name of its stage; None for a network without one."""
    for name, stage in network.stages():
        for layer in layers_of(stage):
            if isinstance(layer, LocalResponseNorm) and not layer.within_channel:
                return name, layer
    return None


def normalization(network: Network) -> tuple[str, LocalResponseNorm]:
    """`first_normalization`; UsageError for a network without one."""
    if found := first_normalization(network):
        return found
    raise UsageError(
        f"network {network.name!r} has no local response normalisation between channels; "
        "give a model of krizhevsky2012, paper, bvlc or caffenet"
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


def reduction_by_neighbours(before: Tensor, norm: LocalResponseNorm) -> Tensor:
    """The fraction of each value removed by the other units in its window: (C, H, W) -> 0..1, 0 where it is 0."""
    alpha = norm.alpha / norm.size if norm.alpha_over_size else norm.alpha
    own = before.square()
    lines = own.view(norm.groups, -1, *before.shape[1:])
    padded = F.pad(lines, (0, 0, 0, 0, norm.size // 2, (norm.size - 1) // 2))
    window = padded.unfold(1, norm.size, 1).sum(-1).view_as(before)
    reduction = 1 - ((norm.k + alpha * window) / (norm.k + alpha * own)) ** -norm.beta
    return torch.where(before == 0, 0.0, reduction)
