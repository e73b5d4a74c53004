"""The core of exports: probabilities and the score for 'none of these' as ours, in every engine, for any batch."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from alexnet.errors import UsageError
from alexnet.export.network import core, halve
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.ops import LocalResponseNorm
from alexnet.weights.calibration import Calibration, Known, Place
from alexnet.weights.card import Card

SMALL = ["cifar-80sec", "cifar-19pct", "cifar-18pct", "cifar-13pct", "cifar-11pct"]
LARGE = ["modern", "krizhevsky2012", "paper", "bvlc", "caffenet", "one_weird_trick", "article"]
SIDE = 67  # of the large ones' input: every layer has work to do, for a tenth of the time
Lively, Make = Callable[..., Network], Callable[..., Card]


def assert_equal(found: Any, expected: Any) -> None:
    """Within 1e-5 of the largest probability."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_every_engine_answers_as_our_network_for_batches_of_1_3_and_64(
    name: str, make_lively: Lively, make_card: Make, make_images: Any, engines: Any
) -> None:
    network = make_lively(name, side=None if name in SMALL else SIDE)
    model = core(network, make_card(network))
    most = 5 if name == "article" else 64  # it enlarges what it is given to 224 px
    images = make_images(network, most)
    with torch.inference_mode():
        expected = network(images).softmax(1).numpy()
    assert expected.max(1).mean() < 0.99  # a softmax that is not saturated
    for engine, opened in engines.items():
        run = opened(model)
        for count in (1,) if engine == "reference" else (1, 3, most):
            (found,) = run({"images": images[:count].numpy()})
            assert_equal(found, expected[:count])


def test_graph_has_true_lrn_nodes_and_no_batchnorm(make_lively: Lively, make_card: Make) -> None:
    local, modern = make_lively("cifar-11pct"), make_lively("modern", side=SIDE)
    kinds = Counter(node.op_type for node in core(local, make_card(local)).graph.node)
    norms = [stage for _, stage in local.stages() if isinstance(stage, LocalResponseNorm)]
    assert norms
    assert kinds["LRN"] == len(norms)
    assert kinds["Slice"] == 0
    assert "BatchNormalization" not in {node.op_type for node in core(modern, make_card(modern)).graph.node}


def test_lrn_with_an_even_window_is_refused(make_card: Make) -> None:
    network = create("cifar-11pct", 4)
    norm = next(stage for _, stage in network.stages() if isinstance(stage, LocalResponseNorm))
    norm.size = 4
    with pytest.raises(UsageError, match="window of 4"):
        core(network, make_card(network))


@pytest.fixture
def calibrated(make_lively: Lively, make_card: Make) -> tuple[Network, Card]:
    network = make_lively("modern", side=SIDE)
    rng = np.random.default_rng(0)
    places = tuple(
        Place(
            layer,
            rng.normal(size=width).astype(np.float32) / 20,
            rng.normal(size=(width, 5)).astype(np.float32),
            rng.normal(size=(3, 5)).astype(np.float32),
        )
        for layer, width in (("pool5", 256), ("relu7", 64))
    )
    return network, replace(make_card(network), calibration=Calibration(0.6, Known(0.4, 1.7, places)))


@pytest.mark.parametrize("layer", ["relu7", "fc7", "drop7"])
def test_temperature_and_unknown_are_those_of_the_calibration(
    layer: str, calibrated: tuple[Network, Card], make_images: Any, engines: Any
) -> None:
    """Of two layers; fc7 has BatchNorm after it and drop7 is none at all once folded; pool5's maps are averaged."""
    network, card = calibrated
    card = read_from(card, layer)
    calibration = card.calibration
    assert calibration is not None
    assert calibration.known is not None
    images = make_images(network, 3)
    with torch.inference_mode():
        logits, maps = network(images, return_maps=True)
    chances = calibration.probabilities(logits.numpy())
    expected = calibration.known.unknown(chances, {"pool5": maps["pool5"].mean((2, 3)), layer: maps[layer]})
    model = core(network, card)
    for engine in ("onnxruntime", "reference"):
        found, unknown = engines[engine](model)({"images": images.numpy()})
        assert_equal(found, chances)
        np.testing.assert_allclose(unknown, expected, rtol=2e-5)


def read_from(card: Card, layer: str) -> Card:
    """The card, whose calibration reads this layer in place of its last one."""
    assert card.calibration is not None
    known = card.calibration.known
    assert known is not None
    places = (known.places[0], replace(known.places[1], layer=layer))
    return replace(card, calibration=replace(card.calibration, known=replace(known, places=places)))


def test_calibration_of_a_layer_that_is_not_there_is_refused(calibrated: tuple[Network, Card]) -> None:
    network, card = calibrated
    with pytest.raises(UsageError, match="fc9"):
        core(network, read_from(card, "fc9"))


def test_half_precision_halves_the_file_and_hardly_moves_the_answers(
    make_lively: Lively, make_card: Make, make_images: Any, engines: Any
) -> None:
    network = make_lively("cifar-13pct")
    model = core(network, make_card(network))
    images = {"images": make_images(network, 3).numpy()}
    (expected,) = engines["onnxruntime"](model)(images)
    before = len(model.SerializeToString())
    halve(model)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.SerializeToString()) < 0.55 * before
    for engine in ("onnxruntime", "openvino"):
        (found,) = engines[engine](model)(images)
        assert 0 < np.abs(found - expected).max() < 0.01
    assert found.dtype == np.float32


def test_weights_beyond_half_precision_are_refused(make_card: Make) -> None:
    network = create("cifar-19pct", 4)
    with torch.no_grad():
        network.get_parameter("conv2.weight")[0, 0, 0, 0] = 1e5
    with pytest.raises(UsageError, match=r"conv2.weight reaches 100000, which half precision cannot hold"):
        halve(core(network, make_card(network)))
