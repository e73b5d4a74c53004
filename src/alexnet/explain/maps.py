"""The output of every layer for one image."""

from collections.abc import Iterator

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.explain.activations import centre_views, stage_outputs, view_pixels
from alexnet.networks.layers import Enlarge, Network
from alexnet.plots.layer_outputs import COLUMNS, LayerRow, layer_outputs_figure


def figure(network: Network, preprocessing: Preprocessing, image: Pixels) -> Figure:
    """The output of every layer that changes its input, for one image in stored form, uint8 (S, S, 3).

    A block is a convolution and the layers up to the next one. Its ten maps with the largest mean absolute value in the
    block's last layer are shown, the same ten in every row of the block, in ascending order of their numbers; dense
    layers are shown whole. Each row has its own scale, written beside it.
    """
    _, outputs = stage_outputs(network, centre_views(network, preprocessing, [image]))
    rows = _rows(network, {name: each[0].float().cpu() for name, each in outputs.items()})
    return layer_outputs_figure(view_pixels(preprocessing, [image])[0], list(rows))


def strongest(maps: Tensor, count: int = COLUMNS) -> list[int]:
    """Numbers, ascending, of the `count` maps of (C, H, W) with the largest mean absolute value."""
    means = maps.abs().mean((1, 2))
    return sorted(means.topk(min(count, len(means))).indices.tolist())


def _rows(network: Network, outputs: dict[str, Tensor]) -> Iterator[LayerRow]:
    """A row for each layer that is shown; map numbers are written at the first row of a block."""
    for block in _blocks(network, outputs):
        last = outputs[block[-1]]
        chosen = strongest(last) if _is_map(last) else []
        for name in block:
            values = outputs[name]
            shown = values[chosen] if _is_map(values) else values.flatten()
            shape = tuple(values.shape) if _is_map(values) else (values.numel(),)
            yield LayerRow(name, shape, shown, chosen if name == block[0] else [])


def _blocks(network: Network, outputs: dict[str, Tensor]) -> Iterator[list[str]]:
    """The layers that change their input, split before each convolution, dense layer or change of channels."""
    block: list[str] = []
    before = torch.empty(0)
    for name, stage in network.stages():
        values = outputs[name]
        if isinstance(stage, nn.Flatten | nn.ZeroPad2d | Enlarge) or torch.equal(values.flatten(), before.flatten()):
            continue
        other = (len(values), _is_map(values)) != (len(before), _is_map(before))
        if block and (other or isinstance(stage, nn.Conv2d | nn.Linear)):
            yield block
            block = []
        block.append(name)
        before = values
    yield block


def _is_map(values: Tensor) -> bool:
    """Whether the output has more than one spatial position."""
    return values.ndim == 3 and values.shape[1:] != (1, 1)
