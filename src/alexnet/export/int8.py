"""int8 from float32: an ONNX graph with its convolutions and dense layers quantised after training.

An activation a in [low, high], found on sample images, becomes round(a / scale) + zero in 0..255; a weight becomes an
integer of -64..64 with one scale for each output channel. The arithmetic is that of Jacob et al. 2018, "Quantization
and training of neural networks for efficient integer-arithmetic-only inference", section 2; onnxruntime's
quantize_static writes it as pairs of QuantizeLinear and DequantizeLinear (QDQ), which ONNX Runtime and OpenVINO compute
in integers. The steps from an image to the network's input, LRN, the logits and what follows them stay in float32.

Weights have 7 bits, because processors without VNNI add two products of 8 bits in 16 and saturate beyond:
2 * 255 * 64 < 2^15 < 2 * 255 * 127. With 8 bits the same file gives other answers there.
"""

import copy
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.form import fitted
from alexnet.data.places import network_input
from alexnet.errors import UsageError
from alexnet.export.formats import Order
from alexnet.export.network import IMAGES as INPUT
from alexnet.export.photos import Photos, trained_on
from alexnet.weights.convert.onnx_graph import library

LAYERS = ("Conv", "Gemm")  # that are quantised, where their weights are constants
BETWEEN = ("MaxPool", "Relu")  # that compute on integers what they would on numbers
IMAGES = 256  # on which ranges are found, where a user names no other number
SEED = 0

Feed = Mapping[str, NDArray[Any]]
"""One run's inputs by name."""

log = logging.getLogger(__name__)


def quantise(model: Any, feeds: Iterable[Feed]) -> Any:
    """The int8 form of a ModelProto, such as `network.core` gives; inputs and outputs keep names and types.

    feeds: inputs of the graph, whose activations give the ranges; the more they look like the images of use, the
    better. Quantised are the layers that lead to the first output; what leads to others alone stays as it is. The
    model given stays as it is, too. UsageError where it has no layer to quantise or there are no feeds.
    """
    model = copy.deepcopy(model)
    layers, chosen = _chosen(model)
    if not layers:
        raise UsageError(
            f"{model.graph.name} has no convolution or dense layer of constant weights; take --precision fp32"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        _write(model, path, _some(feeds), chosen)
        found = library("an export").load(path)
    del found.metadata_props[:]
    found.metadata_props.extend(model.metadata_props)
    return found


def _write(model: Any, path: Path, feeds: Iterator[Feed], chosen: list[str]) -> None:
    """Write the int8 form of `model`, in which the nodes `chosen` compute in integers."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with _quiet():
        quantize_static(
            model,
            path,
            _reader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*LAYERS, *BETWEEN],
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,  # OpenVINO computes in float32 where activations are signed
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},  # logits, above all
        )


def trained_photos(order: Order) -> Iterator[Feed]:
    """Photos that the order's model was trained on, as inputs of a core; others where the user named others.

    A random choice, evenly over the classes; says which they are. UsageError where there are none.
    """
    classifier = order.classifier
    photos = trained_on(classifier.origin, order.data)
    labels = np.array([sample.label for sample in photos.source.samples], np.int64)
    chosen = Photos(photos.source, np.sort(evenly(labels, photos.rows, IMAGES)), photos.part)
    log.info("int8: the ranges of activations are those of %s, evenly over the classes, seed %d", chosen, SEED)
    form = classifier.form
    for pixels in chosen.decoded(form):
        stored = fitted(pixels, form.size, form.fit)
        yield {INPUT: network_input([stored], classifier.card.preprocessing)}


def evenly(labels: NDArray[np.int64], rows: NDArray[np.int64], count: int, seed: int = SEED) -> NDArray[np.int64]:
    """At most `count` of `rows`, a random choice by `seed` with as many of each class as there are, to one.

    labels: the class of every image; rows: those to choose from. The choice does not depend on the order of `rows`.
    """
    mixed = np.random.default_rng(seed).permutation(np.sort(rows))
    turn = np.zeros(len(mixed), np.int64)  # an image's place among those of its class
    for label in np.unique(labels[mixed]):
        same = labels[mixed] == label
        turn[same] = np.arange(same.sum())
    return mixed[np.argsort(turn, kind="stable")][:count]


def _chosen(model: Any) -> tuple[list[str], list[str]]:
    """The names of the layers of constant weights on the way to the first output, and of all nodes to quantise."""
    constants = {each.name for each in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    layers, found, wanted = [], [], {model.graph.output[0].name}
    for number, node in reversed(list(enumerate(model.graph.node))):  # sorted: each after those that it needs
        if not wanted.intersection(node.output):
            continue
        wanted.update(node.input)
        node.name = node.name or f"{node.op_type}_{number}"
        if node.op_type in LAYERS and node.input[1] in constants:
            layers.append(node.name)
        if node.name in layers[-1:] or node.op_type in BETWEEN:
            found.append(node.name)
    return layers, found


def _some(feeds: Iterable[Feed]) -> Iterator[Feed]:
    """The feeds; UsageError where there is none."""
    several = iter(feeds)
    first = next(several, None)
    if first is None:
        raise UsageError("int8 needs images to find the ranges of activations on, and got none; give --data DATA")
    yield first
    yield from several


def _reader(feeds: Iterator[Feed]) -> Any:
    """The feeds as onnxruntime reads them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Feed | None:
            return next(feeds, None)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """quantize_static's advice, to preprocess the file, does not concern ours: BatchNorm is folded already.

    It speaks through the root logger, which would get a handler by that and then print our own messages twice.
    """

    def without_advice(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root, handler = logging.getLogger(), logging.NullHandler()
    root.addFilter(without_advice)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.removeFilter(without_advice)
