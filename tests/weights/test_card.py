"""Weights load exactly as they were saved, with their card; all other files are refused in one line."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from alexnet.errors import AlexNetError, WeightsError
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.weights.calibration import Calibration, Known, Place
from alexnet.weights.card import Card, checksum, fill, load, model_file, read_card, save

CARD = Card(
    network="modern",
    num_classes=3,
    input_size=64,
    differences={"width": 0.25, "dropout": 0.1},
    class_names=["crocus", "iris", "löwenzahn"],
    preprocessing={"input_size": 64, "resize": 64, "mean": [1.5, 2, 3], "std": [4, 5, 6], "store_size": 64},
    training={"recipe": "modern", "epochs": 2, "scores": {"top1": 0.1 + 0.2}},
)


@pytest.fixture(scope="module")
def network() -> Network:
    """A small network with BatchNorm statistics of one batch."""
    torch.manual_seed(0)
    network = create("modern", 3, 64, **CARD.differences)
    network(torch.rand(4, 3, 64, 64))
    return network.eval()


@pytest.fixture
def path(network: Network, tmp_path: Path) -> Path:
    save(tmp_path / "net.safetensors", network, CARD)
    return tmp_path / "net.safetensors"


def write(path: Path, tensors: dict[str, Tensor], of: Card = CARD, **changes: object) -> Path:
    """Write a weights file with a correct checksum, for cards and tensors that `save` refuses."""
    entry = {"format": 1, "card": of.to_json(), "sha256": checksum(of, tensors), **changes}
    path.write_bytes(to_bytes(tensors, metadata={"alexnet": json.dumps(entry)}))
    return path


def refusal(path: Path) -> str:
    """The one-line message of the WeightsError."""
    with pytest.raises(WeightsError) as raised:
        load(path)
    line = str(raised.value)
    assert "\n" not in line
    assert str(path) in line
    return line


# --- save and load ---


def test_loaded_network_has_equal_outputs_and_card(network: Network, path: Path) -> None:
    again, card = load(path)
    batch = torch.rand(2, 3, 64, 64)
    assert card == CARD
    assert torch.equal(again(batch), network(batch))


def test_batchnorm_statistics_and_counters_are_stored(network: Network, path: Path) -> None:
    state, wanted = load(path)[0].state_dict(), network.state_dict()
    assert state.keys() == wanted.keys()
    assert state["bn1.num_batches_tracked"] == 1
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def test_loaded_network_is_in_evaluation_mode(path: Path) -> None:
    assert not any(module.training for module in load(path)[0].modules())


def test_loading_does_not_change_the_random_generator(path: Path) -> None:
    before = torch.get_rng_state()
    load(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_weights_give_equal_bytes(network: Network, path: Path, tmp_path: Path) -> None:
    save(tmp_path / "again.safetensors", network, CARD)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_weights_are_stored_in_float32_and_contiguous(tmp_path: Path) -> None:
    network = create("modern", 3, 64, **CARD.differences).to(memory_format=torch.channels_last).double()
    save(tmp_path / "w.safetensors", network, CARD)
    stored = from_bytes((tmp_path / "w.safetensors").read_bytes())
    assert {t.dtype for t in stored.values()} == {torch.float32, torch.int64}  # int64: BatchNorm's counters
    assert torch.equal(stored["conv2.weight"], network.conv2.weight.float())


def test_card_can_be_read_alone(path: Path) -> None:
    assert read_card(path) == CARD


def test_safetensors_itself_reads_the_tensors(network: Network, path: Path) -> None:
    assert torch.equal(from_bytes(path.read_bytes())["fc8.weight"], network.fc8.weight)


def test_failed_write_is_reported(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(AlexNetError, match="cannot write"):
        save(tmp_path / "file" / "net.safetensors", network, CARD)


# --- calibration ---


@pytest.fixture
def calibrated(network: Network, tmp_path: Path) -> Path:
    mean, projection, centres = (np.random.default_rng(0).random(shape, np.float32) for shape in ((4,), (4, 2), (3, 2)))
    known = Known(1.5, 0.1 + 0.2, (Place("pool5", mean, projection, centres),))
    card = replace(CARD, calibration=Calibration(0.75, known, mean, {"images": {"val": 9}}))
    save(tmp_path / "calibrated.safetensors", network, card)
    return tmp_path / "calibrated.safetensors"


def test_calibration_and_its_tensors_come_back(network: Network, path: Path, calibrated: Path) -> None:
    again, card = load(calibrated)
    batch = torch.rand(2, 3, 64, 64)
    assert card.calibration is not None
    assert card.calibration.known is not None
    assert card.calibration.known.threshold == 0.1 + 0.2
    assert card == read_card(calibrated) != read_card(path)
    assert torch.equal(again(batch), network(batch))
    save(calibrated.with_name("again.safetensors"), again, card)
    assert calibrated.with_name("again.safetensors").read_bytes() == calibrated.read_bytes()


def test_file_without_a_calibration_is_as_it_was_before_there_were_any(path: Path) -> None:
    head = path.read_bytes()[:5000]
    assert b"calibration" not in head
    assert b'\\"format\\": 1' in head


def test_changed_calibration_is_detected(calibrated: Path) -> None:
    content = calibrated.read_bytes()
    calibrated.write_bytes(content.replace(b"0.75", b"0.85"))
    assert "altered" in refusal(calibrated)
    changed = from_bytes(content)["calibration.pool5.projection"].numpy().tobytes()
    calibrated.write_bytes(content.replace(changed, changed[::-1]))
    assert "altered" in refusal(calibrated)


# --- damage ---


@pytest.mark.parametrize("kept", [20, 0.1, 0.5, 0.999])
def test_truncated_file_is_refused_as_truncated(path: Path, kept: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("kept", [0, 5])
def test_file_shorter_than_a_header_is_refused(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert (f"{kept} bytes" if kept else "it is empty") in refusal(path)


@pytest.mark.parametrize("place", [-1, -5000, -100_000])
def test_one_changed_byte_of_a_tensor_is_detected(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert "altered" in refusal(path)


def test_changed_class_name_is_detected(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"crocus", b"cactus"))
    assert "altered" in refusal(path)


def test_swapped_tensors_are_detected(path: Path) -> None:
    content = path.read_bytes()
    for old, new in ((b"bn6", b"tmp"), (b"bn7", b"bn6"), (b"tmp", b"bn7")):
        content = content.replace(old + b".running_mean", new + b".running_mean")
    path.write_bytes(content)
    assert "altered" in refusal(path)


def test_header_that_is_not_json_is_refused(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:9] + b"\xff" + content[10:])
    assert "damaged" in refusal(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.safetensors")
    assert "directory" in refusal(tmp_path)


# --- pickles ---


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def torch_zip(path: Path, trap: Trap) -> None:
    torch.save({"weight": torch.zeros(2), "trap": trap}, path)


def torch_legacy(path: Path, trap: Trap) -> None:
    torch.save({"weight": torch.zeros(2), "trap": trap}, path, _use_new_zipfile_serialization=False)


def plain_pickle(path: Path, trap: Trap) -> None:
    path.write_bytes(pickle.dumps(trap))


@pytest.mark.parametrize("make", [torch_zip, torch_legacy, plain_pickle])
@pytest.mark.parametrize("name", ["net.pth", "pytorch_model.bin", "renamed.safetensors"])
def test_pickle_is_refused_and_never_executed(make: object, name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    make(tmp_path / name, Trap(marker))
    assert "pickle" in refusal(tmp_path / name)
    assert not marker.exists()


def test_header_of_640_bytes_is_not_mistaken_for_a_pickle(tmp_path: Path) -> None:
    # 640 is written 80 02 00..., and 80 02 is how a pickle of protocol 2 begins.
    empty = len(to_bytes({"w": torch.zeros(1)}, metadata={"note": ""})) - 8 - 4
    content = to_bytes({"w": torch.zeros(1)}, metadata={"note": "x" * (640 - empty)})
    assert content[:2] == b"\x80\x02"
    (tmp_path / "w.safetensors").write_bytes(content)
    assert "has no card" in refusal(tmp_path / "w.safetensors")


# --- other files, other networks ---


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_file_without_a_card_is_refused_with_the_fields_of_a_card(metadata: dict | None, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(to_bytes({"w": torch.zeros(1)}, metadata=metadata))
    line = refusal(tmp_path / "w.safetensors")
    assert "has no card" in line
    assert all(key in line for key in CARD.to_json())


def test_missing_keys_of_a_card_are_named(tmp_path: Path) -> None:
    half = {key: value for key, value in CARD.to_json().items() if key not in ("class_names", "preprocessing")}
    assert "lacks class_names, preprocessing" in refusal(write(tmp_path / "w", {"w": torch.zeros(1)}, card=half))


def test_card_of_a_later_format_is_refused(tmp_path: Path) -> None:
    assert "newer alexnet" in refusal(write(tmp_path / "w", {"w": torch.zeros(1)}, format=4))


@pytest.mark.parametrize("entry", ["[]", "not JSON", '{"format": 1, "card": 5}', "null"])
def test_damaged_card_is_refused(entry: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(to_bytes({"w": torch.zeros(1)}, metadata={"alexnet": entry}))
    assert "damaged card" in refusal(tmp_path / "w")


def test_tensors_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    line = refusal(write(tmp_path / "w", {"features.0.weight": torch.zeros(64, 3, 11, 11)}))
    assert "another network" in line
    assert "'modern' with 3 classes" in line
    assert "'features.0.weight'" in line


def test_other_number_of_classes_is_reported(network: Network, tmp_path: Path) -> None:
    five = create("modern", 5, 64, **CARD.differences).state_dict()
    line = refusal(write(tmp_path / "w", dict(five)))
    assert "with 3 classes" in line
    assert "the file is for 5 classes" in line


def test_other_width_is_reported_with_both_shapes(tmp_path: Path) -> None:
    wider = create("modern", 3, 64, width=0.5).state_dict()
    line = refusal(write(tmp_path / "w", dict(wider)))
    assert "expected 32 x 3 x 11 x 11 for conv1.weight, found 48 x 3 x 11 x 11" in line


def test_unknown_network_on_the_card_is_refused(network: Network, tmp_path: Path) -> None:
    later = replace(CARD, network="modem", differences={})
    assert "unknown network 'modem'" in refusal(write(tmp_path / "w", dict(network.state_dict()), later))


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ({"network": "article", "differences": {"hidden": 10**12}}, "too large for this machine"),
        ({"differences": ["width"]}, "differences are"),
        ({"class_names": ["a", 2, {"b": 1}]}, "class_names are"),
    ],
)
def test_a_card_that_asks_for_the_impossible_is_one_line(card: dict, told: str, tmp_path: Path) -> None:
    line = refusal(write(tmp_path / "w", {"w": torch.zeros(1)}, replace(CARD, **card)))
    assert told in line
    assert "\n" not in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name on this system")
def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="is a pipe or a device"):
        model_file(tmp_path / "pipe")


def test_tensors_that_do_not_fit_leave_the_network_unchanged(network: Network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {name: tensor + 1 for name, tensor in before.items()} | {"fc8.bias": torch.zeros(4)}
    with pytest.raises(WeightsError, match=r"here\.pt does not fit"):
        fill(network, tensors, "here.pt")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_card_of_another_network_is_not_saved(network: Network, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'bvlc' with 3 classes.*'modern' with 3"):
        save(tmp_path / "w", network, replace(CARD, network="bvlc"))
    assert not (tmp_path / "w").exists()


def test_card_needs_one_name_for_each_class() -> None:
    with pytest.raises(WeightsError, match="2 classes for 3 outputs"):
        replace(CARD, class_names=["a", "b"])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("w.npz", b"PK\x03\x04and more", "a zip file and none"),
        ("w.pkl", b"\x80\x04and more", "is a pickle"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("model.safetensors.index.json", b"{}", "join them"),
    ],
)
def test_files_that_are_no_model_are_told_what_they_are(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=told):
        load(tmp_path / name)
