"""int8 from float32: an ONNX file with its convolutions and dense layers quantised after training.

An activation a in [low, high], found on sample images, becomes round(a / scale) + zero in 0..255; a weight becomes an
integer of -64..64 with one scale for each output channel. The arithmetic is that of Jacob et al. 2018, "Quantization
and training of neural networks for efficient integer-arithmetic-only inference", section 2; onnxruntime's
quantize_static writes it as pairs of QuantizeLinear and DequantizeLinear (QDQ), which ONNX Runtime and OpenVINO compute
in integers. The steps from an image to the network's input, LRN, the logits and what follows them stay in float32.

Weights have 7 bits, because processors without VNNI add two products of 8 bits in 16 and saturate beyond:
2 * 255 * 64 < 2^15 < 2 * 255 * 127. With 8 bits the same file gives other answers there.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import UsageError

LAYERS = ("Conv", "Gemm")  # that are quantised, where their weights are constants
BETWEEN = ("MaxPool", "Relu")  # that compute on integers what they would on numbers
IMAGES = 256  # on which ranges are found, where a user names no other number
SEED = 0

Feed = Mapping[str, NDArray[Any]]
"""One run's inputs by name."""


def quantise(source: Path, target: Path, feeds: Iterable[Feed], output: str | None = None) -> int:
    """Write `target`, the int8 form of the ONNX file `source`; the number of layers quantised.

    feeds: inputs of the graph, whose activations give the ranges; the more they look like the images of use, the
    better. output: the name of the output that the quantised layers lead to, None for the first; layers that lead to
    others alone stay as they are. Metadata and names stay. UsageError where the graph has no layer to quantise or there
    are no feeds. Needs onnx and onnxruntime.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load(source)
    layers, chosen = _chosen(model, output or model.graph.output[0].name)
    if not layers:
        raise UsageError(f"{source} has no convolution or dense layer of constant weights; export it as fp32 or fp16")
    with _quiet():
        quantize_static(
            model,
            target,
            _reader(_some(feeds)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*LAYERS, *BETWEEN],
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,  # OpenVINO computes in float32 where activations are signed
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},  # logits, above all
        )
    return len(layers)


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


def _chosen(model: Any, output: str) -> tuple[list[str], list[str]]:
    """The names of the layers of constant weights on the way to `output`, and of all nodes to quantise with them."""
    constants = {each.name for each in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    layers, found, wanted = [], [], {output}
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
    """quantize_static's advice, to preprocess the file, does not concern ours: BatchNorm is folded already."""

    def without_advice(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(without_advice)
    try:
        yield
    finally:
        root.removeFilter(without_advice)
