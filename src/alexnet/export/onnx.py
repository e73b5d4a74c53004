"""ONNX: one file, with preprocessing, network and answers in its graph, for ONNX Runtime and many other engines."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alexnet.errors import UsageError
from alexnet.export.formats import Order
from alexnet.export.int8 import quantise, trained_photos
from alexnet.export.metadata import metadata
from alexnet.export.network import core, halve
from alexnet.export.pixels import whole
from alexnet.inference.runtime import Engine, OnnxRuntime
from alexnet.weights.convert.onnx_graph import library

ABOUT = (
    "image: uint8 (H, W, 3), RGB, any size; probabilities: float32 (K,)",
    "images: float32 (N, 3, S, S), RGB, normalised; probabilities: float32 (N, K)",
)


def model(order: Order) -> Any:
    """The ModelProto of an order, with its metadata."""
    card = order.classifier.card
    made = core(order.classifier.network, card)
    if order.precision == "fp16":
        halve(made)
    if order.precision == "int8":
        made = quantise(made, trained_photos(order))
    return finished(made, order)


def finished(made: Any, order: Order) -> Any:
    """A core as the order wants it: with the preprocessing before it, or batched; and with its metadata."""
    found = made if order.batched else whole(made, order.classifier.preprocessing)
    found.doc_string = f"{ABOUT[order.batched]}, of alexnet.card's class_names in their order"
    library("an export").helper.set_model_props(found, metadata(order.classifier.card, order.batched))
    return found


def write(order: Order, path: Path) -> None:
    """Write the one file; UsageError for a network that ONNX cannot hold, and without the engine that proves it."""
    if find_spec("onnxruntime") is None:
        raise UsageError("proving an export needs the package onnxruntime; install it: pip install onnxruntime")
    path.write_bytes(model(order).SerializeToString())


def engine(path: Path) -> Engine:
    """The file in ONNX Runtime."""
    return OnnxRuntime(path)
