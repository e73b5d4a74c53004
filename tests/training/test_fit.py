"""Fit and range of values from training to prediction: set once, kept by the run, its card and every later use."""

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet.data.form import Form
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import DataError
from alexnet.inference.classifier import load
from alexnet.inference.evaluate import evaluate
from alexnet.runs.folder import RunFolder
from alexnet.training.recipes import RECIPES, recipe
from alexnet.training.run import resume

SMALL = {"input_size": 16, "store_size": 16, "resize": 16, "batch_size": 8, "lr": 0.01, "validation": 0.25, "test": 0.0}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Panoramas of 3:1 whose classes differ in their left third alone, with 12 bits in files of 16."""
    folder, rng = tmp_path_factory.mktemp("data") / "scans", np.random.default_rng(0)
    for label, value in (("bright", 3900), ("dark", 100)):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            image = rng.integers(1900, 2100, (20, 60), np.uint16)
            image[:, :20] = value + rng.integers(0, 90, (20, 20), np.uint16)
            Image.fromarray(image).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def warped(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> alexnet.Run:
    """A run on them by warp and the range of their values."""
    settings = {**SMALL, "fit": "warp", "value_range": "auto", "epochs": 6}
    return alexnet.train(scans, "cifar-80sec", tmp_path_factory.mktemp("runs") / "warped", **settings)


def test_classes_that_the_crop_cuts_away_are_learned_by_warp(warped: alexnet.Run) -> None:
    assert RunFolder(warped.folder).read_metrics()["top1"] == 1.0


def test_a_run_keeps_what_auto_came_to_and_its_card_has_it(warped: alexnet.Run) -> None:
    kept = RunFolder(warped.folder).read_config().recipe
    low, high = map(float, kept["value_range"].split(","))
    assert (kept["fit"], 100 <= low < 200, 3900 <= high < 4000) == ("warp", True, True)
    card = load(warped.folder).card.preprocessing
    assert (card["fit"], card["value_range"]) == ("warp", [low, high])


def test_files_are_predicted_evaluated_and_explained_by_the_form_that_trained(warped: alexnet.Run, scans: Path) -> None:
    from alexnet.inference.explain import _read

    classifier = load(warped.folder)
    files = sorted(scans.glob("*/*.png"))
    answers = [answer.predictions[0].label for answer in classifier.predict(files)]
    assert answers == [file.parent.name for file in files]
    assert evaluate(classifier, str(scans), split="all").top1 == 1.0
    form = classifier.preprocessing.form
    assert np.array_equal(_read(files[0], classifier), form.read(files[0]))
    assert form == Form(16, "warp", form.value_range)


def test_a_run_resumes_on_the_same_store(warped: alexnet.Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alexnet"):
        assert resume(warped.folder) == warped.folder
    assert "packing" not in caplog.text
    assert "value range" not in caplog.text


def test_a_store_of_another_form_is_not_evaluated(warped: alexnet.Run, scans: Path, tmp_path: Path) -> None:
    from alexnet.data.sources import open_source
    from alexnet.data.store import pack

    pack(open_source(str(scans)), tmp_path / "store", 16)
    with pytest.raises(DataError, match="--size 16 --fit warp --value-range"):
        evaluate(warped.folder, str(tmp_path / "store"))


def test_training_by_crop_at_full_range_is_warned_of_both(
    scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "alexnet"):
        run = alexnet.train(scans, "cifar-80sec", tmp_path / "run", **SMALL, epochs=1)
    assert "16 of 16 images lose more than a third" in caplog.text
    assert "train with --value-range 0,4095, or auto" in caplog.text
    assert load(run.folder).preprocessing.form == Form(16)


def test_a_card_without_fit_and_range_means_crop_and_the_range_of_the_format() -> None:
    card = Preprocessing(16, 16, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0), 32, "pad", (0.0, 4095.0)).to_json()
    assert Preprocessing.from_json(json.loads(json.dumps(card))).form == Form(32, "pad", (0.0, 4095.0))
    old = {name: value for name, value in card.items() if name not in ("fit", "value_range")}
    assert Preprocessing.from_json(old).form == Form(32)


def test_caffes_recipes_warp_and_the_others_leave_the_fit_to_the_store() -> None:
    assert {name: recipe(name).fit for name in RECIPES if recipe(name).fit} == {"bvlc": "warp", "caffenet": "warp"}


def test_a_settings_file_may_give_the_range_as_a_list(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("value_range: [0, 4095]\nfit: pad\n")
    made = recipe("modern", tmp_path / "a.yaml")
    assert (made.values, made.fit) == ((0.0, 4095.0), "pad")
    assert dataclasses.replace(made, value_range="auto").values == "auto"
