"""Compressed files give back the values of their codes, and are refused when damaged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from alexnet.errors import WeightsError
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.weights import card as cards
from alexnet.weights.calibration import Calibration, Known, Place
from alexnet.weights.card import Card, compressed_checksum, load, read_card, tensors_of
from alexnet.weights.coded import Coded, half_rounded
from alexnet.weights.compressed import codes_of, write

CARD = Card(
    network="modern",
    num_classes=3,
    input_size=64,
    differences={"width": 0.25},
    class_names=["crocus", "iris", "löwenzahn"],
    preprocessing={"input_size": 64, "resize": 64, "mean": [1.5, 2, 3], "std": [4, 5, 6], "store_size": 64},
)
RANDOM = np.random.default_rng(0)
PLACE = Place("pool5", *(RANDOM.normal(size=shape).astype(np.float32) for shape in ((64,), (64, 5), (3, 5))))


@pytest.fixture(scope="module")
def network() -> Network:
    """A small network; running variances far from 1, as half precision alone would lose them."""
    torch.manual_seed(0)
    network = create("modern", 3, 64, width=0.25).eval()
    network.bn3.running_var.mul_(1e9)
    network.bn4.running_var.mul_(1e-9)
    return network


def coded_as(weight: torch.Tensor, kinds: int) -> Coded:
    """Arbitrary codes in the shape of a weight."""
    codes = RANDOM.integers(0, kinds, (len(weight), weight[0].numel())).astype(np.uint8)
    scales, values = RANDOM.random(len(weight)) * 1e-4, np.sort(RANDOM.normal(size=kinds))
    return Coded(codes, *(half_rounded(each.astype(np.float32)) for each in (scales, values)), tuple(weight.shape))


@pytest.fixture(scope="module")
def coded(network: Network) -> dict[str, Coded]:
    state = network.state_dict()
    return {name: coded_as(state[name], kinds) for name, kinds in (("conv2.weight", 16), ("fc7.weight", 200))}


@pytest.fixture
def path(network: Network, coded: dict[str, Coded], tmp_path: Path) -> Path:
    made = tmp_path / "small.safetensors"
    write(made, tensors_of(network, CARD), coded, CARD)
    return made


def test_weights_are_the_values_of_their_codes_and_the_rest_is_near(
    network: Network, coded: dict[str, Coded], path: Path
) -> None:
    found, card = load(path)
    assert card == CARD
    for name, tensor in found.state_dict().items():
        if name in coded:
            assert np.array_equal(tensor.numpy(), coded[name].values())
        else:
            own = network.state_dict()[name]
            assert tensor.dtype == own.dtype
            assert (tensor - own).abs().max() <= 2**-11 * own.abs().max()
    assert {name: each.codes.tobytes() for name, each in codes_of(path).items()} == {
        name: each.codes.tobytes() for name, each in coded.items()
    }


def test_equal_weights_give_equal_bytes(network: Network, coded: dict[str, Coded], path: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.safetensors", tensors_of(network, CARD), coded, CARD)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_calibration_travels_in_half_precision(network: Network, coded: dict[str, Coded], tmp_path: Path) -> None:
    scores = np.sort(RANDOM.random(30)).astype(np.float32)
    card = replace(CARD, calibration=Calibration(0.6, Known(1.5, 2.5, (PLACE,)), scores, {"ece_after": 0.01}))
    write(tmp_path / "told.safetensors", tensors_of(network, card), coded, card)
    found = load(tmp_path / "told.safetensors").card.calibration
    assert found is not None
    assert found.to_json() == card.calibration.to_json()  # type: ignore[union-attr]
    assert found == read_card(tmp_path / "told.safetensors").calibration
    np.testing.assert_allclose(found.known.places[0].projection, PLACE.projection, atol=2e-3)  # type: ignore[union-attr]


def test_other_files_have_no_codes(network: Network, tmp_path: Path) -> None:
    cards.save(tmp_path / "plain.safetensors", network, CARD)
    (tmp_path / "text").write_text("no weights")
    assert codes_of(tmp_path / "plain.safetensors") == codes_of(tmp_path / "text") == {}


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as raised:
        load(path)
    line = str(raised.value)
    assert "\n" not in line
    assert str(path) in line
    return line


def test_truncated_and_altered_files_are_refused(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    assert "is truncated" in refusal(path)
    for place in (len(whole) - 1, len(whole) // 2, len(whole) - 3000):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "was altered or damaged" in refusal(path)


CHANGES: list[dict[str, Any]] = [
    {"coded": {"conv2.weight": [64, 12, 5, 6]}},
    {"coded": {"conv9.weight": [64, 12, 5, 5]}},
    {"coded": ["conv2.weight"]},
    {"coded": {"conv2.weight": [0, 12, 5, 5]}},
    {"coded": {"conv2.weight": "64"}},
    {"halves": [["fc8.bias", [3], 0]]},
    {"halves": [["fc8.bias", [-3], 0]]},
    {"halves": [["fc8.bias", [10**30], 0]]},
    {"halves": "all"},
    {"integers": None},
    {"integers": {"bn1.num_batches_tracked": "many"}},
]


@pytest.mark.parametrize("change", CHANGES)
def test_hostile_directories_with_a_right_checksum_are_one_line(path: Path, change: dict[str, Any]) -> None:
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    entry = json.loads(json.loads(whole[8 : 8 + size])["__metadata__"]["alexnet"])
    stored = from_bytes(whole)
    directory = {**entry["compressed"], **change}
    entry |= {"compressed": directory, "sha256": compressed_checksum(CARD, directory, stored)}
    path.write_bytes(to_bytes(stored, metadata={"alexnet": json.dumps(entry)}))
    refusal(path)


def test_codes_beyond_the_codebook_are_refused(network: Network, coded: dict[str, Coded], tmp_path: Path) -> None:
    one = coded["conv2.weight"]
    wrong = {"conv2.weight": one._replace(codebook=one.codebook[:5])}
    write(tmp_path / "wrong.safetensors", tensors_of(network, CARD), wrong, CARD)
    refusal(tmp_path / "wrong.safetensors")
