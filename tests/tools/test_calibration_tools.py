"""The scripts behind the figures of 'Answers that know'."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import calibration_floor
import made_up


def test_floor_of_many_images_is_small_and_overconfidence_is_seen(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    confidences = random.uniform(0.3, 1, 2000)
    for name, shift in (("honest", 0.0), ("bold", 0.2)):
        with (tmp_path / name).open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["confidence", "correct"])
            table.writerows(
                (each, int(draw))
                for each, draw in zip(confidences, random.random(2000) < confidences - shift, strict=True)
            )
    honest, bold = (calibration_floor.main(tmp_path / name) for name in ("honest", "bold"))
    assert honest["low"] < honest["error"] < 1.3 * honest["high"]
    assert bold["error"] == pytest.approx(0.2, abs=0.03)
    assert bold["perfect"] < 0.04


def test_made_up_pictures_are_what_they_are_called(small_data: Path, tmp_path: Path) -> None:
    made_up.main(str(small_data), tmp_path, 3)
    drawn = {
        kind: [np.asarray(Image.open(path)) for path in sorted((tmp_path / kind).iterdir())] for kind in made_up.KINDS
    }
    assert {image.shape for images in drawn.values() for image in images} == {(256, 256, 3)}
    assert all(len(images) == 3 for images in drawn.values())
    photo = 255 - drawn["negative"][1]
    for kind in ("shuffled-4", "shuffled-8", "channels"):
        assert np.array_equal(np.sort(drawn[kind][1], axis=None), np.sort(photo, axis=None))
    assert not np.array_equal(drawn["shuffled-4"][1], photo)
    assert len(np.unique(drawn["plain"][1].reshape(-1, 3), axis=0)) == 1
