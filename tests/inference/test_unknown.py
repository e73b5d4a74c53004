"""Unknown images and sets of classes: what a calibrated run answers, and how that is measured."""

from pathlib import Path

import numpy as np
import pytest

import alexnet
from alexnet.errors import DataError, UsageError
from alexnet.inference.unknown import Called, of_foreign, of_sets

NOISE = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)


def test_noise_is_unknown_and_most_own_images_are_not(calibrated_run: "alexnet.Run", small_data: Path) -> None:
    model = calibrated_run.classifier
    answer = model.predict(NOISE)[0]
    assert answer.unknown
    assert answer.unknown_score is not None
    assert answer.unknown_score > 1
    own = model.predict(sorted(small_data.rglob("*.png")))
    assert sum(bool(each.unknown) for each in own) <= 6
    assert answer.to_json()["unknown"] is True


def test_score_is_of_the_centre_view_whatever_the_views(calibrated_run: "alexnet.Run") -> None:
    one, ten = (calibrated_run.classifier.predict(NOISE, views=views)[0] for views in (1, 10))
    assert one.unknown_score == pytest.approx(ten.unknown_score)
    assert one.predictions != ten.predictions


def test_evaluation_counts_lost_and_caught(
    calibrated_run: "alexnet.Run", small_data: Path, foreign_pictures: Path, tmp_path: Path
) -> None:
    found = alexnet.evaluate(
        calibrated_run, small_data, split="all", out=tmp_path, unknown=str(foreign_pictures), coverage=0.9
    )
    foreign, own, sets = found.foreign_unknown, found.own_unknown, found.sets
    assert foreign is not None
    assert own is not None
    assert sets is not None
    assert (foreign["images"], foreign["unknown"], foreign["unreadable"]) == (8, 8, 1)
    assert own["images"] == 36
    scores = [each.unknown for each in calibrated_run.classifier.predict(sorted(small_data.rglob("*.png")))]
    assert own["unknown"] == sum(map(bool, scores))
    assert 1 <= sets["classes"] <= 3
    assert {"own_unknown", "foreign_unknown", "sets"} <= found.to_json().keys()


def test_plain_evaluation_has_no_such_keys(small_run: "alexnet.Run", small_data: Path, tmp_path: Path) -> None:
    found = alexnet.evaluate(small_run, small_data, split="all", out=tmp_path)
    assert not {"own_unknown", "foreign_unknown", "sets"} & found.to_json().keys()


def test_sets_hold_their_coverage_on_the_images_they_were_measured_on(
    calibrated_run: "alexnet.Run", small_data: Path, tmp_path: Path
) -> None:
    found = alexnet.evaluate(calibrated_run, small_data, split="val", out=tmp_path, coverage=0.8)
    assert found.sets is not None
    assert found.sets["covered"] >= 0.8
    wide = calibrated_run.classifier.predict(NOISE, coverage=0.95)[0]
    narrow = calibrated_run.classifier.predict(NOISE, coverage=0.05)[0]
    assert wide.classes is not None
    assert narrow.classes == [narrow.predictions[0].label]
    assert set(narrow.classes) <= set(wide.classes)


def test_model_without_calibration_is_refused_before_anything_is_measured(
    small_run: "alexnet.Run", small_data: Path, foreign_pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="not calibrated to tell"):
        alexnet.evaluate(small_run, small_data, out=tmp_path / "out", unknown=str(foreign_pictures))
    with pytest.raises(UsageError, match="run alexnet calibrate first"):
        alexnet.evaluate(small_run, small_data, out=tmp_path / "out", coverage=0.9)
    with pytest.raises(UsageError, match="run alexnet calibrate first"):
        small_run.classifier.predict(NOISE, coverage=0.9)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("coverage", "views", "said"), [(1.0, 1, "coverage is 1"), (0.9, 10, "centre view alone")])
def test_coverage_that_cannot_be_held_is_refused(
    calibrated_run: "alexnet.Run", coverage: float, views: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        calibrated_run.classifier.predict(NOISE, views=views, coverage=coverage)


def test_foreign_folder_without_a_readable_picture_is_refused(calibrated_run: "alexnet.Run", tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match="none of its 1 images can be read"):
        of_foreign(calibrated_run.classifier, str(tmp_path))


def test_shares_come_with_their_interval() -> None:
    found = Called("noise", 100, 90).to_json()
    assert found["share"] == 0.9
    assert found["interval"][0] == pytest.approx(0.8256, abs=1e-4)
    held = np.array([[True, False], [True, True], [False, True], [True, False]])
    told = of_sets(held, np.array([0, 1, 0, 0]), 0.7)
    assert (told["covered"], told["classes"], told["one"]) == (0.75, 1.25, 0.75)
