"""The bytes that a process sends in a training step, by the shapes alone: what `Together.sent` counts.

Exchanges go round a ring, which sends least: of K processes each sends K - 1 times its share of what is gathered or of
what is summed into shares, and twice that of what all sum for all.
"""

from collections import Counter

import torch
from torch import nn

from alexnet.device import computed_parameters
from alexnet.networks.layers import Network
from alexnet.training.splitting import goes_back, split_layers


def sent(network: Network, ranks: int, scheme: str, images: int, dtype: torch.dtype) -> Counter[str]:
    """Bytes by purpose ("gradients", "weights", "norm", "activations") that each of `ranks` processes sends a step.

    scheme: "data" or "owt". images: of one process, a batch over `ranks`. dtype: in which convolutions and dense layers
    compute, and activations are held; other parameters stay in their own type. For rules that cut tensors anywhere; for
    Muon's it is the mean over the processes but for the padding of the last share.
    """
    split = split_layers(network, ranks) if scheme == "owt" else {}
    found = Counter[str]()
    for purpose in ("gradients", "weights"):
        found[purpose] = _weights(network, split, ranks, dtype)
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Linear) and path in split:
            found["activations"] += _dense(network, split, path, ranks, images) * dtype.itemsize
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and path not in split:
            found["norm"] += 2 * layer.num_features * layer.weight.itemsize * (ranks - 1)  # means and variances
            found["norm"] += 4 * layer.num_features * layer.weight.itemsize * (ranks - 1) // ranks  # two sums
    return found


def _weights(network: Network, split: dict[str, str], ranks: int, dtype: torch.dtype) -> int:
    """Of the gradients that are summed into shares; the same of the weights that are gathered."""
    computed = {id(each) for each in computed_parameters(network).values()}
    own = {id(each) for path in split for each in network.get_submodule(path).parameters(recurse=False)}
    total = 0
    for converted in (True, False):
        trained = [each for each in network.parameters() if each.requires_grad and id(each) not in own]
        members = [each for each in trained if (id(each) in computed) == converted]
        width = dtype.itemsize if converted else max((each.itemsize for each in members), default=0)
        total += (ranks - 1) * width * -(-sum(each.numel() for each in members) // ranks)
    return total


def _dense(network: Network, split: dict[str, str], path: str, ranks: int, images: int) -> int:
    """Values of a split dense layer: its input is gathered and its gradient scattered; its output may go back."""
    layer = network.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    gathered = 2 * (ranks - 1) * images * layer.in_features
    returned = 2 * (ranks - 1) * images * layer.out_features // ranks
    return gathered + (returned if goes_back(network, split, path) else 0)
