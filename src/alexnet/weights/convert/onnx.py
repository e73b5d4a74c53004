"""ONNX files: the zoo's bvlcalexnet and caffenet, exports of torchvision's and of our networks; and the way back.

A graph is compared with each of our networks, layer by layer: operators, strides, pads, windows and constants. The
zoo's two (onnx/models, validated/vision/classification) come from Caffe through Caffe2: they take blue, green, red, and
224 px where Caffe's take 227, with a pad at pool5 that makes up for it. Here they compute at 227 px, without that pad.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError, WeightsError
from alexnet.networks import list_networks
from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, LocallyConnected2d, Network
from alexnet.ops import LocalResponseNorm
from alexnet.weights.card import Card
from alexnet.weights.convert import layouts, onnx_graph
from alexnet.weights.convert.foreign import WARPED, Foreign
from alexnet.weights.convert.onnx_graph import Layer
from alexnet.weights.convert.onnx_writer import model
from alexnet.weights.exported import CARD, is_onnx

NAME = "onnx"
ABOUT = "ONNX (.onnx)"
POOL5_PAD = [0, 0, 1, 1]  # the zoo's, for 224 px


def recognises(path: Path, head: bytes) -> bool:
    """Whether it begins as a ModelProto does: ir_version, then another field."""
    return is_onnx(head)


def read(path: Path, network: str | None = None) -> Foreign:
    """The network of ours that the graph is; of those that it could be, the one that `network` names, or the first.

    WeightsError for a damaged file and for a graph that is none of them. UsageError without the package onnx.
    """
    found = onnx_graph.load(path)
    cards = [entry.value for entry in found.metadata_props if entry.key == CARD]
    if cards:
        return _ours(found.graph, cards[0], path)
    try:
        return _matched(found, path, network)
    except WeightsError as error:
        raise WeightsError(f"{error}; it is no export of ours either, for its metadata has no {CARD}") from error


def _matched(found: Any, path: Path, network: str | None) -> Foreign:
    """A graph without a card of ours, by its layers."""
    layers = [layer for layer in _folded(list(onnx_graph.chain(found.graph, path))) if not _does_nothing(layer)]
    names = [network] if network else list_networks()
    reasons = []
    for name in names:
        ours = layouts.empty(name)
        reason = _difference(layers, ours)
        if not reason:
            return _foreign(found, layers, ours, path)
        reasons.append((_alike(layers, ours), f"the nearest is {name}: {reason}"))
    raise WeightsError(f"{path} is of another network; {max(reasons)[1]}")


def write(network: Network, card: Card, path: Path) -> None:
    """Write the network for `card.input_size`, with its card: images (N, 3, S, S) -> logits (N, K)."""
    from alexnet.files import whole_file

    content = model(network, card).SerializeToString()
    with whole_file(path, "wb") as file:
        file.write(content)


# --- files of our own ---


def _ours(graph: Any, text: str, path: Path) -> Foreign:
    """A file that `write` wrote: its tensors have our names, and its card tells the rest."""
    try:
        card = Card.from_json(json.loads(text))
        preprocessing = Preprocessing.from_json(card.preprocessing) if card.preprocessing else None
        wanted = layouts.empty(card.network, num_classes=card.num_classes, **card.differences).state_dict()
    except (ValueError, TypeError, RuntimeError, MemoryError, AlexNetError) as error:
        raise WeightsError(f"{path} has a damaged card: {error}") from error
    found = onnx_graph.constants(graph, path)
    tensors: dict[str, Tensor] = {}
    for name, value in wanted.items():
        if value.is_floating_point():
            array = found.get(name)
            if array is None:
                raise WeightsError(f"{path} lacks {name!r}, which its network has; take a fresh copy")
            tensors[name] = layouts.tensor(layouts.floats(array, name, tuple(value.shape), path))
        else:
            tensors[name] = torch.zeros_like(value)
    notes = ("written by alexnet: its card was used",)
    return Foreign(card.network, tensors, card.differences, card.class_names, preprocessing, notes)


# --- the graph beside a network of ours ---


@dataclass(frozen=True)
class _Stage:
    """What a stage of ours is in ONNX: operator, settings that must agree, and its name."""

    kind: str
    settings: dict[str, Any]
    name: str
    module: nn.Module


def _stages(network: Network) -> Iterator[_Stage]:
    """The stages that compute something in evaluation mode at the published input size."""
    for name, stage in network.stages():
        adaptive = isinstance(stage, AdaptiveAvgPool2d) and stage.size > 1  # at the published size it does nothing
        if isinstance(stage, (nn.Dropout, nn.Identity, Enlarge)) or adaptive:
            continue
        kind, settings = _in_onnx(stage)
        yield _Stage(kind, settings, name, stage)


def _in_onnx(stage: nn.Module) -> tuple[str, dict[str, Any]]:
    if isinstance(stage, nn.Conv2d):
        pads = [int(side) for side in (*stage.padding, *stage.padding)]
        return "Conv", {"strides": list(stage.stride), "pads": pads, "group": stage.groups}
    if isinstance(stage, (nn.MaxPool2d, nn.AvgPool2d)):
        kind = "MaxPool" if isinstance(stage, nn.MaxPool2d) else "AveragePool"
        sides = {"kernel_shape": stage.kernel_size, "strides": stage.stride}
        return kind, {key: _pair(side) for key, side in sides.items()} | {"pads": _pair(stage.padding) * 2}
    if isinstance(stage, LocalResponseNorm) and not stage.within_channel and stage.groups == 1:
        alpha = stage.alpha_per_square * stage.size
        return "LRN", {"size": stage.size, "alpha": alpha, "beta": stage.beta, "bias": stage.k}
    if isinstance(stage, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return "BatchNormalization", {"epsilon": stage.eps}
    return PLAIN.get(type(stage), f"no operator for {type(stage).__name__}"), {}


def _pair(side: Any) -> list[int]:
    return [side, side] if isinstance(side, int) else list(side)


PLAIN: dict[type[nn.Module], str] = {
    nn.ReLU: "Relu",
    nn.Tanh: "Tanh",
    nn.Sigmoid: "Sigmoid",
    nn.Linear: "Gemm",
    nn.Flatten: "Flatten",
    AdaptiveAvgPool2d: "GlobalAveragePool",
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "Conv": {"strides": [1, 1], "pads": [0] * 4, "group": 1},
    "MaxPool": {"strides": [1, 1], "pads": [0] * 4},
    "AveragePool": {"strides": [1, 1], "pads": [0] * 4},
    "LRN": {"alpha": 1e-4, "beta": 0.75, "bias": 1.0},
    "BatchNormalization": {"epsilon": 1e-5},
}


def _folded(layers: Sequence[Layer]) -> Iterator[Layer]:
    """The layers with MatMul and the Add after it as one Gemm, Reshape as Flatten, and without the last Softmax."""
    for place, layer in enumerate(layers):
        before = layers[place - 1] if place else Layer("")
        after = layers[place + 1] if place + 1 < len(layers) else Layer("")
        if layer.kind == "MatMul" and after.kind == "Add" and len(layer.constants) == len(after.constants) == 1:
            yield Layer("Gemm", {}, (layer.constants[0], after.constants[0]), layer.name)
        elif layer.kind == "Reshape":
            yield Layer("Flatten")
        elif not (layer.kind == "Add" and before.kind == "MatMul") and not (layer.kind == "Softmax" and not after.kind):
            yield layer


def _does_nothing(layer: Layer) -> bool:
    """An average over windows of one value, as torchvision's adaptive pooling becomes at 224 px."""
    given = layer.attributes
    return layer.kind == "AveragePool" and given.get("kernel_shape") == [1, 1] and not any(given.get("pads", ()))


def _difference(layers: Sequence[Layer], network: Network) -> str:
    """The first difference between a graph and a network of ours; empty if there is none."""
    stages = list(_stages(network))
    for place, (layer, stage) in enumerate(zip(layers, stages, strict=False)):
        if layer.kind != stage.kind:
            return f"layer {place + 1} is {layer.kind}, not the {stage.kind} of {stage.name}"
        wrong = _wrong_settings(layer, stage, network)
        if wrong:
            return wrong
    if len(layers) != len(stages):
        return f"{len(layers)} layers, not {len(stages)}"
    return _wrong_shapes(layers, network)


def _alike(layers: Sequence[Layer], network: Network) -> int:
    """How many layers have the same operator from the first on."""
    pairs = zip(layers, _stages(network), strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0].kind == pair[1].kind, pairs)))


def _wrong_settings(layer: Layer, stage: _Stage, network: Network) -> str:
    given = DEFAULTS.get(layer.kind, {}) | layer.attributes
    if given.get("dilations", [1, 1]) != [1, 1] or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        return f"{stage.name} is dilated or padded by a rule"
    if layer.kind == "Gemm" and (given.get("alpha", 1.0), given.get("beta", 1.0), given.get("transA", 0)) != (1, 1, 0):
        return f"{stage.name} is scaled or transposed"
    for key, wanted in stage.settings.items():
        if stage.name == "pool5" and key == "pads" and given[key] == POOL5_PAD and network.name in WARPED:
            continue
        if not _agree(given.get(key), wanted):
            return f"{stage.name} has {key} {given.get(key)}, not {wanted}"
    return ""


def _agree(found: Any, wanted: Any) -> bool:
    """Whether two settings, numbers or lists of them, are equal up to the rounding of a 32-bit float."""
    if found is None or np.shape(found) != np.shape(wanted):
        return False
    return bool(np.allclose(found, wanted, rtol=1e-5, atol=0))


def _wrong_shapes(layers: Sequence[Layer], network: Network) -> str:
    """The first layer whose weights have other shapes; the number of classes may differ."""
    last = list(layouts.weight_layers(network))[-1]
    for layer, stage in zip(layers, _stages(network), strict=True):
        module = stage.module
        if isinstance(module, (nn.Conv2d, nn.Linear, LocallyConnected2d)):
            wanted = tuple(module.weight.shape)
            weight = _weight(layer)
            found = None if weight is None else tuple(weight.shape)
            if found != wanted and not (stage.name == last and found and found[1:] == wanted[1:]):
                return f"{stage.name} has weights {found}, not {wanted}"
            if module.bias is None and len(layer.constants) > 1:
                return f"{stage.name} has a bias"
    return ""


def _weight(layer: Layer) -> Any:
    """The weights of a convolution or dense layer as (O, I, ...); None without them."""
    if not layer.constants:
        return None
    weight = layer.constants[0]
    return weight.T if layer.kind == "Gemm" and not layer.attributes.get("transB", 0) else weight


def _foreign(found: Any, layers: Sequence[Layer], network: Network, path: Path) -> Foreign:
    tensors: dict[str, Tensor] = {}
    names = layouts.paths(network)
    for layer, stage in zip(layers, _stages(network), strict=True):
        for key, array in _arrays(layer, stage.module, path).items():
            name = f"{names[stage.name]}.{key}"
            tensors[name] = layouts.tensor(layouts.floats(array, name, array.shape, path))
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            tensors[name] = torch.zeros_like(value)
    notes = [f"an ONNX graph of {len(layers)} layers, equal to those of {network.name}"]
    if network.name in WARPED:
        notes += _turn_caffe(found, layers, tensors, network)
    return Foreign(network.name, tensors, notes=tuple(notes))


def _arrays(layer: Layer, ours: nn.Module, path: Path) -> dict[str, Any]:
    """The constants of a layer by our names; a bias that the file leaves out is zero."""
    if layer.kind in ("Conv", "Gemm"):
        weight, biases = _weight(layer), layer.constants[1:2]
        if ours.bias is None and not biases:
            return {"weight": weight}
        bias = biases[0].reshape(-1) if biases else np.zeros(weight.shape[0], np.float32)
        return {"weight": weight, "bias": bias}
    if layer.kind == "BatchNormalization":
        names = ("weight", "bias", "running_mean", "running_var")
        if len(layer.constants) != len(names):
            raise WeightsError(f"{path} is of another network: a normalisation without its four vectors")
        return dict(zip(names, layer.constants, strict=True))
    return {}


def _turn_caffe(found: Any, layers: Sequence[Layer], tensors: dict[str, Tensor], network: Network) -> list[str]:
    """Turn conv1 to RGB where the file takes BGR; what is told of that, of the input's size and of pool5."""
    notes = []
    if found.producer_name == "pytorch":
        notes.append("written by PyTorch: its channels were taken for red, green, blue")
    else:
        tensors["conv1.weight"] = tensors["conv1.weight"].flip(1)
        notes.append(layouts.BGR)
    side = onnx_graph.input_side(found.graph, {each.name: each for each in found.graph.initializer})
    padded = any(layer.kind == "MaxPool" and layer.attributes.get("pads") == POOL5_PAD for layer in layers)
    if side not in (0, network.input_size) or padded:
        pad = ", with a pad at pool5 that is not Caffe's" if padded else ""
        notes.append(f"the file computes at {side} px{pad}; here at {network.input_size} px, as it was trained")
    return notes
