"""bvlc_alexnet.npy: equal answers by NumPy from the file's arrays, both ways, and files that are refused."""

import os
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
from alexnet.weights.convert import HEAD, numpy_dict
from alexnet.weights.convert.foreign import stored
from alexnet.weights.convert.layouts import empty

Floats = npt.NDArray[np.float32]
SIDES = {"conv1": (11, 3, 96), "conv2": (5, 48, 256), "conv3": (3, 256, 384), "conv4": (3, 192, 384)}
SIDES |= {"conv5": (3, 192, 256)}
UNITS = {"fc6": (9216, 4096), "fc7": (4096, 4096)}


def pattern(shape: tuple[int, ...], scale: float = 1) -> Floats:
    """Random numbers, repeated after a prime number of them: quicker than as many of their own."""
    few = np.random.default_rng(len(shape)).standard_normal(100_003, np.float32)
    return np.resize(few * np.float32(scale), shape)


def file_of(classes: int = 5) -> dict[str, list[Floats]]:
    """A dictionary as Toronto's, of other numbers."""
    shapes = {name: (side, side, into, out) for name, (side, into, out) in SIDES.items()}
    shapes |= UNITS | {"fc8": (4096, classes)}
    return {
        name: [pattern(shape, 1.5 / np.prod(shape[:-1]) ** 0.5), pattern(shape[-1:])] for name, shape in shapes.items()
    }


def saved(path: Path, content: Any) -> Path:
    np.save(path, content, allow_pickle=True)
    return path


def card_of(network: Network) -> Card:
    names = [str(number) for number in range(network.num_classes)]
    return Card(network.name, network.num_classes, network.input_size, {}, names, {})


@pytest.mark.parametrize("name", ["bvlc", pytest.param("caffenet", marks=pytest.mark.slow)])
def test_answers_equal_those_computed_from_the_file_by_numpy(
    name: str, tmp_path: Path, caffe_images: Floats, caffe_logits: Callable[..., Floats]
) -> None:
    layers = file_of()
    path = saved(tmp_path / "bvlc_alexnet.npy", layers)
    found = stored(numpy_dict.read(path, name), str(path))
    network = empty(name, num_classes=5).eval()
    network.load_state_dict(found.tensors)
    with torch.inference_mode():
        ours = network(torch.from_numpy(caffe_images).permute(2, 0, 1)[None])[0].numpy()
    theirs = caffe_logits(caffe_images[..., ::-1], layers, name == "caffenet")
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
    assert found.card.preprocessing["fit"] == "warp"
    assert any("blue, green, red" in note for note in found.card.training["notes"])


@pytest.mark.slow
def test_round_trip_is_exact_and_numpy_reads_what_is_written(tmp_path: Path) -> None:
    layers = file_of()
    path = saved(tmp_path / "theirs.npy", {name: {"weights": w, "biases": b} for name, (w, b) in layers.items()})
    network = empty("bvlc", num_classes=5)
    network.load_state_dict(numpy_dict.read(path).tensors)
    written = tmp_path / "ours.npy"
    numpy_dict.write(network, card_of(network), written)
    assert numpy_dict.recognises(written, written.read_bytes()[:HEAD])
    found = np.load(written, allow_pickle=True, encoding="latin1").item()
    assert list(found) == list(layers)
    for name, (weight, bias) in layers.items():
        np.testing.assert_array_equal(found[name][0], weight)
        np.testing.assert_array_equal(found[name][1], bias)
    again = numpy_dict.read(written, "caffenet")
    assert again.network == "caffenet"
    assert all(torch.equal(again.tensors[key], value) for key, value in network.state_dict().items())


def test_arrays_of_numbers_are_not_recognised(tmp_path: Path) -> None:
    path = saved(tmp_path / "mean.npy", np.zeros((3, 256, 256)))
    assert not numpy_dict.recognises(path, path.read_bytes()[:HEAD])


class Touch:
    """Pickled as a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


NAMES = [*SIDES, *UNITS, "fc8"]
SMALL: dict[str, Any] = {name: [np.zeros((1, 1), "f4"), np.zeros(1, "f4")] for name in NAMES}
NAN = SMALL | {"conv1": [np.full((11, 11, 3, 96), np.nan, "f4"), np.zeros(96, "f4")]}
BROKEN: dict[str, tuple[Any, str]] = {
    "a command": ({"conv1": Touch()}, "nothing of it was run"),
    "no dictionary": (np.array([1, None]), "holds no dictionary"),
    "other layers": (SMALL | {"conv6": 1}, "conv6"),
    "a missing layer": ({name: SMALL[name] for name in NAMES[1:]}, "conv1 missing"),
    "other shapes": (SMALL, "bias of conv1 is 1, expected 96"),
    "no pairs": (dict.fromkeys(NAMES, 5), "no pair of weights and biases"),
    "text": (dict.fromkeys(NAMES, ("a", "b")), "conv1 is str"),
    "not finite": (NAN, "not finite"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_other_content_is_refused_in_one_line(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, reason = BROKEN[name]
    path = saved(tmp_path / "weights.npy", content)
    with pytest.raises(WeightsError, match=reason) as caught:
        numpy_dict.read(path)
    assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize("kept", [3, 40, 100, 300, -1])
def test_truncated_file_is_refused_in_one_line(tmp_path: Path, kept: int) -> None:
    path = saved(tmp_path / "weights.npy", {"conv1": [np.zeros((11, 11, 3, 96), "f4"), np.zeros(96, "f4")]})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"damaged") as caught:
        numpy_dict.read(path)
    assert "\n" not in str(caught.value)


def test_other_networks_are_refused_both_ways(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.npy", {})
    with pytest.raises(WeightsError, match="not 'modern'"):
        numpy_dict.read(path, "modern")
    network = create("cifar-19pct")
    with pytest.raises(UsageError, match="bvlc, caffenet"):
        numpy_dict.write(network, card_of(network), tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()
