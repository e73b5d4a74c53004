"""A whole network in codes, layer after layer, by what images give each layer as input. N images.

A layer's inputs are those that it gets from the layers before it in codes, so that it makes good their errors, too.
"""

import copy
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.compression import codebooks, rounding
from alexnet.networks.layers import LocallyConnected2d, Network
from alexnet.weights.coded import Coded

WEIGHTED = (nn.Conv2d, nn.Linear, LocallyConnected2d)
LEAST = 256  # weights of a layer that is worth a codebook
EDGE = 2  # more bits for the first and the last layer: they are few weights, and errors in them weigh most
MOST_BITS = 8
WIDEST = 4608  # inputs of a layer whose errors are made good: of more, their products take minutes and gigabytes
SAMPLES = 8  # times as many inputs are looked at as a layer is wide
PRUNED = 0.05  # a layer with so many weights of exactly 0 is pruned
BATCH = 64  # images at once
LOOKED_AT = 512  # images of training that show which errors matter

Progress = Callable[[int, int], None]
Floats = NDArray[np.float32]


class Shared(NamedTuple):
    """A network whose weights are shared."""

    network: Network  # computes with the values of the codes
    coded: dict[str, Coded]  # by names of the state dict


@torch.no_grad()
def shared(network: Network, bits: int, images: Tensor | None = None, progress: Progress | None = None) -> Shared:
    """Codes for every layer's weights: `bits` for all, up to EDGE more for the first and the last, 8 at most.

    images: float32 (N, 3, S, S), normalised, on the processor, whose inputs to each layer show which errors matter;
    None: every weight gets the nearest value. progress: called with (layers done, layers). The network is unchanged.
    """
    made = copy.deepcopy(network).cpu().eval()
    names = {id(module): name for name, module in made.named_modules()}
    layers = [module for module in _parts(made) if isinstance(module, WEIGHTED)]
    maps = [] if images is None else list(torch.split(images, BATCH))
    coded: dict[str, Coded] = {}
    for module in _parts(made):
        if isinstance(module, WEIGHTED) and module.weight.numel() >= LEAST:
            own = min(MOST_BITS, bits + EDGE) if module in (layers[0], layers[-1]) else bits
            found = _coded(module, own, maps)
            module.weight.copy_(torch.from_numpy(found.values()))
            coded[f"{names[id(module)]}.weight"] = found
        if progress and isinstance(module, WEIGHTED):
            progress(layers.index(module) + 1, len(layers))
        maps = [module(each) for each in maps]
    return Shared(made, coded)


def _parts(network: Network) -> Iterator[nn.Module]:
    """The layers in the order of computation."""
    for _, stage in network.stages():
        yield from stage if isinstance(stage, nn.Sequential) else [stage]


def _coded(layer: nn.Module, bits: int, maps: list[Tensor]) -> Coded:
    assert isinstance(layer.weight, Tensor)
    weight: Floats = layer.weight.detach().numpy()
    rows = np.ascontiguousarray(weight).reshape(len(weight), -1)
    pruned = float((rows == 0).mean()) >= PRUNED
    scales = codebooks.row_scales(rows)
    scaled = rows / scales[:, None]
    book = codebooks.find(scaled, bits, pruned)
    parts = zip(np.array_split(scaled, len(found := moments(layer, maps))), found, strict=True)
    codes = np.concatenate([rounding.codes(part, book, each) for part, each in parts])
    return Coded(codes, scales, book.values, weight.shape)


def moments(layer: nn.Module, maps: list[Tensor]) -> list[Floats | None]:
    """For each group of a layer's outputs the mean of x x^T over its inputs x, (L, L); None where that is not found."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    width = layer.weight[0].numel() if isinstance(layer, nn.Conv2d | nn.Linear) else WIDEST + 1
    if not maps or width > WIDEST:
        return [None] * groups
    sums, count = torch.zeros(groups, width, width), 0
    for each in maps:
        inputs = _inputs(layer, each, width, sum(map(len, maps)))
        sums += inputs @ inputs.mT
        count += inputs.shape[2]
    return [part.numpy() for part in sums / count]


def _inputs(layer: nn.Module, maps: Tensor, width: int, images: int) -> Tensor:
    """(groups, width, inputs): what each output is computed from, of convolutions at evenly spaced places."""
    if isinstance(layer, nn.Linear):
        return maps.T[None]
    assert isinstance(layer, nn.Conv2d)
    places = maps.shape[2] * maps.shape[3] / math.prod(layer.stride)
    every = max(1, int(math.sqrt(places * images / (SAMPLES * width))))
    stride = tuple(every * each for each in layer.stride)
    windows = F.unfold(maps, layer.kernel_size, layer.dilation, layer.padding, stride)  # type: ignore[arg-type]
    by_group = windows.view(len(windows), layer.groups, width, -1)  # (N, groups, width, places)
    return by_group.permute(1, 2, 0, 3).flatten(2)
