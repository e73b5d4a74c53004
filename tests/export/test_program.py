"""The engine answers as the network does: every layer, every fit, the heat map, and the score for 'none of these'."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from alexnet.compression.network import shared
from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError, WeightsError
from alexnet.explain.activations import last_map_layer
from alexnet.export.engine import wasm
from alexnet.export.engine.host import Host
from alexnet.export.program import FITS, KINDS, program
from alexnet.networks import create, list_networks
from alexnet.networks.layers import LocallyConnected2d, Network
from alexnet.weights import entropy
from alexnet.weights.calibration import Calibration, Known, Place

pytest.importorskip("wasmtime", reason="the engine is run by wasmtime, which is not installed")
CLASSES = 7
QUICK: dict[str, dict[str, Any]] = {
    "modern": {"width": 0.25, "input_size": 67},
    "cifar-80sec": {"norm": "both", "activation": "tanh"},
    "cifar-19pct": {"norm": "batch", "pool": 2},
    "cifar-18pct": {"activation": "sigmoid"},
    "cifar-11pct": {"input_size": 29},
}


def photo(height: int, width: int) -> Pixels:
    """Smooth in one corner, noise in the other."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], 2)
    mixed: Pixels = np.where((rows + columns)[..., None] * 2 < height + width, smooth, noise).astype(np.uint8)
    return mixed


def trained(name: str, **differences: Any) -> Network:
    """A network whose BatchNorms and biases are not those of the first step, and whose logits differ."""
    torch.manual_seed(0)
    network = create(name, CLASSES, **differences).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                for values, low, high in ((layer.running_mean, -1, 1), (layer.running_var, 0.5, 2)):
                    assert values is not None
                    values.uniform_(low, high)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-1, 1)
            elif isinstance(layer, nn.Conv2d | nn.Linear | LocallyConnected2d):
                layer.weight.mul_(0.5 / (layer.weight.std() * layer.weight[0].numel() ** 0.5))
                if layer.bias is not None:
                    layer.bias.uniform_(-0.2, 0.2)
    return network


def preprocessing_of(network: Network, **other: Any) -> Preprocessing:
    side = network.input_size
    usual = Preprocessing(side, side + side // 7, network.mean, network.std, store_size=side + side // 5)
    return replace(usual, **other)


def hosted(network: Network, preprocessing: Preprocessing, precision: str = "fp32", build: str = "simd") -> Any:
    made = program(network, preprocessing, None, precision)
    return made, Host(made.model, wasm(build))


def check_answers(network: Network, build: str) -> None:
    preprocessing, image = preprocessing_of(network), photo(90, 70)
    made, host = hosted(network, preprocessing, build=build)
    given = preprocessing(image)
    with torch.inference_mode():
        logits, maps = network(given, return_maps=True)
    probabilities = host.answer(image)
    np.testing.assert_allclose(probabilities, logits.softmax(1)[0].numpy(), atol=2e-5)
    found = host.output(len(made.layers) - 1, CLASSES)
    assert np.abs(found - logits[0].numpy()).max() <= 2e-5 * logits.abs().max()
    name = last_map_layer(network)
    last = maps[name][0].permute(1, 2, 0).numpy()
    if made.layers[made.stages[name]].out_shape == last.shape:
        own = host.output(made.stages[name], last.size).reshape(last.shape)
        assert np.abs(own - last).max() <= 2e-5 * np.abs(last).max()


@pytest.mark.parametrize("build", ["relaxed", "simd", "scalar"])
@pytest.mark.parametrize("name", QUICK)
def test_the_engine_answers_as_the_network(name: str, build: str) -> None:
    check_answers(trained(name, **QUICK[name]), build)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_networks())
def test_the_engine_answers_as_every_network_at_its_own_size(name: str) -> None:
    check_answers(trained(name), "simd")


@pytest.mark.parametrize("name", ["modern", "cifar-80sec", "cifar-19pct", "cifar-11pct"])
def test_the_heat_map_is_grad_cam(name: str) -> None:
    from captum.attr import LayerGradCam

    network, image, label = trained(name, **QUICK[name]), photo(60, 60), 3
    preprocessing = preprocessing_of(network)
    stage = dict(network.stages())[last_map_layer(network)]
    explained = LayerGradCam(lambda images: network(images, return_maps=True)[0], stage)
    given = preprocessing(image).requires_grad_()
    cam = explained.attribute(given, target=label, relu_attributions=True)[0, 0].detach().numpy()
    made, host = hosted(network, preprocessing)
    host.answer(image)
    found = host.heat(label, cam.size).reshape(made.map_shape)
    assert cam.max() > 0, "a map without heat would show nothing"
    np.testing.assert_allclose(found, cam / cam.max(), atol=1e-4)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(50, 81), (200, 33), (40, 40), (1, 5)])
def test_the_engine_prepares_a_picture_as_python_does(fit: str, shape: tuple[int, int]) -> None:
    """Within one level where Pillow resizes what is not square, in an order of its own; else up to rounding."""
    levels = 0.001 if fit == "crop" or shape[0] == shape[1] else 1.001
    network = create("cifar-19pct", CLASSES, input_size=24).eval()
    for resize in (24, 31, 40):  # equal to the store's side: copied, not resized
        preprocessing = preprocessing_of(network, fit=fit, store_size=40, resize=resize)
        _, host = hosted(network, preprocessing)
        image = photo(*shape)
        host.answer(image)
        np.testing.assert_allclose(host.input(), preprocessing(image)[0].permute(1, 2, 0).numpy(), rtol=0, atol=levels)


@pytest.mark.parametrize(("precision", "worst"), [("fp16", 0.003), ("int8", 0.05), ("int4", 0.5)])
def test_fewer_bits_give_nearly_the_same_answer(precision: str, worst: float) -> None:
    network = trained("modern", **QUICK["modern"])
    preprocessing, image = preprocessing_of(network), photo(90, 70)
    with torch.inference_mode():
        logits = network(preprocessing(image))[0].numpy()
    made, host = hosted(network, preprocessing, precision)
    host.answer(image)
    assert 0 < np.abs(host.output(len(made.layers) - 1, CLASSES) - logits).max() <= worst * np.abs(logits).max()


@pytest.mark.parametrize("layers", [("relu7",), ("relu5", "pool5", "relu7"), ("bn6", "flatten")])
def test_temperature_and_none_of_these_are_those_of_the_card(layers: tuple[str, ...]) -> None:
    network = trained("modern", **QUICK["modern"])
    preprocessing, image = preprocessing_of(network), photo(90, 70)
    with torch.inference_mode():
        logits, maps = network(preprocessing(image), return_maps=True)
    features = {layer: maps[layer].mean((2, 3)) if maps[layer].ndim == 4 else maps[layer] for layer in layers}
    draw = np.random.default_rng(0).normal
    places = []
    for layer, found in features.items():
        width = found.shape[1]
        arrays = (draw(0, 0.1, width), draw(0, 1, (width, 5)), draw(0, 1, (4, 5)))
        places.append(Place(layer, *(array.astype(np.float32) for array in arrays)))
    known = Known(0.7, 1.3, tuple(places))
    calibration = Calibration(0.6, known)
    made = program(network, preprocessing, calibration, "fp32")
    host = Host(made.model, wasm("simd"))
    expected = calibration.probabilities(logits.numpy())
    np.testing.assert_allclose(host.answer(image), expected[0], atol=2e-5)
    assert host.unknown() == pytest.approx(float(known.unknown(expected, features)[0]), rel=1e-4)


def test_without_a_calibration_nothing_is_unknown() -> None:
    network = create("cifar-19pct", CLASSES).eval()
    _, host = hosted(network, preprocessing_of(network))
    host.answer(photo(32, 32))
    assert host.unknown() == -1


def test_a_layer_that_the_engine_lacks_is_named() -> None:
    network = create("cifar-19pct", CLASSES).eval()
    network.neuron3 = nn.ELU()
    with pytest.raises(UsageError, match=r"cifar-19pct .* like neuron3, ELU.*export it as onnx"):
        program(network, preprocessing_of(network))


def test_a_model_of_other_values_than_bytes_is_refused() -> None:
    network = create("cifar-19pct", CLASSES).eval()
    with pytest.raises(UsageError, match="values 0 to 4095"):
        program(network, preprocessing_of(network, value_range=(0.0, 4095.0)))


def test_kinds_are_in_the_order_of_the_engine() -> None:
    from alexnet.export.engine import FOLDER

    text = (FOLDER / "engine.h").read_text(encoding="utf-8").split("enum Kind {")[1].split("}")[0]
    assert [name.strip().lower() for name in text.split(",")] == list(KINDS)


@pytest.mark.parametrize(
    ("name", "build"),
    [("modern", "simd"), *(pytest.param("cifar-80sec", build, marks=pytest.mark.slow) for build in ("simd", "scalar"))],
)
def test_the_engine_answers_as_the_network_of_shared_weights(name: str, build: str) -> None:
    network = trained(name, **QUICK[name])
    preprocessing, image = preprocessing_of(network), photo(90, 70)
    found, coded = shared(network, 4)
    stages = {key.removesuffix(".weight"): each for key, each in coded.items()}
    made = program(found, preprocessing, None, "int4", stages)
    with torch.inference_mode():
        logits = found(preprocessing(image))[0].numpy()
    host = Host(made.model, wasm(build))
    host.answer(image)
    assert np.abs(host.output(len(made.layers) - 1, CLASSES) - logits).max() <= 1e-4 * np.abs(logits).max()
    assert any(layer.codes for layer in made.layers)
    assert len(made.model) < len(program(network, preprocessing, None, "int4").model)


def test_damaged_codes_are_no_model() -> None:
    network = trained("cifar-80sec", **QUICK["cifar-80sec"])
    found, coded = shared(network, 4)
    stages = {key.removesuffix(".weight"): each for key, each in coded.items()}
    model = program(found, preprocessing_of(network), None, "int4", stages).model
    of_conv2 = coded["conv2.weight"]
    codes = of_conv2.codes.reshape(of_conv2.shape).transpose(0, 2, 3, 1).ravel()
    record = entropy.encode(codes, len(of_conv2.codebook))
    at = model.index(record)
    damaged = model[:at] + bytes([model[at] ^ 1]) + model[at + 1 :]
    with pytest.raises(WeightsError, match="no model"):
        Host(damaged, wasm("simd"))
