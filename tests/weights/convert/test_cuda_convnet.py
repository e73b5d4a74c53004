"""cuda-convnet's checkpoints: equal answers by NumPy, layer by layer as the program computes them, both ways."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.weights.card import Card
from alexnet.weights.convert import HEAD, cuda_convnet
from alexnet.weights.convert.cuda_convnet_writer import layers
from alexnet.weights.convert.foreign import stored
from alexnet.weights.convert.layouts import empty
from alexnet.weights.convert.pickle_writer import dump

Floats = npt.NDArray[np.float32]
CIFAR = ["cifar-80sec", "cifar-19pct", "cifar-18pct", "cifar-13pct", "cifar-11pct"]


def lively(network: Network) -> Network:
    torch.manual_seed(4)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            fan = value[0].numel() if value.ndim != 3 else value.shape[1]
            value.normal_(0, 0.4 if name.endswith("bias") else (2 / fan) ** 0.5)
    return network.eval()


def card_of(network: Network) -> Card:
    names = [str(number) for number in range(network.num_classes)]
    return Card(network.name, network.num_classes, network.input_size, {}, names, {})


# --- the program in NumPy: values (channels * pixels, 1), as its matrices of one image are ---


def computed(found: dict[str, dict[str, Any]], image: Floats) -> Floats:
    """The input of the softmax for one image (3, S, S)."""
    values = {"data": image.reshape(-1)}
    for name, layer in found.items():
        if layer["type"] == "softmax":
            return values[layer["inputs"][0]]
        if layer["type"] != "data":
            values[name] = COMPUTE[layer["type"]](layer, [values[source] for source in layer["inputs"]])
    raise AssertionError("no softmax")


def _square(values: Floats, channels: int) -> Floats:
    side = int((values.size // channels) ** 0.5)
    return values.reshape(channels, side, side)


def _conv(layer: dict[str, Any], inputs: list[Floats]) -> Floats:
    """filter_acts: filters (colors, pixels, filters), from -padding on, sizes rounded up, zeros outside."""
    total: Any = 0
    for place, (values, weights) in enumerate(zip(inputs, layer["weights"], strict=True)):
        size, start, stride = (layer[key][place] for key in ("filterSize", "padding", "stride"))
        count = weights.shape[0] // size**2
        if layer["type"] == "local":
            count = weights.shape[0] // (size**2 * 36)
        x = _square(values, count)
        modules = 1 + -(-(2 * -start + x.shape[1] - size) // stride)
        x = np.pad(x, ((0, 0), (-start, size), (-start, size)))
        rows = np.stack(
            [
                x[:, stride * row : stride * row + size, stride * column : stride * column + size].reshape(-1)
                for row in range(modules)
                for column in range(modules)
            ]
        )
        if layer["type"] == "conv":
            total = total + (rows @ weights).T
        else:
            total = total + np.einsum("mr,mro->om", rows, weights.reshape(modules**2, -1, weights.shape[1]))
    biases = layer["biases"] if layer["type"] == "conv" else layer["biases"].reshape(total.shape)
    return (total + biases).reshape(-1)


def _fc(layer: dict[str, Any], inputs: list[Floats]) -> Floats:
    total: Any = sum(values @ weights for values, weights in zip(inputs, layer["weights"], strict=True))
    result: Floats = total + layer["biases"][0]
    return result


def _windows(x: Floats, size: int, stride: int, outside: float) -> Floats:
    """(channels, out, out, size * size): windows from the top left, sizes rounded up."""
    out = 1 + -(-(x.shape[1] - size) // stride)
    x = np.pad(x, ((0, 0), (0, size), (0, size)), constant_values=outside)
    found = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride][:, :out, :out]
    return found.reshape(x.shape[0], out, out, -1)


def _channels(layer: dict[str, Any]) -> int:
    return int(layer["channels"])


def _pool(layer: dict[str, Any], inputs: list[Floats]) -> Floats:
    x = _square(inputs[0], _channels(layer))
    windows = _windows(x, layer["sizeX"], layer["stride"], np.nan)
    return (np.nanmax(windows, -1) if layer["pool"] == "max" else np.nanmean(windows, -1)).reshape(-1)


def _cmrnorm(layer: dict[str, Any], inputs: list[Floats]) -> Floats:
    x = _square(inputs[0], _channels(layer))
    back = layer["size"] // 2
    squares = np.pad(x**2, ((back, back), (0, 0), (0, 0)))
    total: Any = sum(squares[shift : shift + len(x)] for shift in range(layer["size"]))
    return (x / (layer["minDiv"] + layer["scale"] * total) ** layer["pow"]).reshape(-1)


def _rnorm(layer: dict[str, Any], inputs: list[Floats]) -> Floats:
    x = _square(inputs[0], _channels(layer))
    back = layer["size"] // 2
    squares = np.pad(x**2, ((0, 0), (back, back), (back, back)))
    total = np.lib.stride_tricks.sliding_window_view(squares, (layer["size"],) * 2, (1, 2)).sum((-2, -1))
    return (x / (1 + layer["scale"] * total) ** layer["pow"]).reshape(-1)


COMPUTE: dict[str, Callable[[dict[str, Any], list[Floats]], Floats]] = {
    "conv": _conv,
    "local": _conv,
    "fc": _fc,
    "pool": _pool,
    "cmrnorm": _cmrnorm,
    "rnorm": _rnorm,
    "neuron": lambda layer, inputs: np.maximum(inputs[0], 0),
    "dropout": lambda layer, inputs: inputs[0] * np.float32(layer["keep"]),  # as in tests
}


def with_channels(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The layers with the number of channels of pools and norms, which the program states and ours leaves out."""
    for layer in found.values():
        source = layer
        while source["type"] not in ("conv", "local", "fc", "data"):
            source = found[source["inputs"][0]]
        layer["channels"] = source["weights"][0].shape[1] if "weights" in source else 3
    return found


# --- tests ---


@pytest.mark.parametrize("name", [*CIFAR, pytest.param("krizhevsky2012", marks=pytest.mark.slow)])
def test_answers_equal_the_programs_and_the_file_comes_back_exactly(name: str, tmp_path: Path) -> None:
    network = lively(empty(name, num_classes=10))
    path = tmp_path / "90.3"
    cuda_convnet.write(network, card_of(network), path)
    assert cuda_convnet.recognises(path, path.read_bytes()[:HEAD])
    theirs = pickle.loads(path.read_bytes(), encoding="latin1")["model_state"]["layers"]
    size = network.input_size
    image = np.random.default_rng(0).standard_normal((3, size, size), np.float32) * 60
    with torch.inference_mode():
        ours = network(torch.from_numpy(image)[None])[0].numpy()
    expected = computed(with_channels(theirs), image)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    found = cuda_convnet.read(path, name if name == "cifar-13pct" else None)
    assert found.network == name
    assert (found.class_names or [""])[0] == ("airplane" if name in CIFAR else "")
    back = stored(found, str(path)).tensors
    for key, value in network.state_dict().items():
        assert torch.equal(back[key], value), key


def published(network: Network) -> Any:
    """As the two programs write them: a list with inputs by place, filters of their own names, options, notes."""
    found = with_channels(layers(network))
    names = list(found)
    listed = [{**each, "inputs": [names.index(source) for source in each["inputs"]]} for each in found.values()]
    listed.append({"name": "logprob", "type": "cost.logreg", "inputs": [names.index("probs")], "outputs": 1})
    return {"layers": listed, "epoch": 5, "train_outputs": [({"logprob": [1.5, 0.5]}, 128)] * 3}


def test_list_of_layers_with_inputs_by_place_and_options_is_read(tmp_path: Path) -> None:
    network = lively(create("cifar-11pct"))
    state = b"".join(dump(published(network)))[2:-1]
    option = b"(coptions\nOption\no}U\x04nameU\x05epochsb"
    options = b"(coptions\nOptionsParser\no}U\x07options}U\x06epochs" + option + b"ssb"
    path = tmp_path / "90.3"
    path.write_bytes(b"\x80\x02}(U\x0bmodel_state" + state + b"U\x02op" + options + b"u.")
    assert cuda_convnet.recognises(path, path.read_bytes()[:HEAD])
    found = cuda_convnet.read(path)
    assert found.network == "cifar-11pct"
    assert all(torch.equal(found.tensors[key], value) for key, value in network.state_dict().items())
    path.write_bytes(path.read_bytes().replace(b"(coptions\nOption\n", b"(cposix\nsystem\n"))
    with pytest.raises(WeightsError, match="nothing of it was run"):
        cuda_convnet.read(path)


def test_weights_that_read_a_dropout_are_scaled_by_its_keep(tmp_path: Path) -> None:
    network = lively(create("cifar-19pct", dropout=0.25))
    found = layers(network)
    np.testing.assert_allclose(found["fc10"]["weights"][0].T * 0.75, network.fc10.weight.detach().numpy(), rtol=1e-6)
    path = tmp_path / "90.3"
    cuda_convnet.write(network, card_of(network), path)
    read = cuda_convnet.read(path)
    torch.testing.assert_close(read.tensors["fc10.weight"], network.fc10.weight.detach())
    found["drop10"]["enable"] = False
    path.write_bytes(b"".join(dump({"model_state": {"layers": found}})))
    torch.testing.assert_close(cuda_convnet.read(path).tensors["fc10.weight"], network.fc10.weight.detach() / 0.75)


def _set(layer: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found[layer].update(values)


def _circle(found: dict[str, Any]) -> None:
    found["conv1"]["inputs"] = ["conv2"]


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "stride": (_set("conv1", stride=[2]), "conv1 has stride 2, not 1"),
    "filters": (_set("conv2", filterSize=[3]), "conv2 has filterSize 3"),
    "norm": (_set("norm1", scale=1e-3), "norm1 has scale"),
    "neuron": (_set("neuron1", neuron={"type": "tanh"}), "tanh.* before conv2"),
    "pool": (_set("pool1", pool="avg"), "avg pool"),
    "a layer less": (lambda found: found["conv2"].update(inputs=["pool1"]), "before conv2"),
    "circle": (_circle, "form a circle"),
    "reads itself": (_set("pool1", inputs=["pool1"]), "reads itself"),
    "reads nothing": (_set("pool1", inputs=["nothing"]), "reads 'nothing'"),
    "joins": (_set("pool1", inputs=["conv1", "data"]), "joins several"),
    "no weights": (_set("conv1", weights=None), "has not one matrix"),
    "rows": (_set("conv1", weights=[np.zeros((74, 32), "f4")]), "74 rows"),
    "columns": (_set("conv1", weights=[np.zeros((75, 31), "f4")]), "biases of conv1 is 32, expected 31"),
    "not finite": (_set("conv1", biases=np.full((32, 1), np.inf, "f4")), "not finite"),
    "text": (_set("conv1", weights=["a"]), "is str"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_layers_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    found = layers(create("cifar-18pct"))
    REFUSED[name][0](found)
    path = tmp_path / "90.3"
    path.write_bytes(b"".join(dump({"model_state": {"layers": found}})))
    with pytest.raises(WeightsError, match=REFUSED[name][1]) as caught:
        cuda_convnet.read(path, "cifar-18pct")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[], {"model_state": 1}, {"model_state": {"layers": [1]}}, {"model_state": {}}])
def test_other_pickles_are_refused_in_one_line(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "90.3"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(WeightsError, match="is no checkpoint of cuda-convnet"):
        cuda_convnet.read(path)


class Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def test_hostile_and_truncated_checkpoints_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "90.3"
    path.write_bytes(pickle.dumps({"model_state": {"layers": [Touch()]}}, 2))
    with pytest.raises(WeightsError, match="nothing of it was run"):
        cuda_convnet.read(path)
    network = create("cifar-19pct")
    cuda_convnet.write(network, card_of(network), path)
    content = path.read_bytes()
    for kept in (1, 10, 300, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(WeightsError, match="damaged or truncated"):
            cuda_convnet.read(path)
    assert not Path("ran").exists()


def test_networks_it_does_not_hold_are_refused(tmp_path: Path) -> None:
    network = create("modern")
    with pytest.raises(UsageError, match="not 'modern'"):
        cuda_convnet.write(network, card_of(network), tmp_path / "90.3")
    with pytest.raises(WeightsError, match="not 'modern'"):
        cuda_convnet.read(tmp_path / "90.3", "modern")
