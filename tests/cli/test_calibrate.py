"""alexnet calibrate, and what predict and evaluate say of a calibrated run"""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alexnet


def test_calibrate_tells_errors_before_and_after(
    calibrated_run: "alexnet.Run", tmp_path: Path, run: Callable[..., Any]
) -> None:
    copy = shutil.copytree(calibrated_run, tmp_path / "run")
    done = run("calibrate", copy)
    assert done.code == 0
    assert "from 21 images that were held out" in done.out
    assert "5.0% of photos of the classes" in done.out
    told = json.loads(run("calibrate", copy, "--json", "--false-alarms", "0.2").out)
    assert told["false_alarms"] == 0.2
    assert told["unknown"] is True
    assert told["temperature"] == alexnet.load(copy).temperature


def test_share_of_false_alarms_that_is_none_is_one_line(calibrated_run: "alexnet.Run", run: Callable[..., Any]) -> None:
    done = run("calibrate", calibrated_run.folder, "--false-alarms", "5")
    assert done.code == 2
    assert done.err == "alexnet: false alarms is 5; give a share above 0 and below 1\n"


def test_predict_shows_unknown_with_the_nearest_class(
    calibrated_run: "alexnet.Run", foreign_pictures: Path, run: Callable[..., Any]
) -> None:
    picture = foreign_pictures / "0.png"
    done = run("predict", calibrated_run.folder, picture, "--coverage", "0.9")
    nearest = calibrated_run.classifier.predict(picture)[0].predictions[0].label
    assert f"  unknown (nearest: {nearest})\n" in done.out
    assert "  set: " in done.out
    answer = json.loads(run("predict", calibrated_run.folder, picture, "--json").out)[0]
    assert answer["unknown"] is True
    assert answer["unknown_score"] > 1
    row = next(csv.DictReader(io.StringIO(run("predict", calibrated_run.folder, picture, "--csv").out)))
    assert (row["unknown"], row["label"]) == ("1", nearest)
    assert float(row["unknown_score"]) > 1


def test_csv_of_a_run_without_calibration_is_as_before(
    small_run: "alexnet.Run", foreign_pictures: Path, run: Callable[..., Any]
) -> None:
    done = run("predict", small_run.folder, foreign_pictures / "0.png", "--csv")
    assert done.out.splitlines()[0] == "path,rank,label,probability,error"


def test_evaluate_tells_what_is_lost_and_what_is_caught(
    calibrated_run: "alexnet.Run", small_data: Path, foreign_pictures: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    asked = ("--unknown", foreign_pictures, "--coverage", "0.9", "--out", tmp_path / "out")
    done = run("evaluate", calibrated_run.folder, small_data, *asked)
    assert "8 of 8 called unknown, caught: 100.00%" in done.out
    assert "1 could not be read" in done.out
    assert "called unknown, lost: " in done.out
    assert "sets for a coverage of 90.0%" in done.out
