"""Cross-validation."""

import json

import numpy as np
import pytest

from alexnet.errors import DataError, UsageError
from alexnet.runs.folder import RunFolder
from alexnet.training.division import folds_of, split
from alexnet.training.folds import cross_validate
from alexnet.training.recipes import recipe

TINY = {"input_size": 16, "store_size": 20, "resize": 20, "epochs": 1}


@pytest.mark.parametrize("folds", [2, 5])
def test_every_image_is_tested_once_and_every_class_keeps_one_for_training(folds):
    labels, names = np.repeat([0, 1, 2], [23, 2, 7]), ["a", "b", "c"]
    given = np.array(["test"] * 10 + [""] * 22, "<U5")
    parts = [split(labels, given, names, (0.1, 0.2), recipe(fold=f"{fold}/{folds}")) for fold in range(1, folds + 1)]
    assert (sum((each == "test").astype(int) for each in parts) == 1).all()
    for each in parts:
        assert set(each) == {"train", "test"}
        assert set(labels[each == "train"]) == {0, 1, 2}
    sizes = [(each == "test").sum() for each in parts]
    assert max(sizes) - min(sizes) <= 1
    assert (folds_of(labels, folds, 0) != folds_of(labels, folds, 1)).any()


def test_folds_are_run_and_told_and_then_all_images_are_trained_on(write_digits, tmp_path, caplog):
    caplog.set_level("INFO", "alexnet")
    photos = write_digits(tmp_path / "photos", 2, 4)
    final = cross_validate(str(photos), recipe("cifar-80sec", **TINY), 2, tmp_path / "out")
    assert final == tmp_path / "out" / "all"
    assert {row.split for row in RunFolder(final).read_split()} == {"train"}
    told = json.loads((tmp_path / "out" / "folds.json").read_text())
    scores = [RunFolder(tmp_path / "out" / f"fold-{fold}").read_metrics()["top1"] for fold in (1, 2)]
    assert (told["top1"], told["mean"]) == (scores, sum(scores) / 2)
    assert told["standard_deviation"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    assert "2 folds: top-1 " in caplog.text


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "1", "a/b", "-1/2"])
def test_what_is_no_fold_is_refused(fold):
    with pytest.raises(UsageError, match="it takes k/K"):
        recipe(fold=fold)


def test_wrong_folds_and_data_are_refused_and_leave_no_folder(tmp_path):
    with pytest.raises(UsageError, match="leave --validation"):
        cross_validate("no/such/data", recipe(test=0.5), 2, tmp_path / "out")
    with pytest.raises(DataError):
        cross_validate("no/such/data", recipe(), 2, tmp_path / "out")
    assert not (tmp_path / "out").exists()
