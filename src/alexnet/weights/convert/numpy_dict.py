"""Toronto's bvlc_alexnet.npy, and what caffe-tensorflow writes: a pickled dictionary of arrays in an .npy file.

{"conv1": [weights (H, W, I, O), biases (O,)], ..., "fc6": [weights (9216, 4096), biases], ...}, or {"weights": ...,
"biases": ...} in the place of the lists. The weights are Caffe's BVLC AlexNet's. The published program
(www.cs.toronto.edu/~guerzhoy/tf_alexnet, myalexnet_forward.py) feeds it images in the order blue, green, red and
flattens maps of (H, W, C), so that fc6's rows are ordered by position, then channel. That program departs from Caffe's
network in two things which are no part of the file: it pads conv1, and it subtracts from each image its own mean.
"""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from alexnet.errors import WeightsError
from alexnet.files import whole_file
from alexnet.networks.layers import Network
from alexnet.weights.card import Card
from alexnet.weights.convert import layouts
from alexnet.weights.convert.foreign import WARPED, Foreign
from alexnet.weights.convert.pickle_writer import dump
from alexnet.weights.convert.pickles import load

NAME = "numpy_dict"
ABOUT = "a dictionary of arrays in an .npy file (bvlc_alexnet.npy)"
FILES = "dictionaries in .npy files"
MAGIC = b"\x93NUMPY"
SIDE = 6  # of pool5's maps, which fc6 reads


def recognises(path: Path, head: bytes) -> bool:
    """Whether it is an .npy file of objects, which are pickled; arrays of numbers are not."""
    return head.startswith(MAGIC) and b"'|O'" in head


def read(path: Path, network: str | None = None) -> Foreign:
    """BVLC AlexNet, or CaffeNet where `network` says so: their files look alike. WeightsError for other content."""
    name = layouts.caffe_family(network, FILES, path)
    layers = _layers(path)
    tensors: dict[str, Tensor] = {}
    for key, layer in layouts.weight_layers(layouts.empty(name)).items():
        weight, bias = _pair(layers[key], key, path)
        wanted = _shape(layer, key)
        bias = layouts.floats(bias, f"the bias of {key}", wanted[-1:], path)
        weight = layouts.floats(weight, f"the weight of {key}", (*wanted[:-1], len(bias)), path)
        tensors[f"{key}.weight"] = layouts.tensor(_to_ours(key, weight))
        tensors[f"{key}.bias"] = layouts.tensor(bias)
    return Foreign(name, tensors, notes=_notes(name, network))


def write(network: Network, card: Card, path: Path) -> None:
    """Write the dictionary that the published program loads; UsageError for networks other than Caffe's."""
    layouts.refuse_other(network, WARPED, FILES)
    values = layouts.as_numpy(network)
    names = layouts.weight_layers(network)
    layers = {name: [_to_theirs(name, values[f"{name}.weight"]), values[f"{name}.bias"]] for name in names}
    content = np.empty((), object)
    content[()] = layers
    with whole_file(path, "wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        for part in dump(content):
            file.write(part)


def _layers(path: Path) -> dict[str, Any]:
    """The dictionary, with the layers of Caffe's networks and no others."""
    content = load(path, offset=_begin(path))
    found = content.item() if isinstance(content, np.ndarray) and content.shape == () else None
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds no dictionary of layers; expected conv1 to conv5 and fc6 to fc8")
    wanted = set(layouts.weight_layers(layouts.empty(WARPED[0])))
    if found.keys() != wanted:
        lacks, has = sorted(wanted - found.keys()), sorted(map(str, found.keys() - wanted))
        raise WeightsError(
            f"{path} is of another network: {', '.join(lacks) or 'no layer'} missing,"
            f" {', '.join(has[:3]) or 'none'} unknown; expected conv1 to conv5 and fc6 to fc8"
        )
    return found


def _begin(path: Path) -> int:
    """Where the pickle begins, after the .npy header."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            reader(file)
            return file.tell()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, SyntaxError) as error:
        raise WeightsError(f"{path} is a damaged .npy file ({str(error)[:80]}); take a fresh copy") from error


def _pair(layer: Any, name: str, path: Path) -> tuple[Any, Any]:
    """The weights and biases of a layer, from a list or a dictionary."""
    if isinstance(layer, dict) and layer.keys() == {"weights", "biases"}:
        return layer["weights"], layer["biases"]
    if isinstance(layer, (list, tuple)) and len(layer) == 2:
        return layer[0], layer[1]
    raise WeightsError(f"{path} is of another network: {name} is no pair of weights and biases")


def _shape(layer: nn.Module, name: str) -> tuple[int | None, ...]:
    """The shape of a layer's weights in this format; fc8 may have any number of classes."""
    if isinstance(layer, nn.Conv2d):
        out, into, height, width = layer.weight.shape
        return height, width, into, out
    assert isinstance(layer, nn.Linear)
    return layer.in_features, None if name == "fc8" else layer.out_features


def _to_ours(name: str, weight: layouts.Floats) -> layouts.Floats:
    if weight.ndim == 2:
        return layouts.dense_from_hwc(weight, SIDE) if name == "fc6" else weight.T
    ours = layouts.from_hwio(weight)
    return layouts.swapped(ours) if name == "conv1" else ours


def _to_theirs(name: str, weight: layouts.Floats) -> layouts.Floats:
    if weight.ndim == 2:
        return layouts.dense_to_hwc(weight, SIDE) if name == "fc6" else weight.T
    return layouts.to_hwio(layouts.swapped(weight) if name == "conv1" else weight)


def _notes(name: str, asked: str | None) -> tuple[str, ...]:
    told = "" if asked else f"; taken for {name}, the published one, give --network caffenet for the other"
    return (
        layouts.BGR,
        "fc6's rows were turned from the order row, column, channel to channel, row, column",
        "the program published with this file pads conv1 and subtracts each image's own mean; here it is Caffe's"
        " network: no padding, ImageNet's mean",
        f"the file does not tell BVLC AlexNet from CaffeNet{told}",
    )
