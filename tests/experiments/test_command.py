"""`alexnet experiment` from the command line: the list, one experiment, and one line for what is wrong."""

import html
import json
from pathlib import Path

import pytest
from PIL import Image

from alexnet import cli
from alexnet.data.sources import open_source
from alexnet.experiments import catalog
from alexnet.experiments.experiment import Arm, Experiment, Study
from alexnet.training.recipes import recipe


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment of that name on six real digits."""
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    source, root = open_source("digits"), tmp_path / "digits"
    for label in range(2):
        (root / str(label)).mkdir(parents=True)
        for row in [row for row, sample in enumerate(source.samples) if sample.label == label][:4]:
            Image.fromarray(source.read(row)).save(root / str(label) / f"{row}.png")
    base = recipe("cifar-80sec", input_size=16, store_size=16, resize=16, batch_size=2, epochs=1)
    study = Study("Digits", str(root), base, (Arm("a"), Arm("b", {"lr": 0.002})))
    made = Experiment("tiny", "Is it?", "nothing.", (study,), seeds=1)
    monkeypatch.setitem(catalog.EXPERIMENTS, "tiny", lambda quick: made)
    return root


def test_the_list_names_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["experiment", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name}: " in shown for name in catalog.EXPERIMENTS)
    assert cli.main(["experiment", "list", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == list(catalog.EXPERIMENTS)


def test_an_experiment_answers_with_its_sentence_and_where_its_page_is(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "of tiny"
    assert cli.main(["experiment", "tiny", "--out", str(out)]) == 0
    said, published, page = capsys.readouterr().out.splitlines()
    assert said.startswith("Digits: a ")
    assert published == "Published: nothing."
    assert html.unescape(Path(page).read_text()).count(f"alexnet experiment tiny --out '{out}'") == 1
    assert cli.main(["experiment", "tiny", "--out", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["folder"], answer["studies"][0]["sentence"]) == (str(out), said)


def test_data_that_is_missing_is_one_line(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(tiny.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    tiny.rmdir()
    assert cli.main(["experiment", "tiny", "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("alexnet: no such folder or file")
