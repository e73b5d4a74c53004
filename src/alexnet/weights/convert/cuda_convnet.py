"""Checkpoints of cuda-convnet and cuda-convnet2: krizhevsky2012 and the CIFAR-10 networks.

A checkpoint is a pickle of Python 2, {"model_state": {"layers": ...}, "op": options}; the layers are a list (the first
program) or a dictionary by name (the second). Layouts, from its layer.py and cudaconv's filter_acts.cu:

    conv     weights (in * side * side, out) for each input, rows by channel, then row and column; biases (out, 1)
    local    weights (places * in * side * side, out), by place, then as conv; biases (out * places, 1)
    fc       weights (in, out) for each input, rows by channel, row, column; biases (1, out)

The two towers of 2012 are layers beside each other; one that reads both has an input for each. Dropout multiplies by
its `keep` in tests, where ours divides by it in training: weights that read a dropout's output are scaled by `keep`.
Classes are numbered as in the challenge's development kit (ILSVRC2012_ID), not in the order of synset ids.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from alexnet.errors import WeightsError
from alexnet.files import whole_file
from alexnet.networks import list_networks
from alexnet.networks.layers import LocallyConnected2d, Network
from alexnet.weights.card import Card
from alexnet.weights.convert import cuda_convnet_writer, layouts
from alexnet.weights.convert.cuda_convnet_writer import steps
from alexnet.weights.convert.foreign import Foreign
from alexnet.weights.convert.pickle_writer import dump
from alexnet.weights.convert.pickles import load

NAME = "cuda_convnet"
ABOUT = "cuda-convnet's checkpoints"
FILES = "cuda-convnet's checkpoints"
NETWORKS = ("krizhevsky2012", *(name for name in list_networks() if name.startswith("cifar-")))
WEIGHTED = ("conv", "local", "fc")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")  # batches.meta
MOST_LAYERS = 200
MOST_OPTIONS = 1_000_000  # bytes
# The options, of classes that the two programs define; they are read and left out.
MODULES = ("options", "python_util.options", "util.options", "gpumodel", "python_util.gpumodel")
KINDS = ("Boolean", "Integer", "Float", "String", "Range", "List", "Bounded", "Boundedfloat", "")
INERT = frozenset(
    f"{module}.{name}"
    for module in MODULES
    for name in ("OptionsParser", "Option", "OptionExpression", *(f"{kind}OptionParser" for kind in KINDS))
)
Layer = dict[str, Any]


def recognises(path: Path, head: bytes) -> bool:
    """Whether it is a pickle that names a model's state, before or after the options."""
    if head[:2] not in (b"\x80\x02", b"(d"):
        return False
    with path.open("rb") as file:
        return b"model_state" in file.read(MOST_OPTIONS)


def read(path: Path, network: str | None = None) -> Foreign:
    """The network of ours whose layers the checkpoint has. WeightsError for damage, hostile content, other layers."""
    if network not in (None, *NETWORKS):
        raise WeightsError(f"{path}: {FILES} hold {', '.join(NETWORKS)}, not {network!r}; leave out --network")
    levels = _levels(_layers(path), path)
    reasons = []
    for name in [network] if network else NETWORKS:
        ours = layouts.empty(name)
        reason = _difference(levels, ours)
        if not reason:
            tensors = _tensors(levels, ours, path)
            return Foreign(name, tensors, {}, *_facts(name, len(list(tensors.values())[-1])))
        reasons.append(f"{name}: {reason}")
    raise WeightsError(f"{path} is of another network ({'; '.join(reasons)})"[:600])


def write(network: Network, card: Card, path: Path) -> None:
    """Write the layers with their weights, without the options that the program itself needs to go on training."""
    layouts.refuse_other(network, NETWORKS, FILES)
    content = {"model_state": {"layers": cuda_convnet_writer.layers(network), "epoch": 1, "batchnum": 1}, "op": None}
    with whole_file(path, "wb") as file:
        for part in dump(content):
            file.write(part)


# --- a file's layers, by the number of weighted layers before them ---


class _Reader:
    """A weighted layer: where each of its inputs comes from, and what is computed on the way."""

    def __init__(self, layer: Layer, routes: list[tuple[str, list[Layer]]]) -> None:
        self.layer, self.name, self.kind = layer, str(layer["name"]), str(layer["type"])
        self.sources = [source for source, _ in routes]
        self.between = [between for _, between in routes]


def _layers(path: Path) -> dict[str, Layer]:
    content = load(path, INERT)
    state = content.get("model_state") if isinstance(content, dict) else None
    found = state.get("layers") if isinstance(state, dict) else None
    listed = list(found.values()) if isinstance(found, dict) else found
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_LAYERS:
        raise WeightsError(f"{path} is no checkpoint of cuda-convnet: it has no model_state with layers")
    if not all(isinstance(each, dict) and {"name", "type"} <= each.keys() for each in listed):
        raise WeightsError(f"{path} is no checkpoint of cuda-convnet: a layer has no name or type")
    names = [str(each["name"]) for each in listed]
    return {name: {**each, "inputs": _inputs(each, names)} for name, each in zip(names, listed, strict=True)}


def _inputs(layer: Layer, names: Sequence[str]) -> list[str]:
    """The names of a layer's inputs, which the first program gives as places in the list."""
    given = layer.get("inputs", [])
    given = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else []
    return [names[each] if isinstance(each, int) and 0 <= each < len(names) else str(each) for each in given]


def _levels(layers: dict[str, Layer], path: Path) -> list[list[_Reader]]:
    """The weighted layers in the order of computation, those of two towers together, by name."""
    readers = {name: _Reader(each, []) for name, each in layers.items() if each["type"] in WEIGHTED}
    for name, reader in readers.items():
        routes = [_route(source, layers, path) for source in layers[name]["inputs"]]
        readers[name] = _Reader(reader.layer, routes)
    depth: dict[str, int] = {"data": 0}
    for _ in readers:  # each pass finds at least one level
        for name, reader in readers.items():
            if all(source in depth for source in reader.sources):
                depth[name] = 1 + max((depth[source] for source in reader.sources), default=0)
    if len(depth) != len(readers) + 1:
        raise WeightsError(f"{path} is of another network: its layers form a circle")
    return [
        sorted((readers[name] for name in readers if depth[name] == level), key=lambda reader: reader.name)
        for level in range(1, max(depth.values()) + 1)
    ]


def _route(name: str, layers: dict[str, Layer], path: Path) -> tuple[str, list[Layer]]:
    """The weighted layer, or "data", that a layer's values come from, and the layers between, in order."""
    between: list[Layer] = []
    while True:
        layer = layers.get(name)
        if layer is None or len(between) > MOST_LAYERS:
            raise WeightsError(f"{path} is damaged: a layer reads {name!r}, which is not there or reads itself")
        if layer["type"] == "data":
            return "data", between
        if layer["type"] in WEIGHTED:
            return name, between
        if len(layer["inputs"]) != 1:
            raise WeightsError(f"{path} is of another network: {name} ({layer['type']}) joins several layers")
        between.insert(0, layer)
        name = layer["inputs"][0]


# --- beside ours ---


def _difference(levels: Sequence[Sequence[_Reader]], network: Network) -> str:
    """The first difference between the file and a network of ours; empty if there is none."""
    ours = layouts.weight_layers(network)
    if len(levels) != len(ours):
        return f"{len(levels)} weighted layers, not {len(ours)}"
    for (name, stage), level, wanted in zip(ours.items(), levels, steps(network), strict=True):
        kind = {nn.Conv2d: "conv", nn.Linear: "fc", LocallyConnected2d: "local"}[type(stage)]
        if any(reader.kind != kind for reader in level):
            return f"{level[0].name} is {level[0].kind}, not {kind}"
        towers = getattr(stage, "groups", 1)
        if towers > 1 and len(level) != towers and level[0].layer.get("groups", [1])[0] != towers:
            return f"{name} has {len(level)} towers, not {towers}"
        for reader in level:
            reason = _wrong_layer(reader, stage) or _wrong_steps(reader, wanted)
            if reason:
                return reason
    return ""


def _wrong_layer(reader: _Reader, stage: nn.Module) -> str:
    """The first setting of a convolution that differs; cuda-convnet notes padding as a negative start."""
    for key, wanted in cuda_convnet_writer.geometry(stage).items():
        for given in _listed(reader.layer.get(key)):
            if abs(given) != abs(wanted):
                return f"{reader.name} has {key} {given:g}, not {wanted}"
    return ""


def _listed(value: Any) -> list[float]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [float(each) for each in values if isinstance(each, (int, float))]


def _wrong_steps(reader: _Reader, wanted: Sequence[Layer]) -> str:
    """The first layer between weighted ones that differs from ours."""
    for between in reader.between:
        given = _ordered([layer for layer in between if layer["type"] != "dropout"])
        wished = _ordered([layer for layer in wanted if layer["type"] != "dropout"])
        kinds = [[_kind(layer) for layer in layers] for layers in (given, wished)]
        if kinds[0] != kinds[1]:
            return f"{', '.join(kinds[0]) or 'nothing'} before {reader.name}, not {', '.join(kinds[1]) or 'nothing'}"
        for layer, ours in zip(given, wished, strict=True):
            for key in ("sizeX", "stride", "size", "scale", "pow", "minDiv"):
                if key in ours and key in layer and not np.allclose(layer[key], ours[key], rtol=1e-4):
                    return f"{layer['name']} has {key} {layer[key]}, not {ours[key]}"
    return ""


def _kind(layer: Layer) -> str:
    """A layer's type, with that of its neuron or pool."""
    if layer["type"] == "neuron":
        neuron = layer.get("neuron")
        return str(neuron.get("type") if isinstance(neuron, dict) else neuron)
    return f"{layer.get('pool', 'max')} pool" if layer["type"] == "pool" else str(layer["type"])


def _ordered(layers: list[Layer]) -> list[Layer]:
    """The layers with a ReLU before the max pool that it follows: either order computes the same."""
    found = list(layers)
    for place in range(1, len(found)):
        if _kind(found[place]) == "relu" and _kind(found[place - 1]) == "max pool":
            found[place - 1], found[place] = found[place], found[place - 1]
    return found


# --- its arrays ---


def _tensors(levels: Sequence[Sequence[_Reader]], network: Network, path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    before = ["data"]
    last = list(layouts.weight_layers(network))[-1]
    for (name, stage), level in zip(layouts.weight_layers(network).items(), levels, strict=True):
        weights = [_weight(reader, before, stage, path) for reader in level]
        biases = [_bias(reader, stage, weight, path) for reader, weight in zip(level, weights, strict=True)]
        weight, bias = (np.concatenate(parts, 0 if weights[0].ndim != 3 else -1) for parts in (weights, biases))
        wanted = tuple(stage.state_dict()["weight"].shape)
        wanted = (None, *wanted[1:]) if name == last else wanted
        tensors[f"{name}.weight"] = layouts.tensor(layouts.floats(weight, f"the weights of {name}", wanted, path))
        tensors[f"{name}.bias"] = layouts.tensor(bias)
        before = [reader.name for reader in level]
    return tensors


def _weight(reader: _Reader, before: list[str], stage: nn.Module, path: Path) -> layouts.Floats:
    """A tower's weights in our layout, its inputs in the order of the towers before."""
    given = reader.layer.get("weights")
    if not isinstance(given, list) or len(given) != len(reader.sources):
        raise WeightsError(f"{path} is damaged: {reader.name} has not one matrix of weights for each input")
    parts = []
    for source in before:
        for place, name in enumerate(reader.sources):
            if name == source:
                matrix = layouts.floats(given[place], f"the weights of {reader.name}", (None, None), path)
                parts.append(_turned(matrix * _keep(reader.between[place]), stage, reader.name, path))
    if len(parts) != len(given):
        raise WeightsError(f"{path} is of another network: {reader.name} reads layers that do not precede it")
    axis = 1 if parts[0].ndim != 3 else 0
    return np.concatenate(parts, axis) if len(parts) > 1 else parts[0]


def _turned(matrix: layouts.Floats, stage: nn.Module, name: str, path: Path) -> layouts.Floats:
    """(in, out) as our layer has it."""
    if isinstance(stage, nn.Linear):
        return matrix.T
    local = isinstance(stage, LocallyConnected2d)
    side = int(stage.size if local else stage.state_dict()["weight"].shape[-1])  # type: ignore[arg-type]
    if matrix.shape[0] % side**2:
        raise WeightsError(f"{path} is of another network: {name} has {matrix.shape[0]} rows, no multiple of {side**2}")
    if local:
        return matrix.reshape(side**2, -1, matrix.shape[1])
    return matrix.reshape(-1, side, side, matrix.shape[1]).transpose(3, 0, 1, 2)


def _keep(between: Sequence[Layer]) -> np.float32:
    """What dropouts on the way multiply by in tests."""
    kept = [layer.get("keep", 0.5) for layer in between if layer["type"] == "dropout" and layer.get("enable", True)]
    return np.float32(np.prod([float(value) for value in kept]))


def _bias(reader: _Reader, stage: nn.Module, weight: layouts.Floats, path: Path) -> layouts.Floats:
    """A layer's biases: by unit, or for a locally connected layer (places, out)."""
    given = reader.layer.get("biases")
    out = weight.shape[-1] if isinstance(stage, LocallyConnected2d) else weight.shape[0]
    flat = given.reshape(-1) if isinstance(given, np.ndarray) else given
    size = out * weight.shape[0] if isinstance(stage, LocallyConnected2d) else out
    found = layouts.floats(flat, f"the biases of {reader.name}", (size,), path)
    return found.reshape(out, -1).T if isinstance(stage, LocallyConnected2d) else found


# --- what it is for ---


def _facts(name: str, classes: int) -> tuple[list[str] | None, None, tuple[str, ...]]:
    """Class names, preprocessing, notes."""
    notes = ["cuda-convnet subtracts a mean image that its checkpoints do not hold: the mean of each channel is taken"]
    if name.startswith("cifar-"):
        names = list(CIFAR10) if classes == len(CIFAR10) else None
        return names, None, tuple(notes)
    notes.append("towers were joined; weights that read a dropout's output were multiplied by its keep")
    if classes != 1000:
        return None, None, tuple(notes)
    notes.append("classes are numbered as in the development kit, ILSVRC2012_ID 1 to 1000, not in order of synset ids")
    return [f"ILSVRC2012_ID {number + 1}" for number in range(classes)], None, tuple(notes)
