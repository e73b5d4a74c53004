"""Cross-validation."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import alexnet
from alexnet import cli
from alexnet.errors import DataError, FileError, UsageError
from alexnet.runs.folder import RunFolder
from alexnet.training.division import folds_of, split
from alexnet.training.folds import cross_validate, resume_folds
from alexnet.training.recipes import recipe
from alexnet.weights.card import BEST

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


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        ("fold-2/last/checkpoint.safetensors", signal.SIGKILL),
        pytest.param("fold-1/split.csv", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_interrupted_folds_go_on_as_a_whole_to_the_same_weights(at, kind, write_digits, tmp_path):
    photos = write_digits(tmp_path / "photos", 2, 6)
    tiny = {**TINY, "epochs": 3, "checkpoint_minutes": 1e-6, "batch_size": 2}
    unbroken = cross_validate(str(photos), recipe("cifar-80sec", **tiny), 2, tmp_path / "unbroken")
    out = tmp_path / "stopped"
    options = [word for name, value in tiny.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words = ["train", str(photos), "--recipe", "cifar-80sec", "--folds", "2", "--out", str(out), *options]
    errors = stopped(words, out / at, kind)
    if kind == signal.SIGTERM:
        assert errors.splitlines()[-1].endswith(f"the other runs of the folds: alexnet train --resume {out}")
    assert not (out / "all" / "metrics.json").exists()
    before = finished(out)
    assert cli.main(["train", "--resume", str(out)]) == 0
    assert before.items() <= finished(out).items()  # finished folds are left alone
    for run in ("fold-1", "fold-2", "all"):
        one, two = (load_file(folder / run / BEST) for folder in (unbroken.parent, out))
        assert all(torch.equal(one[name], two[name]) for name in one), run
    one, two = (json.loads((folder / "folds.json").read_text()) for folder in (unbroken.parent, out))
    assert one == two


def stopped(words, file, kind):
    """What a command wrote to standard error that was sent a signal once the file was there."""
    environment = {**os.environ, "PYTHONPATH": str(Path(alexnet.__file__).parents[1])}
    command = [sys.executable, "-m", "alexnet", *words]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        while not file.exists():
            assert run.poll() is None, "it ended before it could be stopped"
            time.sleep(0.002)
        run.send_signal(kind)
        return run.communicate()[1]


def finished(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("*/metrics.json")}


def test_folds_resume_where_the_images_lie_now(write_digits, tmp_path):
    photos, out = write_digits(tmp_path / "photos", 2, 4), tmp_path / "out"
    first = cross_validate(str(photos), recipe("cifar-80sec", **TINY), 2, out)
    before = load_file(first / BEST)
    shutil.rmtree(out / "all")
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError):
        resume_folds(out)
    assert resume_folds(out, data=str(tmp_path / "elsewhere")) == first
    assert all(torch.equal(tensor, load_file(first / BEST)[name]) for name, tensor in before.items())


def test_folds_of_an_earlier_version_say_how_to_go_on(tmp_path):
    (tmp_path / "folds.json").write_text(json.dumps({"folds": 2, "top1": [1.0, 1.0]}))
    with pytest.raises(FileError, match=r"lacks data, recipe: .*--resume .*fold-1"):
        resume_folds(tmp_path)
