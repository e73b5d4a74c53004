"""A run is calibrated at its end where there is a validation part."""

from pathlib import Path

import numpy as np
import pytest
import torch

import alexnet
from alexnet.training.calibrating import at_temperature
from alexnet.weights.calibration import Calibration
from alexnet.weights.card import read_card


def test_finished_run_has_a_calibration_and_its_metrics_are_the_calibrated_ones(
    calibrated_run: "alexnet.Run", small_data: Path, tmp_path: Path
) -> None:
    found = read_card(calibrated_run.folder / "weights" / "best.safetensors").calibration
    assert found is not None
    assert found.measured["images"] == {"train": 12, "val": 21}
    assert calibrated_run.metrics["temperature"] == found.temperature
    again = alexnet.evaluate(calibrated_run, small_data, out=tmp_path)
    assert again.images == calibrated_run.metrics["images"]
    assert again.ece == pytest.approx(calibrated_run.metrics["ece"], abs=0.01)  # training computes in another precision


def test_run_of_few_images_is_not_calibrated(small_run: "alexnet.Run") -> None:
    assert read_card(small_run.folder / "weights" / "best.safetensors").calibration is None
    assert small_run.metrics["temperature"] is None


def test_probe_is_calibrated_too(small_run: "alexnet.Run", small_data: Path, tmp_path: Path) -> None:
    probe = alexnet.train(small_data, out=tmp_path / "probe", probe=True, init=str(small_run.folder), validation=0.6)
    found = read_card(probe.folder / "weights" / "best.safetensors").calibration
    assert found is not None
    assert probe.classifier.predict(np.zeros((20, 20), np.uint8))[0].unknown is not None


def test_probabilities_at_a_temperature_are_those_of_the_divided_logits() -> None:
    logits = torch.randn(5, 4) * 3
    found = at_temperature(logits.softmax(1), Calibration(0.5))
    torch.testing.assert_close(found, (logits / 0.5).softmax(1), rtol=1e-4, atol=1e-6)
    assert torch.equal(at_temperature(logits, None), logits)
    assert at_temperature(torch.tensor([[1.0, 0.0]]), Calibration(3.0)).isfinite().all()
