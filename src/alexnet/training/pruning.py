"""Weights set to zero for good: the smallest of each layer, before the first step (Han, Pool, Tran and Dally 2015).

What is zero stays zero, by the weights alone, so that a resumed run needs no mask of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from alexnet.networks.layers import LocallyConnected2d, Network

DENSE, CONVOLUTION, FIRST, LAST = 1.0, 0.7, 0.2, 0.85
"""Factors on the share that is pruned, by kind of layer and for the first and the last. They are those of AlexNet in
"Learning both Weights and Connections", arXiv 1506.02626, table 4: of 91 % of the weights of fc6 and fc7, conv1 lost
16 %, other convolutions 62 to 65 %, and fc8 75 %."""


def weighted(network: Network) -> dict[str, nn.Module]:
    """The layers with weights, by path, in the order of computation."""
    paths = {id(module): path for path, module in network.named_modules()}
    parts = (part for _, stage in network.stages() for part in stage.modules())
    return {paths[id(part)]: part for part in parts if isinstance(part, nn.Conv2d | nn.Linear | LocallyConnected2d)}


def shares(network: Network, share: float) -> dict[str, float]:
    """What part of each layer's weights is pruned where dense layers lose `share`, 0 <= share < 1."""
    layers = weighted(network)
    factors = {path: DENSE if isinstance(layer, nn.Linear) else CONVOLUTION for path, layer in layers.items()}
    first, last = next(iter(layers)), list(layers)[-1]
    return {path: share * factor for path, factor in {**factors, first: FIRST, last: LAST}.items()}


@torch.no_grad()
def prune(network: Network, share: float) -> None:
    """Set the smallest weights of each layer to zero, as many as `shares` tells."""
    layers = weighted(network)
    for path, part in shares(network, share).items():
        weight = layers[path].weight
        assert isinstance(weight, Tensor)
        count = int(part * weight.numel())
        if count:
            bound = weight.abs().flatten().kthvalue(count).values
            weight.masked_fill_(weight.abs() <= bound, 0)


def prunable(network: Network) -> list[Tensor]:
    """The weights that `prune` prunes."""
    return [weight for layer in weighted(network).values() if isinstance(weight := layer.weight, Tensor)]


@contextmanager
def zeros_kept(network: Network | None, average: Network | None, copies: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Around an optimizer's step: weights of exactly 0 take no part in it and are 0 after it.

    So are their copies, and their moving average where the step moves that too. network: None keeps nothing.
    """
    weights = [] if network is None else prunable(network)
    averages = prunable(average) if weights and average is not None else [None] * len(weights)
    zeros = [weight == 0 for weight in weights]
    for weight, zero in zip(weights, zeros, strict=True):
        if weight.grad is not None:
            weight.grad.masked_fill_(zero, 0)
    yield
    with torch.no_grad():
        for weight, mean, zero in zip(weights, averages, zeros, strict=True):
            for tensor in (weight, copies.get(weight), mean):
                if tensor is not None:
                    tensor.masked_fill_(zero, 0)
