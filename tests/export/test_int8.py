"""int8: which layers compute in integers, on which photos their ranges are found, and what the answers are then."""

import logging
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from alexnet.errors import UsageError
from alexnet.export.int8 import evenly, quantise
from alexnet.export.network import core
from alexnet.weights.calibration import Calibration, Known, Place

SIDE = 67


def float32_and_int8(model: Any, images: Any) -> tuple[Any, Any]:
    return model, quantise(model, [{"images": image[None]} for image in images])


@pytest.fixture(scope="module")
def modern(make_lively: Any, make_card: Any, make_images: Any) -> tuple[Any, Any, Any]:
    """The core in float32, the one in int8, and images; its card tells 'none of these'."""
    network = make_lively("modern", side=SIDE)
    images = make_images(network, 8).numpy()
    place = Place("relu7", *(np.ones(shape, np.float32) for shape in ((64,), (64, 3), (2, 3))))
    card = make_card(network)
    object.__setattr__(card, "calibration", Calibration(1.0, Known(0.5, 2.0, (place,))))
    return *float32_and_int8(core(network, card), images), images


def tensors(model: Any) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_both_engines_answer_as_in_float32(modern: Any, engines: Any) -> None:
    whole, small, images = modern
    expected = engines["onnxruntime"](whole)({"images": images})
    for name in ("onnxruntime", "openvino"):
        found = engines[name](small)({"images": images})
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=0.03)


def test_lrn_between_layers_stays_in_float32(make_lively: Any, make_card: Any, make_images: Any, engines: Any) -> None:
    network = make_lively("bvlc", side=SIDE)
    images = make_images(network, 4).numpy()
    whole, small = float32_and_int8(core(network, make_card(network)), images)
    (expected,) = engines["onnxruntime"](whole)({"images": images})
    for name in ("onnxruntime", "openvino"):
        np.testing.assert_allclose(engines[name](small)({"images": images})[0], expected, rtol=0, atol=0.05)
    assert [node.op_type for node in small.graph.node].count("LRN") == 2


def test_layers_have_a_quarter_of_the_bytes(modern: Any) -> None:
    whole, small, _ = modern
    assert small.ByteSize() < 0.3 * whole.ByteSize()


def test_weights_have_seven_bits_and_a_scale_for_each_channel(modern: Any) -> None:
    """Two products with activations of 8 bits do not saturate 16 bits, on processors without VNNI."""
    found = tensors(modern[1])
    weights = {name: values for name, values in found.items() if values.dtype == np.int8 and values.ndim > 1}
    assert len(weights) == 8
    for name, values in weights.items():
        assert 60 < np.abs(values).max() <= 64
        assert found[name.replace("_quantized", "_scale")].shape == (values.shape[0],)
    assert 2 * 255 * 64 < 2**15 < 2 * 255 * 127


def test_activations_are_unsigned_and_answers_are_not_quantised(modern: Any) -> None:
    small = modern[1]
    found = tensors(small)
    quantised = [node for node in small.graph.node if node.op_type == "QuantizeLinear"]
    assert {found[node.input[2]].dtype for node in quantised} == {np.dtype(np.uint8)}
    assert not {"probabilities", "unknown"} & {name for node in quantised for name in node.input}
    softmax = next(node for node in small.graph.node if node.op_type == "Softmax")
    assert next(node for node in small.graph.node if softmax.input[0] in node.output).op_type == "Gemm"


def test_the_score_for_none_of_these_stays_in_float32(modern: Any) -> None:
    whole, small, _ = modern
    count = [[node.op_type for node in model.graph.node].count("MatMul") for model in (whole, small)]
    assert count == [2, 2]
    assert {"known.relu7.projection", "known.relu7.twice"} <= tensors(small).keys()


def test_the_graph_that_is_given_stays_and_metadata_too(modern: Any) -> None:
    whole, _, images = modern
    given = onnx.ModelProto.FromString(whole.SerializeToString())
    helper.set_model_props(given, {"alexnet.card": "{}"})
    before = given.SerializeToString()
    found = quantise(given, [{"images": images}])
    assert given.SerializeToString() == before
    assert [(entry.key, entry.value) for entry in found.metadata_props] == [("alexnet.card", "{}")]


def test_onnxruntimes_advice_is_not_passed_on(modern: Any, caplog: pytest.LogCaptureFixture) -> None:
    handlers = list(logging.getLogger().handlers)
    quantise(modern[0], [{"images": modern[2]}])
    assert not caplog.records
    assert logging.getLogger().handlers == handlers


def test_without_images_or_layers_nothing_is_quantised(modern: Any) -> None:
    with pytest.raises(UsageError, match=r"int8 needs images .* got none; give --data DATA"):
        quantise(modern[0], [])
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "plain", [value], [value])
    graph.output[0].name = "y"
    with pytest.raises(UsageError, match=r"plain has no convolution or dense layer .* take --precision fp32"):
        quantise(helper.make_model(graph), [{"x": np.zeros(1, np.float32)}])


def test_images_are_chosen_evenly_over_classes_whatever_their_order() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20)
    rows = np.arange(1, len(labels))
    chosen = evenly(labels, rows, 15)
    assert np.bincount(labels[chosen]).tolist() == [6, 3, 6]
    assert len(set(chosen)) == 15
    assert 0 not in chosen
    assert evenly(labels, rows[::-1], 15).tolist() == chosen.tolist()
    assert evenly(labels, rows, 15, seed=1).tolist() != chosen.tolist()
    assert sorted(evenly(labels, rows, 1000)) == rows.tolist()
