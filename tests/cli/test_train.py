"""alexnet train"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alexnet import cli


def test_train_answers_with_the_run_and_its_scores(trained: tuple[Path, Any]) -> None:
    folder, done = trained
    answer = json.loads(done.out)
    assert answer == {"run": str(folder), **json.loads((folder / "metrics.json").read_text())}
    assert "Traceback" not in done.err
    assert "\r" not in done.err  # no progress bar where there is no terminal
    assert "top-5" not in done.err  # three classes: every answer is among five


def test_a_packed_store_is_data_for_train_and_evaluate(
    trained: tuple[Path, Any], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], small: list[str]
) -> None:
    store = str(tmp_path / "store")
    assert cli.main(["pack", str(digits), "--out", store]) == 0
    assert cli.main(["evaluate", str(trained[0]), store, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["confusion"] == json.loads(trained[1].out)["confusion"]
    assert cli.main(["train", store, *small, "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_resume_may_be_told_where_to_compute(trained: tuple[Path, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--resume", str(trained[0]), "--device", "cpu", "--workers", "1"]) == 0
    assert capsys.readouterr().out == f"{trained[0]}\n"


def test_chosen_column_of_labels_holds_for_every_command_and_a_resume(
    digits: Path, tmp_path: Path, run: Callable[..., Any], small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted(digits.rglob("*.png"))
    rows = [f"{path},{path.parent.name},{'round' if path.parent.name == '0' else 'straight'}" for path in images]
    (tmp_path / "list.csv").write_text("\n".join(["file,class,species", *rows]))
    monkeypatch.chdir(tmp_path)
    assert "several columns" in run("check", "list.csv").err
    chosen = ["list.csv", "--label-column", "species"]
    assert "straight" in run("check", *chosen).out
    trained = run("train", *chosen, *small, "--out", "run")
    assert trained.code == 0, trained.err
    monkeypatch.chdir("/")
    assert run("train", "--resume", tmp_path / "run").code == 0
    monkeypatch.chdir(tmp_path)
    measured = json.loads(run("evaluate", "run", *chosen, "--json").out)
    assert measured["split"] == "test"  # the run's own data
    assert [row["label"] for row in measured["per_class"]] == ["round", "straight"]
    assert "--resume takes the run's own data" in run("train", "--resume", "run", "--label-column", "class").err
