"""alexnet pretrain"""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = "--method autoencoder --layers 1 --input-size 63 --epochs 1"


def next_command(err: str) -> list[str]:
    """The words behind `next: alexnet`."""
    (line,) = (line for line in err.splitlines() if line.startswith("alexnet: next: "))
    program, *words = shlex.split(line.removeprefix("alexnet: next: "))
    assert program == "alexnet"
    return words


def test_the_next_command_runs_as_printed(
    run: Callable[..., Any], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("pretrain", digits, *SMALL.split(), "--batch-size", "8", "--also", digits, "--out", "first run")
    assert done.code == 0, done.err
    words = next_command(done.err)
    assert words[words.index("--batch-size") + 1] == "8"
    trained = run(*words, "--epochs", "1")  # as printed, but not for all epochs
    assert trained.code == 0, trained.err
    explained = run(*next_command(trained.err))
    assert explained.code == 0, explained.err


def test_images_without_classes_have_no_next_command(
    run: Callable[..., Any], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits / "0", "flat")
    done = run("pretrain", "flat", *SMALL.split(), "--batch-size", "4", "--out", "run")
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1].endswith("give images with classes: alexnet train DATA --init run")
    assert "next:" not in done.err


def test_options_of_the_next_command_are_those_that_train_takes() -> None:
    from alexnet.cli.pretrain import _option

    assert [_option("exact", each) for each in (True, False)] == ["--exact", "--no-exact"]
    assert _option("store_size", 64) == "--store-size 64"
