"""A run is calibrated in place: its classes stay, its probabilities are those of a temperature, 'unknown' is told."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet.errors import FileError, UsageError
from alexnet.inference.calibrate import calibrate
from alexnet.weights.card import read, read_card

IMAGES = [np.full((20, 20), level, np.uint8) for level in (0, 90, 255)]
WEIGHTS = Path("weights", "best.safetensors")


@pytest.fixture
def copy(small_run: "alexnet.Run", tmp_path: Path) -> Path:
    """A run of its own, with a validation part of three images, which are too few."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


@pytest.fixture
def others(tmp_path: Path, write_digits: Callable[[Path, int, int], Path]) -> Path:
    """Labelled digits of the run's classes, turned, so that it has not seen them."""
    root = write_digits(tmp_path / "others", 3, 10)
    for path in root.rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
    return root


def test_run_without_calibration_answers_as_before(small_run: "alexnet.Run") -> None:
    model = alexnet.load(small_run)
    assert read_card(Path(small_run) / WEIGHTS).calibration is None
    answer = model.predict(IMAGES[:1])[0]
    assert (answer.unknown, answer.unknown_score, answer.classes) == (None, None, None)
    assert answer.to_json().keys() == {"path", "predictions", "error", "note"}


def test_other_labelled_photos_calibrate_a_run(copy: Path, others: Path) -> None:
    before, tensors = alexnet.load(copy), read(copy / WEIGHTS).tensors
    found = calibrate(copy, str(others))
    after = alexnet.load(copy)
    assert after.card.calibration == found
    assert found.known is not None
    assert found.measured["images"]["val"] == 30
    assert all(torch.equal(value, tensors[name]) for name, value in read(copy / WEIGHTS).tensors.items())
    one, two = (torch.from_numpy(np.stack([_chances(m, image) for image in IMAGES])) for m in (before, after))
    torch.testing.assert_close((one.log() / found.temperature).softmax(1), two, rtol=1e-4, atol=1e-6)
    assert torch.equal(one.argmax(1), two.argmax(1))


def _chances(model: Any, image: np.ndarray) -> np.ndarray:
    by_name = {guess.label: guess.probability for guess in model.predict(image, 3)[0].predictions}
    return np.array([by_name[name] for name in model.class_names], np.float32)


def test_run_with_too_few_held_out_images_is_left_as_it_is(copy: Path) -> None:
    content = (copy / WEIGHTS).read_bytes()
    with pytest.raises(UsageError, match="3 held-out images are too few"):
        calibrate(copy)
    assert (copy / WEIGHTS).read_bytes() == content


def test_run_without_a_validation_part_is_told_what_to_give(copy: Path) -> None:
    split = copy / "split.csv"
    split.write_text(split.read_text().replace(",val,", ",train,"))
    with pytest.raises(UsageError, match="no validation part") as raised:
        calibrate(copy)
    assert "\n" not in str(raised.value)
    assert f"alexnet calibrate {copy} DATA" in str(raised.value)


def test_weights_file_alone_is_refused(copy: Path) -> None:
    with pytest.raises(FileError, match="no run's folder"):
        calibrate(copy / WEIGHTS)


def test_training_images_that_are_gone_leave_a_temperature_alone(
    copy: Path, others: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = copy / "config.json"
    recorded = alexnet.Run(copy)._config.data
    config.write_text(config.read_text().replace(recorded, str(tmp_path / "gone")))
    found = calibrate(copy, str(others))
    assert found.known is None
    assert "are not there" in caplog.text
    assert alexnet.load(copy).predict(IMAGES[:1])[0].unknown is None


def test_run_calibrated_at_its_end_is_calibrated_alike_again(calibrated_run: "alexnet.Run", tmp_path: Path) -> None:
    again = Path(shutil.copytree(calibrated_run, tmp_path / "run"))
    found, trained = calibrate(again), read_card(Path(calibrated_run) / WEIGHTS).calibration
    assert trained is not None
    assert trained.known is not None
    assert found.known is not None
    assert found.temperature == pytest.approx(trained.temperature, rel=1e-3)
    assert found.known.threshold == pytest.approx(trained.known.threshold, rel=1e-3)
    looser = calibrate(again, false_alarms=0.5)
    assert looser.known is not None
    assert looser.known.threshold < found.known.threshold
