"""A network with its calibration as an ONNX graph: normalised images to probabilities and a score for 'none of these'.

N images of S x S pixels, K classes. The graph is the core of every export that is made from ONNX; `pixels.whole` puts
the preprocessing before it.
"""

from typing import Any

import numpy as np
from torch import nn

from alexnet.errors import UsageError
from alexnet.networks.folding import folded
from alexnet.networks.layers import Network
from alexnet.weights.calibration import LEAST_NORM, Calibration, Known
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
    calibration = card.calibration or Calibration()
    graph = NetworkGraph(_applied(network, calibration.known), card.input_size, OPSET)
    outputs = [(PROBABILITIES, ["N", network.num_classes])]
    _probabilities(graph, calibration.temperature)
    if calibration.known is not None:
        _unknown(graph, calibration.known)
        outputs.append((UNKNOWN, ["N"]))
    helper = library("an export", "export").helper
    images = helper.make_tensor_value_info(IMAGES, FLOAT, ["N", 3, card.input_size, card.input_size])
    made = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs]
    return model_of(helper.make_graph(graph.nodes, network.name, [images], made, graph.tensors))


def model_of(graph: Any) -> Any:
    """A ModelProto of a GraphProto, in the operators of this room."""
    helper = library("an export", "export").helper
    versions = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, producer_name="alexnet", ir_version=IR, opset_imports=versions)


def _applied(network: Network, known: Known | None) -> Network:
    """The network as it is applied: BatchNorm folded, where the features of `known` are still there."""
    if known is None:
        return folded(network)
    names, stages = zip(*network.stages(), strict=True)
    place = names.index(known.layer) if known.layer in names else len(names)
    following = stages[place + 1] if place + 1 < len(stages) else None
    own = stages[place] if place < len(stages) else None
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    return network if isinstance(following, norms) or isinstance(own, (*norms, nn.Dropout)) else folded(network)


def _probabilities(graph: NetworkGraph, temperature: float) -> None:
    """Softmax of logits / temperature: `Calibration.probabilities`."""
    if temperature != 1:
        graph.node("Div", "tempered", graph.current, graph.constant("temperature", np.float32(temperature)))
    graph.node("Softmax", PROBABILITIES, axis=1, outputs=[PROBABILITIES])


def _unknown(graph: NetworkGraph, known: Known) -> None:
    """`Known.unknown`, by the formulas of `alexnet.weights.calibration`."""
    distance = _distance(graph, _features(graph, known.layer), known)
    largest = graph.node("ReduceMax", "known.largest", PROBABILITIES, _axes(graph, 1), keepdims=0)
    doubt = graph.node("Sub", "known.doubt", _number(graph, 1), largest)
    doubt = graph.node("Mul", "known.doubts", doubt, _number(graph, known.doubt))
    score = graph.node("Add", "known.score", doubt, distance)
    graph.node("Div", UNKNOWN, score, _number(graph, known.threshold), outputs=[UNKNOWN])


def _features(graph: NetworkGraph, layer: str) -> str:
    """(N, D): what a stage gives, maps averaged over their places."""
    if layer not in graph.outputs:
        raise UsageError(f"the card's calibration reads {layer!r}, which its network has not; calibrate it anew")
    name, shape = graph.outputs[layer]
    if len(shape) == 2:
        return name
    return graph.node("ReduceMean", "known.features", name, _axes(graph, 2, 3), keepdims=0)


def _distance(graph: NetworkGraph, features: str, known: Known) -> str:
    """(N,): the distance to the nearest centre: `Known.distance`."""
    norm = graph.node("ReduceL2", "known.norm", features, _axes(graph, 1), keepdims=1)
    norm = graph.node("Max", "known.norms", norm, _number(graph, LEAST_NORM))
    unit = graph.node("Div", "known.unit", features, norm)
    moved = graph.node("Sub", "known.moved", unit, graph.constant("known.mean", known.mean))
    u = graph.node("MatMul", "known.u", moved, graph.constant("known.projection", known.projection))
    own = graph.node("ReduceSumSquare", "known.own", u, _axes(graph, 1), keepdims=1)
    twice = graph.constant("known.twice", np.ascontiguousarray(-2 * known.centres.T))
    squares = graph.node("Add", "known.cross", own, graph.node("MatMul", "known.products", u, twice))
    squares = graph.node("Add", "known.squares", squares, graph.constant("known.lengths", (known.centres**2).sum(1)))
    least = graph.node("ReduceMin", "known.least", squares, _axes(graph, 1), keepdims=0)
    return graph.node("Sqrt", "known.distance", graph.node("Max", "known.above", least, _number(graph, 0)))


def _axes(graph: NetworkGraph, *axes: int) -> str:
    return graph.constant(f"axes.{len(graph.tensors)}", np.array(axes, np.int64))


def _number(graph: NetworkGraph, value: float) -> str:
    return graph.constant(f"number.{len(graph.tensors)}", np.float32(value))


def halve(model: Any) -> None:
    """Store a core's weights in half precision; they are widened where they are read, and all computing is in float32.

    Halves the file. Activations stay in float32: squares within LRN would overflow float16. UsageError for weights
    beyond its range.
    """
    onnx = library("an export", "export")
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
