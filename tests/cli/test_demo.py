"""alexnet demo"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet.data.sources import open_source


def test_the_demo_trains_evaluates_and_predicts(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run("demo", "--quick", "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)  # one object, and nothing else
    assert answer["run"] == str(tmp_path / "run")
    assert answer["evaluation"]["split"] == "test"
    files = [Path(each["path"]) for each in answer["predictions"]]
    assert len(files) == 8
    labels = [sample.label for sample in open_source("digits").samples]
    for file in files:  # named after what they show
        label, row = file.stem.split("-")
        assert int(label) == labels[int(row)]


def test_the_demo_shows_commands_and_keeps_a_folder_that_is_not_empty(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("mine")
    done = run("demo", "--quick", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    commands = [line.split()[2] for line in done.out.splitlines() if line.startswith("$ alexnet ")]
    assert commands == ["train", "evaluate", "predict"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["letter.txt"]
    assert (tmp_path / "run-2" / "weights").is_dir()
    assert f"next: alexnet explain {tmp_path / 'run-2'}" in done.err
