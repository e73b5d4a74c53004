"""Caffe's .caffemodel, of BVLC AlexNet and CaffeNet: both versions of its layers, both forms of its shapes.

A file is a NetParameter (caffe.proto): `layers` (field 2, V1) or `layer` (field 100, V2), each with the blobs of its
weights and bias. Weights lie as ours, except that conv1 takes BGR images. The two networks have the same blobs and
differ in the order of LRN and pool, which the file tells by the order of its layers.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alexnet.errors import UsageError, WeightsError
from alexnet.files import whole_file
from alexnet.networks.layers import Network
from alexnet.weights.card import Card, shape_text
from alexnet.weights.convert import wire
from alexnet.weights.convert.caffe_layers import (
    FLOATS,
    IDLE,
    KINDS,
    V1_TYPES,
    Layer,
    Number,
    connected,
    layers,
    prototxt,
)
from alexnet.weights.convert.foreign import Foreign, NetworkUntold

NAME = "caffe"
ABOUT = "Caffe's .caffemodel of BVLC AlexNet and CaffeNet"
NETWORKS = ("bvlc", "caffenet")
WEIGHTED = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")  # fc8 may have any name
STARTS = b"\x12\x1a\x28\x32\x38\x42\xa2"  # first bytes of the keys of a NetParameter's other fields
NAME_FIELD, V1_LAYERS, V2_LAYER = 1, 2, 100
V0_LAYER = 1  # within V1_LAYERS: all of a layer of 2013 but its connections


@dataclass
class _Read:
    """A layer as a file has it."""

    name: str = ""
    kind: str = ""
    settings: dict[str, Number] | None = None  # None: the file does not tell them
    blobs: list[Tensor] = field(default_factory=list)  # float32


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file begins as a NetParameter: its name as printable text and a field of it, or a layer."""
    if head[:1] not in (b"\x0a", b"\x12", b"\xa2"):
        return False
    if head[:1] == b"\x0a":
        size = head[1] if len(head) > 1 else 255
        name, after = head[2 : 2 + size], head[2 + size : 3 + size]
        return size < 0x80 and len(name) == size and name.isascii() and (not after or after in STARTS)
    return head[:1] == b"\x12" or head[:2] == b"\xa2\x06"


def read(path: Path, network: str | None = None) -> Foreign:
    """What a .caffemodel holds. network: "bvlc" or "caffenet"; None where the file tells by the order of its layers.

    WeightsError for a damaged or truncated file, another network, and a file of layers that compute otherwise.
    """
    if network not in (None, *NETWORKS):
        raise WeightsError(f"{path} is a file of Caffe, which holds {' or '.join(NETWORKS)}, not {network!r}")
    try:
        found = _read_layers(path)
        chosen = _network(found, network)
        weighted = _weighted(found)
        _check_settings(found, chosen, len(weighted["fc8"].blobs[1]))
        tensors = _tensors(weighted)
    except WeightsError as error:
        raise type(error)(f"{path}, a .caffemodel: {error}") from error
    notes = [f"{len(found)} layers read; conv1 turned from BGR to RGB"]
    if weighted["fc8"].name != "fc8":
        notes.append(f"its last layer {weighted['fc8'].name!r} became fc8")
    notes.append("the mean image is another file: Caffe's channel means of ImageNet are taken (--mean gives others)")
    return Foreign(chosen, tensors, notes=tuple(notes))


def write(network: Network, card: Card, path: Path) -> None:
    """Write a .caffemodel (V2) and beside it the .prototxt that Caffe and OpenCV need to run it.

    UsageError for other networks than bvlc and caffenet, and for a path that ends in .prototxt.
    """
    if network.name not in NETWORKS:
        raise UsageError(
            f"Caffe's format holds {' and '.join(NETWORKS)} here, not {network.name!r}; --to onnx holds all"
        )
    if path.suffix == ".prototxt":
        raise UsageError(
            f"{path} is the name of the description that is written beside the weights; end in .caffemodel"
        )
    dropout = float(network.get_submodule("drop6").p)  # type: ignore[arg-type]
    with whole_file(path.with_suffix(".prototxt")) as described:
        described.write(prototxt(network.name, network.num_classes, network.input_size, dropout))
    state = {name: tensor.detach().to("cpu", torch.float32) for name, tensor in network.state_dict().items()}
    state["conv1.weight"] = state["conv1.weight"].flip(1)
    with whole_file(path, "wb") as file:
        file.write(wire.bytes_field(NAME_FIELD, network.name.encode()))
        for part in _written(network, state, dropout):
            file.write(part)


# --- reading ---


def _read_layers(path: Path) -> list[_Read]:
    """The layers, in the file's order; blobs are copies."""
    if path.stat().st_size == 0:
        raise WeightsError("it is empty")
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # unmapped with its last view
    parts = [each for each in wire.fields(view) if each.number in (V1_LAYERS, V2_LAYER)]
    return [_layer(part.data, old=part.number == V1_LAYERS) for part in parts]


def _layer(message: memoryview, old: bool) -> _Read:
    """A layer of V1 (old) or V2."""
    name, kind, blobs = (4, 5, 6) if old else (1, 2, 7)
    read = _Read()
    params = {(each.v1 if old else each.v2): word for word, each in KINDS.items() if each.param}
    for each in wire.fields(message):
        if old and each.number == V0_LAYER:
            raise WeightsError(
                "its layers are in Caffe's first format (V0, of 2013), which is not read; upgrade it with Caffe's own"
                " tool and give NEW: upgrade_net_proto_binary OLD NEW"
            )
        if each.number == name:
            read.name = wire.text(each)
        elif each.number == kind:
            read.kind = V1_TYPES.get(each.whole, f"type {each.whole}") if old else wire.text(each)
        elif each.number == blobs:
            read.blobs.append(blob(each.data))
        elif each.number in params and each.kind == wire.BYTES:
            read.settings = _settings(each.data, params[each.number])
    return read


def _settings(message: memoryview, kind: str) -> dict[str, Number]:
    """The settings of a layer, defaults included; a list of equal values counts as one value."""
    names = {number: name for name, number in KINDS[kind].numbers.items()}
    names |= {number: name for name, both in KINDS[kind].sides.items() for number in both}
    found: dict[str, Number] = dict(KINDS[kind].defaults)
    told: dict[str, set[int]] = {}
    for each in wire.fields(message):
        name = names.get(each.number, "")
        if name in FLOATS:
            found[name] = round(float(wire.numbers(each)[0]), 9)
        elif name:
            told.setdefault(name, set()).update(wire.wholes(each))
    return found | {name: values.pop() if len(values) == 1 else -1 for name, values in told.items()}


def blob(message: memoryview) -> Tensor:
    """A BlobProto as a float32 tensor of its own memory, of the shape that it states, N-D or the older 4-D.

    WeightsError where the shape and the number of values differ.
    """
    shape: list[int] | None = None
    older = [0, 0, 0, 0]
    rows: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    for each in wire.fields(message):
        if each.number == 7:
            shape = [size for inner in wire.fields(each.data) if inner.number == 1 for size in wire.wholes(inner)]
        elif each.number in (1, 2, 3, 4):
            older[each.number - 1] = each.whole
        elif each.number in (5, 8):
            rows.append(wire.numbers(each, eight=each.number == 8))
    values = np.concatenate(rows) if rows else np.empty(0, np.float32)  # a copy, of what the file holds
    shape = older if shape is None else shape
    if prod(shape) != len(values):
        raise WeightsError(f"a blob of {shape_text(shape)} holds {len(values):,} values; the file is damaged")
    return torch.from_numpy(values).reshape(shape)


def _network(found: list[_Read], asked: str | None) -> str:
    """The network, told by what comes first after conv1: LRN or pool."""
    first = next((each.kind for each in found if each.kind in ("LRN", "Pooling")), None)
    kinds = {each.kind for each in found}
    if first is None or not {"LRN", "Pooling"} <= kinds:
        if asked is None:
            raise NetworkUntold(
                "it lists no LRN and pooling layers, by whose order bvlc and caffenet differ;"
                " say which it is: --network bvlc or --network caffenet"
            )
        return asked
    told = "bvlc" if first == "LRN" else "caffenet"
    if asked not in (None, told):
        raise WeightsError(f"by the order of its layers ({first} first) it is {told}, not {asked}; leave --network out")
    return told


def _weighted(found: list[_Read]) -> dict[str, _Read]:
    """The layers with weights, by our names."""
    own = {each.name: each for each in found if each.blobs}
    names = list(own)
    others = [name for name in names if name not in WEIGHTED]
    if missing := [name for name in WEIGHTED if name not in own]:
        raise WeightsError(f"it has no weights for {', '.join(missing)}; its layers with weights: {_listed(names)}")
    if len(others) != 1:
        raise WeightsError(f"beside conv1 to fc7 one layer of classes is expected, found {_listed(others)}")
    weighted = {**{name: own[name] for name in WEIGHTED}, "fc8": own[others[0]]}
    for name, each in weighted.items():
        if len(each.blobs) != 2:
            raise WeightsError(f"{each.name} has {len(each.blobs)} blobs, expected the weights and the bias")
        each.blobs = [
            _unpadded(blob, dims) for blob, dims in zip(each.blobs, (4 if "conv" in name else 2, 1), strict=True)
        ]
    return weighted


def _unpadded(blob: Tensor, dims: int) -> Tensor:
    """The older 4-D shapes have leading ones: (1, 1, 4096, 9216), (1, 1, 1, 96)."""
    while blob.ndim > dims and blob.shape[0] == 1:
        blob = blob[0]
    if blob.ndim != dims:
        raise WeightsError(f"a blob of {shape_text(blob.shape)} where one of {dims} dimensions is expected")
    return blob


def _beside(found: list[_Read], network: str, classes: int) -> Iterator[tuple[_Read, Layer]]:
    """Each layer that computes, with ours of its place; of a file that lists those with weights alone, of its name.

    WeightsError where the layers between the first and the last with weights are of other types than ours.
    """
    ours = [layer for layer in layers(network, classes) if layer.kind not in ("Dropout", "Softmax")]
    if not {each.kind for each in found} & {"ReLU", "LRN", "Pooling"}:
        by_name = {layer.name: layer for layer in ours}
        yield from ((each, by_name[each.name]) for each in found if each.name in by_name)
        return
    places = [place for place, each in enumerate(found) if each.blobs]
    theirs = [each for each in found[places[0] : places[-1] + 1] if each.kind not in IDLE.values()]
    for place, (each, layer) in enumerate(zip(theirs, ours, strict=False)):
        if each.kind != layer.kind or (each.blobs and layer.name in WEIGHTED and each.name != layer.name):
            name, before = each.name[:40], theirs[place - 1].name[:40]
            raise WeightsError(
                f"its {name}, after {before}, is a {each.kind[:40]}, where {network} has the {layer.kind} {layer.name};"
                " another network"
            )
    if len(theirs) != len(ours):
        raise WeightsError(f"it computes {len(theirs)} layers up to {theirs[-1].name}, {network} {len(ours)}")
    yield from zip(theirs, ours, strict=True)


def _check_settings(found: list[_Read], network: str, classes: int) -> None:
    """WeightsError where the file says that a layer computes otherwise than ours."""
    for each, layer in _beside(found, network, classes):
        if each.settings is None:
            continue
        for name, wanted in {**KINDS[layer.kind].defaults, **layer.settings}.items():
            told = each.settings.get(name, wanted)
            if abs(told - wanted) > 1e-6 * abs(wanted):
                raise WeightsError(f"its {each.name} has {name} {told:g}, {network} has {wanted:g}; another network")


def _tensors(weighted: dict[str, _Read]) -> dict[str, Tensor]:
    tensors = {}
    for name, each in weighted.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = each.blobs
    if tensors["conv1.weight"].shape[1] == 3:
        tensors["conv1.weight"] = tensors["conv1.weight"].flip(1)
    return tensors


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "none"


# --- writing ---


def _written(network: Network, state: dict[str, Tensor], dropout: float) -> Iterator[bytes | memoryview]:
    """The layers of a NetParameter (V2), in parts: large blobs are not copied into one another."""
    for layer, bottom, top in connected(network.name, network.num_classes, dropout):
        about = b"".join(
            wire.bytes_field(number, word.encode())
            for number, word in enumerate((layer.name, layer.kind, bottom, top), 1)
        )
        blobs = [state[f"{layer.name}.{part}"] for part in ("weight", "bias") if f"{layer.name}.{part}" in state]
        kind = KINDS[layer.kind]
        settings = b"".join(_setting(kind.numbers[name], name, value) for name, value in layer.settings.items())
        settings = wire.bytes_field(kind.v2, settings) if settings else b""
        heads = [_blob_head(each) for each in blobs]
        sizes = [len(head) + 4 * each.numel() for head, each in zip(heads, blobs, strict=True)]
        size = len(about) + len(settings) + sum(len(wire.head(7, each)) + each for each in sizes)
        yield wire.head(V2_LAYER, size) + about
        for head, each, length in zip(heads, blobs, sizes, strict=True):
            yield wire.head(7, length) + head
            yield each.contiguous().numpy().astype("<f4", copy=False).reshape(-1).view(np.uint8).data
        yield settings


def _blob_head(blob: Tensor) -> bytes:
    """A BlobProto up to its values: the shape, and the key and length of the packed floats."""
    shape = wire.bytes_field(7, wire.packed(1, list(blob.shape)))
    return shape + wire.head(5, 4 * blob.numel())


def _setting(number: int, name: str, value: Number) -> bytes:
    return wire.float_field(number, value) if name in FLOATS else wire.whole_field(number, int(value))
