"""An ONNX graph as a chain of layers with their constants. Of the package onnx only the file's own types are used."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.errors import UsageError, WeightsError

Array = npt.NDArray[Any]
LARGEST = 2**31 - 1  # bytes; protobuf reads no more
IGNORED = ("Identity", "Dropout")
TYPES: dict[int, np.dtype[Any]] = {
    number: np.dtype(name) for number, name in {1: "<f4", 10: "<f2", 11: "<f8", 6: "<i4", 7: "<i8", 9: "?"}.items()
}


@dataclass(frozen=True)
class Layer:
    """A node: its operator, its attributes, and the constants among its inputs, in order."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: tuple[Array, ...] = ()
    name: str = ""


def library(purpose: str) -> Any:
    """The package onnx; UsageError says how to install it."""
    try:
        import onnx
    except ImportError as error:
        raise UsageError(f"{purpose} needs the package onnx; install it: pip install onnx") from error
    return onnx


def load(path: Path) -> Any:
    """The file's ModelProto, without data that lies in other files. WeightsError for a file that is no such message."""
    onnx = library(f"reading {path}")
    from google.protobuf.message import DecodeError

    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise WeightsError(f"{path} has {size} bytes, more than an ONNX file can; take a fresh copy")
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (DecodeError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is a damaged ONNX file; take a fresh copy") from error


def constants(graph: Any, path: Path) -> dict[str, Array]:
    """The initializers and the values of Constant nodes, by name. WeightsError for those that are damaged."""
    given = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            given.update((node.output[0], each.t) for each in node.attribute if each.name == "value")
    return {name: _array(tensor, path) for name, tensor in given.items()}


def chain(graph: Any, path: Path) -> Iterator[Layer]:
    """The layers from the one input to the end; WeightsError where the graph branches."""
    known = constants(graph, path)
    current, consumers = _input(graph, known, path), _consumers(graph)
    while nodes := consumers.get(current):
        if len(nodes) > 1 or not nodes[0].output:
            kinds = ", ".join(sorted(node.op_type for node in nodes))
            raise WeightsError(f"{path} is of another network: {kinds} read {current!r} at once; ours is one chain")
        node, current = nodes[0], nodes[0].output[0]
        if node.op_type not in IGNORED:
            yield _layer(node, known, path)


def input_side(graph: Any, names: Mapping[str, Any]) -> int:
    """The height of the images that the graph states; 0 for any."""
    for given in graph.input:
        if given.name not in names:
            sides = [each.dim_value for each in given.type.tensor_type.shape.dim]
            return sides[2] if len(sides) == 4 else 0
    return 0


def _input(graph: Any, known: Mapping[str, Array], path: Path) -> str:
    inputs = [given.name for given in graph.input if given.name not in known]
    if len(inputs) != 1:
        raise WeightsError(f"{path} is of another network: it takes {len(inputs)} inputs, ours take one, the images")
    return str(inputs[0])


def _consumers(graph: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            if node.op_type != "Shape":
                found.setdefault(name, []).append(node)
    return found


def _layer(node: Any, known: Mapping[str, Array], path: Path) -> Layer:
    attributes = {each.name: _value(each) for each in node.attribute}
    return Layer(node.op_type, attributes, tuple(known[name] for name in node.input if name in known), node.output[0])


def _value(attribute: Any) -> Any:
    kinds = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}
    value = getattr(attribute, kinds.get(attribute.type, "s"))
    return list(value) if attribute.type in (6, 7) else value


def _array(tensor: Any, path: Path) -> Array:
    """A tensor's values, if it holds as many as its shape says; nothing is allocated before that is known."""
    shape, dtype = tuple(tensor.dims), TYPES.get(tensor.data_type)
    if dtype is None or any(side < 0 for side in shape):
        raise WeightsError(f"{path}: {tensor.name!r} is of a type or shape that no layer has; take a float32 export")
    raw: bytes = _external(tensor, path) if tensor.data_location == 1 else tensor.raw_data
    if raw or not math.prod(shape):
        values = np.frombuffer(raw, dtype) if len(raw) % dtype.itemsize == 0 else np.empty(0, dtype)
    else:
        values = _listed(tensor, dtype)
    if values.size != math.prod(shape):
        wanted = " x ".join(map(str, shape))
        raise WeightsError(f"{path} is damaged: {tensor.name!r} is {wanted} and holds {values.size} values")
    return values.reshape(shape)


def _listed(tensor: Any, dtype: np.dtype[Any]) -> Array:
    """Values that are not stored as bytes; half precision as the integers of its bits."""
    if tensor.data_type == 10:
        return np.array(tensor.int32_data, np.uint16).view(np.float16)
    whole = dict.fromkeys((6, 9), tensor.int32_data)
    lists = {1: tensor.float_data, 11: tensor.double_data, 7: tensor.int64_data, **whole}
    return np.array(lists[tensor.data_type], dtype)


def _external(tensor: Any, path: Path) -> bytes:
    """The bytes of a tensor that lie in another file of the same folder."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.resolve().parent
    file = (folder / place.get("location", "")).resolve()
    if folder not in file.parents:
        raise WeightsError(f"{path} is refused: {tensor.name!r} lies outside its folder, in {place.get('location')!r}")
    try:
        offset, size = int(place.get("offset", 0)), file.stat().st_size
        length = int(place.get("length", size - offset))
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError
        with file.open("rb") as data:
            data.seek(offset)
            return bytes(data.read(length))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: the data of {tensor.name!r} is not in {file.name}; copy both files") from error
