"""Programs for ExecuTorch: what they compute, proven in its runtime, known by their card, used as a model."""

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import alexnet
from alexnet.errors import UsageError, WeightsError
from alexnet.export.executorch import Program, distance
from alexnet.export.network import applied
from alexnet.export.run import export
from alexnet.inference.classifier import load
from alexnet.weights.calibration import Calibration, Known, Place
from alexnet.weights.exported import PTE_CARD, export_card


def place(layer: str, width: int) -> Place:
    draw = np.random.default_rng(0).standard_normal
    return Place(layer, *(draw(shape).astype(np.float32) for shape in ((width,), (width, 3), (4, 3))))


@pytest.mark.parametrize("resize", [80, 90])
def test_program_answers_as_model_and_calibration(make_lively: Any, make_card: Any, resize: int) -> None:
    """resize: that of the stored square, of which the centre is cut out, and another."""
    network = make_lively("modern", side=67)
    card = make_card(network, input_size=67, resize=resize, store_size=80)
    known = Known(0.5, 2.0, (place("relu3", 384), place("relu7", 64)))
    object.__setattr__(card, "calibration", Calibration(1.7, known))
    program = Program(applied(network, known), card).eval()
    stored = np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8)
    with torch.inference_mode():
        chances, unknown = program(torch.from_numpy(stored))
        logits, maps = network(alexnet.Preprocessing.from_json(card.preprocessing)(stored), return_maps=True)
    expected = card.calibration.probabilities(logits.numpy())
    features = {"relu3": maps["relu3"].mean((2, 3)).numpy(), "relu7": maps["relu7"].numpy()}
    np.testing.assert_allclose(chances, expected[0], rtol=0, atol=2e-5)
    np.testing.assert_allclose(unknown, known.unknown(expected, features)[0], rtol=1e-4)


def test_distance_is_that_of_the_calibration() -> None:
    features = np.random.default_rng(2).standard_normal((5, 9)).astype(np.float32)
    found = distance(place("relu7", 9), torch.from_numpy(features))
    np.testing.assert_allclose(found, place("relu7", 9).distance(features), rtol=1e-4)


def test_without_the_package_nothing_is_written(
    small_run: "alexnet.Run", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    monkeypatch.setitem(sys.modules, "executorch.backends.xnnpack.partition.xnnpack_partitioner", None)
    with pytest.raises(UsageError, match=r"needs the package executorch; .* pip install executorch"):
        export(small_run.folder, "executorch", out=tmp_path / "x.pte")
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_known_by_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pte"
    text = PTE_CARD + (
        b'{"network": "modern", "class_names": ["a"], "preprocessing":'
        b' {"input_size": 63, "resize": 63, "mean": [0, 0, 0], "std": [1, 1, 1]}}'
    )
    path.write_bytes(b"\x08\0\0\0ET12....")
    assert export_card(path) is None
    path.write_bytes(b"\x08\0\0\0ET12...." + struct.pack("<I", len(text)) + text + b"\0....")
    card = export_card(path)
    assert card is not None
    assert card.class_names == ["a"]
    monkeypatch.setitem(sys.modules, "executorch.runtime", None)
    with pytest.raises(UsageError, match=r"pip install executorch"):
        alexnet.load(path)
    path.write_bytes(path.read_bytes().replace(b'["a"]', b"[0]  "[:5]).replace(b"network", b"netwerk"))
    with pytest.raises(WeightsError, match="its card is damaged"):
        alexnet.load(path)


@pytest.mark.slow
def test_export_answers_in_its_runtime_and_is_a_model(small_run: "alexnet.Run", tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    out = tmp_path / "digits.pte"
    written = export(small_run.folder, "executorch", out=out)
    assert written.proof.photos == written.proof.agree > 0
    assert written.proof.difference < 1e-5
    photo = np.random.default_rng(1).integers(0, 256, (90, 31, 3), np.uint8)
    (own,), (found,) = load(small_run.folder, "cpu").predict(photo), alexnet.load(out).predict(photo)
    chances = [{guess.label: guess.probability for guess in each.predictions} for each in (own, found)]
    assert chances[1] == pytest.approx(chances[0], abs=1e-5)
