"""Large photos decoded whole: set once, kept by the run, its card, its store and every later use."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet import cli
from alexnet.data.form import Form
from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.data.store import named_store, open_store, pack
from alexnet.errors import DataError
from alexnet.inference.classifier import load
from alexnet.inference.evaluate import evaluate
from alexnet.runs.folder import RunFolder
from alexnet.training.recipes import recipe
from alexnet.training.run import resume
from alexnet.training.settings import from_json

SMALL = {"input_size": 16, "store_size": 16, "resize": 16, "batch_size": 4, "epochs": 1, "validation": 0.5, "test": 0.0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of two JPEG photos that are large enough to be decoded at half their size."""
    folder, rng = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    for label in ("ant", "bee"):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            noise = Image.fromarray(rng.integers(0, 256, (64, 80, 3), np.uint8))
            noise.resize((1280, 1024), Image.Resampling.BICUBIC).save(folder / label / f"{number}.jpg", quality=85)
    return folder


@pytest.fixture(scope="module")
def exact(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> alexnet.Run:
    return alexnet.train(photos, "cifar-80sec", tmp_path_factory.mktemp("runs") / "exact", **SMALL, exact=True)


def test_squares_of_whole_photos_are_others(photos: Path) -> None:
    photo = photos / "ant" / "0.jpg"
    scaled, whole = (Form(256, exact=exact).read(photo).astype(int) for exact in (False, True))
    assert 0 < np.abs(scaled - whole).mean() <= 2


def test_run_card_and_store_keep_it(exact: alexnet.Run, photos: Path) -> None:
    assert RunFolder(exact.folder).read_config().recipe["exact"] is True
    assert load(exact.folder).card.preprocessing["exact"] is True
    usual, whole = (named_store(str(photos), size=16, exact=each) for each in (None, True))
    assert usual.folder != whole.folder
    assert (usual.form, whole.form) == (Form(16), Form(16, exact=True))
    assert usual.content != whole.content


def test_a_model_trained_so_reads_and_evaluates_so(exact: alexnet.Run, photos: Path, tmp_path: Path) -> None:
    classifier = load(exact.folder)
    assert classifier.preprocessing.form == Form(16, exact=True)
    assert evaluate(classifier, str(photos), split="all").images == 4
    pack(open_source(str(photos)), tmp_path / "store", 16)
    with pytest.raises(DataError, match=r"px a side, 16 px a side \(exact\) are needed; .* --size 16 --exact --out"):
        evaluate(classifier, str(tmp_path / "store"))


def test_a_packed_store_gives_it_to_training_and_resume_finds_it(photos: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    assert cli.main(["pack", str(photos), "--size", "16", "--exact", "--out", store]) == 0
    assert open_store(store).exact
    run = alexnet.train(store, "cifar-80sec", tmp_path / "run", **SMALL)
    assert load(run.folder).preprocessing.form == Form(16, exact=True)
    assert resume(run.folder) == run.folder
    with pytest.raises(DataError, match="pack DATA --size 16 --out FOLDER"):
        named_store(store, exact=False)


def test_check_names_the_form(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(photos), "--exact", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["form"]["exact"] is True


def test_cards_and_runs_without_it_mean_the_scaled_decode() -> None:
    card = Preprocessing(16, 16, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0), exact=True).to_json()
    assert Preprocessing.from_json(card).form == Form(exact=True)
    assert Preprocessing.from_json({name: card[name] for name in card if name != "exact"}).form == Form()
    settings = dataclasses.asdict(recipe("modern", exact=True))
    assert from_json(settings).exact is True
    assert from_json({name: settings[name] for name in settings if name != "exact"}).exact is None
