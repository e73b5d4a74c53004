"""Between other programs' layouts of weights and ours: (out, in, height, width) and (out, in), RGB.

H, W: sides of a filter; I, O: channels or units in and out; K: classes. All functions take and give float32.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create
from alexnet.networks.layers import LocallyConnected2d, Network, skip_init
from alexnet.weights.card import shape_text
from alexnet.weights.convert.foreign import WARPED

Floats = npt.NDArray[np.float32]
BGR = "the weights expect blue, green, red, as Caffe's do; conv1 was turned to red, green, blue"


def empty(name: str, **differences: Any) -> Network:
    """A network without weights, for its shapes."""
    with skip_init():
        return create(name, **differences)


def weight_layers(network: Network) -> dict[str, nn.Module]:
    """The convolutions, locally connected and dense layers by name, in the order of computation."""
    kinds = (nn.Conv2d, nn.Linear, LocallyConnected2d)
    return {name: stage for name, stage in network.stages() if isinstance(stage, kinds)}


def paths(network: Network) -> dict[str, str]:
    """For each stage, what its tensors' names in the state dict begin with; mostly the stage's own name."""
    path_of = {id(module): path for path, module in network.named_modules()}
    return {name: path_of[id(stage)] for name, stage in network.stages()}


def caffe_family(network: str | None, format_name: str, origin: Path) -> str:
    """The Caffe network that a file is taken for: the one asked for, else BVLC AlexNet; WeightsError for others."""
    name = network or WARPED[0]
    if name not in WARPED:
        raise WeightsError(
            f"{origin}: {format_name} hold {' or '.join(WARPED)}, not {name!r}; give --network {WARPED[0]}"
        )
    return name


def refuse_other(network: Network, names: tuple[str, ...], format_name: str) -> None:
    """UsageError where a format has no place for a network."""
    if network.name not in names:
        raise UsageError(f"{format_name} hold {', '.join(names)}, not {network.name!r}; --to onnx holds all")


def floats(value: Any, what: str, shape: tuple[int | None, ...], origin: Path) -> Floats:
    """An array of the shape that a layer needs, as float32; None: any length.

    WeightsError for other shapes, for what is no array of numbers, and for values that are not finite.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise WeightsError(f"{origin} is of another network: {what} is {kind}, expected an array of numbers")
    fits = len(shape) == value.ndim and all(side in (None, size) for side, size in zip(shape, value.shape, strict=True))
    if not fits:
        wanted = shape_text(tuple("any" if side is None else side for side in shape))  # type: ignore[misc]
        raise WeightsError(
            f"{origin} is of another network: {what} is {shape_text(value.shape)}, expected {wanted}; see --network"
        )
    found = np.ascontiguousarray(value, np.float32)
    if not np.isfinite(found).all():
        raise WeightsError(
            f"{origin}: {what} holds values that are not finite; the file is damaged or its run diverged"
        )
    return found


def tensor(array: Floats) -> Tensor:
    """A tensor of its own memory, contiguous."""
    return torch.from_numpy(np.array(array, np.float32, order="C", copy=True))


def from_hwio(weight: Floats) -> Floats:
    """(H, W, I, O) -> (O, I, H, W)."""
    return weight.transpose(3, 2, 0, 1)


def to_hwio(weight: Floats) -> Floats:
    """(O, I, H, W) -> (H, W, I, O)."""
    return weight.transpose(2, 3, 1, 0)


def dense_from_hwc(weight: Floats, side: int) -> Floats:
    """(side * side * C, O), rows by position then channel -> (O, C * side * side), by channel then position."""
    out = weight.shape[1]
    return weight.reshape(side, side, -1, out).transpose(3, 2, 0, 1).reshape(out, -1)


def dense_to_hwc(weight: Floats, side: int) -> Floats:
    """The inverse of `dense_from_hwc`."""
    out = weight.shape[0]
    return weight.reshape(out, -1, side, side).transpose(2, 3, 1, 0).reshape(-1, out)


def swapped(weight: Floats) -> Floats:
    """(O, 3, H, W): filters for red, green, blue as filters for blue, green, red, and the other way round."""
    return weight[:, ::-1]


def as_numpy(network: Network) -> Mapping[str, Floats]:
    """The floating parameters and buffers of a network by name, on the processor."""
    state = network.state_dict().items()
    return {name: value.detach().float().cpu().numpy() for name, value in state if value.is_floating_point()}
