"""The package as it is used from Python: train, evaluate, load, and what is exported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import alexnet
from alexnet.errors import DataError, FileError, UsageError, WeightsError

SMALL = {"input_size": 16, "store_size": 20, "resize": 20, "batch_size": 6, "epochs": 1}


def test_train_gives_the_run_with_its_metrics_and_classifier(small_run: alexnet.Run, small_data: Path) -> None:
    assert small_run.metrics == json.loads((small_run.folder / "metrics.json").read_text())
    assert small_run.classifier.class_names == ["digit 0", "digit 1", "digit 2"]
    (answer,) = small_run.classifier.predict(next(small_data.rglob("*.png")))
    assert len(answer.predictions) == 3
    metrics = small_run.metrics
    wanted = f"<Run {small_run.folder}: cifar-80sec, {metrics['split']} top-1 {metrics['top1']:.2%}>"
    assert repr(small_run) == wanted


def test_run_is_accepted_as_a_path(small_run: alexnet.Run, small_data: Path, tmp_path: Path) -> None:
    assert os.fspath(small_run) == str(small_run.folder)
    assert alexnet.load(small_run, "cpu").card == small_run.classifier.card
    assert alexnet.Run(small_run.folder).metrics == small_run.metrics
    scores = alexnet.evaluate(small_run, small_data, device="cpu", out=tmp_path)
    assert isinstance(scores, alexnet.Evaluation)
    assert (scores.split, scores.images) == (small_run.metrics["split"], small_run.metrics["images"])
    assert alexnet.evaluate(small_run.classifier, small_data, out=tmp_path) == scores


def test_run_that_is_not_finished_says_so(small_run: alexnet.Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((small_run.folder / "config.json").read_bytes())
    run = alexnet.Run(tmp_path)
    assert repr(run) == f"<Run {tmp_path}: cifar-80sec, not finished>"
    with pytest.raises(FileError, match="is not finished: it has no metrics"):
        _ = run.metrics
    with pytest.raises(WeightsError, match=r"has no weights/best\.safetensors yet"):
        _ = run.classifier


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not a run"):
        alexnet.Run(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": 5}, "data of type int; a name, a path or a tuple"),
        ({"data": np.zeros((2, 8, 8, 3), np.uint8)}, "data of type ndarray"),
        ({"recipe": 5}, "recipe is of type int; give the name of one"),
        ({"recipe": "moderm"}, "did you mean 'modern'"),
        ({"epoch": 3}, "unknown setting 'epoch': did you mean 'epochs'"),
        ({"epochs": "many"}, "epochs"),
        ({"out": 5}, "out is of type int; give a path"),
    ],
)
def test_wrong_settings_of_train_are_refused_in_one_line(settings: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        alexnet.train(**{"data": "nothing", **settings})
    assert "\n" not in str(caught.value)


def test_missing_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder or file"):
        alexnet.train(tmp_path / "gone", out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_arrays_are_data_to_train_and_evaluate_on(tmp_path: Path) -> None:
    labels = np.arange(36) % 3
    images = (
        np.random.default_rng(0).integers(0, 60, (36, 20, 20, 3), np.uint8)
        + (labels * 90).astype(np.uint8)[:, None, None, None]
    )
    run = alexnet.train((images, labels), "cifar-80sec", tmp_path / "run", **SMALL)
    scores = alexnet.evaluate(run, (images, labels), device="cpu")
    assert (scores.split, scores.images) == (run.metrics["split"], run.metrics["images"])
    assert scores.images < 36


def test_public_names_are_there_and_nothing_heavy_is_imported_before_its_use() -> None:
    program = """
import sys
import alexnet
assert alexnet.errors.UsageError.exit_code == 2
assert set(alexnet.__all__) <= set(dir(alexnet))
heavy = {"torch", "numpy", "PIL", "matplotlib", "yaml", "rich"} & set(sys.modules)
assert not heavy, heavy
for name in alexnet.__all__:
    assert getattr(alexnet, name) is not None
alexnet.ops.local_response_norm
"""
    source = Path(alexnet.__file__).parents[1]
    variables = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run([sys.executable, "-c", program], env=variables, check=True)
