"""alexnet evaluate"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alexnet import cli


def test_evaluate_on_the_runs_data_uses_the_runs_own_split(
    trained: tuple[Path, Any], digits: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    folder, training = trained
    done = run("evaluate", folder, digits, "--json", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    answer = json.loads(done.out)
    assert {"images", "top1", "top5", "macro_f1", "ece", "views", "interval", "per_class"} <= answer.keys()
    at_the_end = json.loads(training.out)
    assert {key: answer[key] for key in ("images", "top1", "confusion", "split")} == {
        key: at_the_end[key] for key in ("images", "top1", "confusion", "split")
    }
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "split.csv").open(newline="") as file:
        assert {row["path"] for row in rows} == {
            row["path"] for row in csv.DictReader(file) if row["split"] == answer["split"]
        }
    assert sum(int(row["correct"]) for row in rows) == round(answer["top1"] * answer["images"])
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    measured = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {**measured, "files": answer["files"]} == answer


def test_evaluate_prints_percent_for_people(
    trained: tuple[Path, Any], digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(trained[0]), str(digits), "--split", "all", "--views", "10"]) == 0
    out = capsys.readouterr().out
    assert "36 images (all), 10 views of each" in out
    assert "top-1 " in out
    assert "top-5" not in out
    assert str(trained[0] / "evaluation-all-10" / "confusion.png") in out


@pytest.mark.filterwarnings("always:the data has no train")
def test_evaluate_of_bare_weights_says_that_it_writes_nothing(
    weights: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(weights.parent.iterdir())
    assert cli.main(["evaluate", str(weights), str(digits)]) == 0
    out, err = capsys.readouterr()
    assert "give --out FOLDER to write" in out
    assert "alexnet: warning: the data has no train, val or test part" in err
    assert sorted(weights.parent.iterdir()) == before


def test_evaluate_refuses_data_of_other_classes(trained: tuple[Path, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(trained[0]), "digits"]) == 3
    err = capsys.readouterr().err
    assert "classes that the network does not know" in err
    assert err.count("\n") == 1
