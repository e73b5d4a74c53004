"""A network with its calibration as an ONNX graph: normalised images to probabilities and a score for 'none of these'.

N images of S x S pixels, K classes. The graph is the core of every export that is made from ONNX; `pixels.whole` puts
the preprocessing before it.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn

from alexnet.errors import UsageError
from alexnet.networks.folding import folded
from alexnet.networks.layers import Network
from alexnet.weights.calibration import LEAST_NORM, Array, Calibration, Known, Place
from alexnet.weights.card import Card
from alexnet.weights.convert.onnx_graph import library
from alexnet.weights.convert.onnx_writer import NetworkGraph

OPSET, IR = 18, 8  # 18 is the first whose Resize has antialiasing; every runtime since 2023 reads it
IMAGES, PROBABILITIES, UNKNOWN = "images", "probabilities", "unknown"
FLOAT = 1  # TensorProto.FLOAT
LARGEST_HALF = 65504  # of float16


def core(network: Network, card: Card) -> Any:
    """A ModelProto: `images`, float32 (N, 3, S, S), normalised -> `probabilities`, float32 (N, K).

    N is free. With a card that tells 'none of these' also `unknown`, float32 (N,): the score over its threshold, above
    1 for images of no class. UsageError for a network with layers that ONNX cannot hold.
    """
    helper = library("an export").helper
    calibration = card.calibration or Calibration()
    graph = NetworkGraph(applied(network, calibration.known), card.input_size, OPSET)
    outputs = [(PROBABILITIES, ["N", network.num_classes])]
    _probabilities(graph, calibration.temperature)
    if calibration.known is not None:
        _unknown(graph, calibration.known)
        outputs.append((UNKNOWN, ["N"]))
    images = helper.make_tensor_value_info(IMAGES, FLOAT, ["N", 3, card.input_size, card.input_size])
    made = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs]
    return model_of(helper.make_graph(graph.nodes, network.name, [images], made, graph.tensors))


def model_of(graph: Any) -> Any:
    """A ModelProto of a GraphProto, in the operators of this room."""
    helper = library("an export").helper
    versions = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, producer_name="alexnet", ir_version=IR, opset_imports=versions)


def applied(network: Network, known: Known | None) -> Network:
    """The network as it is applied: BatchNorm folded, unless `known` reads a stage that folding changes."""
    stages = list(network.stages())
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    changed = {name for name, stage in stages if isinstance(stage, (*norms, nn.Dropout))}
    changed |= {name for (name, _), (_, after) in pairwise(stages) if isinstance(after, norms)}
    return network if known and changed & set(known.layers) else folded(network)


def _probabilities(graph: NetworkGraph, temperature: float) -> None:
    """Softmax of logits / temperature: `Calibration.probabilities`."""
    if temperature != 1:
        graph.node("Div", "tempered", graph.current, graph.constant("temperature", np.float32(temperature)))
    graph.node("Softmax", PROBABILITIES, axis=1, outputs=[PROBABILITIES])


def _unknown(graph: NetworkGraph, known: Known) -> None:
    """`Known.unknown`, by the formulas of `alexnet.weights.calibration`."""
    largest = graph.node("ReduceMax", "known.largest", PROBABILITIES, _axes(graph, 1), keepdims=0)
    doubt = graph.node("Sub", "known.doubt", _number(graph, 1), largest)
    score = graph.node("Mul", "known.doubts", doubt, _number(graph, known.doubt))
    for place in known.places:
        distance = _distance(graph, _features(graph, place.layer), place)
        score = graph.node("Add", f"known.{place.layer}.score", score, distance)
    graph.node("Div", UNKNOWN, score, _number(graph, known.threshold), outputs=[UNKNOWN])


def _features(graph: NetworkGraph, layer: str) -> str:
    """(N, D): what a stage gives, maps averaged over their places."""
    if layer not in graph.outputs:
        raise UsageError(f"the card's calibration reads {layer!r}, which its network has not; calibrate it anew")
    name, shape = graph.outputs[layer]
    if len(shape) == 2:
        return name
    return graph.node("ReduceMean", f"known.{layer}.features", name, _axes(graph, 2, 3), keepdims=0)


def _distance(graph: NetworkGraph, features: str, place: Place) -> str:
    """(N,): the distance to the nearest centre: `Place.distance` of `unit_roots`."""

    def node(kind: str, name: str, *inputs: str, **settings: int) -> str:
        return graph.node(kind, f"known.{place.layer}.{name}", *inputs, **settings)

    def held(name: str, array: Array) -> str:
        return graph.constant(f"known.{place.layer}.{name}", np.asarray(array, np.float32))

    roots = node("Sqrt", "roots", node("Relu", "positive", features))
    norm = node(
        "Max", "norms", node("ReduceL2", "norm", roots, _axes(graph, 1), keepdims=1), _number(graph, LEAST_NORM)
    )
    moved = node("Sub", "moved", node("Div", "unit", roots, norm), held("mean", place.mean))
    u = node("MatMul", "u", moved, held("projection", place.projection))
    own = node("ReduceSumSquare", "own", u, _axes(graph, 1), keepdims=1)
    cross = node("MatMul", "products", u, held("twice", -2 * place.centres.T))
    squares = node("Add", "squares", node("Add", "cross", own, cross), held("lengths", (place.centres**2).sum(1)))
    least = node("ReduceMin", "least", squares, _axes(graph, 1), keepdims=0)
    return node("Sqrt", "distance", node("Max", "above", least, _number(graph, 0)))


def _axes(graph: NetworkGraph, *axes: int) -> str:
    return graph.constant(f"axes.{len(graph.tensors)}", np.array(axes, np.int64))


def _number(graph: NetworkGraph, value: float) -> str:
    return graph.constant(f"number.{len(graph.tensors)}", np.float32(value))


def halve(model: Any) -> None:
    """Store a core's weights in half precision; they are widened where they are read, and all computing is in float32.

    Halves the file. Activations stay in float32: squares within LRN would overflow float16. UsageError for weights
    beyond its range.
    """
    onnx = library("an export")
    kept, casts = [], []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim >= 2:
            casts.append(onnx.helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=FLOAT))
            tensor = onnx.numpy_helper.from_array(_half(values, tensor.name), f"{tensor.name}.half")
        kept.append(tensor)
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def _half(values: Any, name: str) -> Any:
    largest = float(np.abs(values).max(initial=0))
    if not largest <= LARGEST_HALF:
        raise UsageError(f"{name} reaches {largest:g}, which half precision cannot hold; take --precision fp32")
    return values.astype(np.float16)
