"""alexnet train"""

import json
import shutil
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


def test_resume_may_be_told_where_the_data_lies_now(
    trained: tuple[Path, Any], digits: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    folder = shutil.copytree(trained[0], tmp_path / "run")
    place = shutil.copytree(digits, tmp_path / "photos")
    assert run("train", "--resume", folder, "--data", place).code == 0
    assert run("train", place, "--resume", folder).code == 0
    twice = run("train", place, "--resume", folder, "--data", digits)
    assert (twice.code, twice.err.count("\n")) == (2, 1)
    assert "DATA is given twice" in twice.err
