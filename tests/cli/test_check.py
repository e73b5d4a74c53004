"""alexnet check"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet import cli


def test_check_json_counts_and_changes_nothing(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat() for path in digits.rglob("*")}
    assert cli.main(["check", str(digits), "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["images"], answer["usable"], answer["fatal"], err) == (36, 36, [], "")
    assert [each["images"] for each in answer["classes"]] == [12, 12, 12]
    assert {path: path.stat().st_mtime_ns for path in digits.rglob("*")} == {
        path: facts.st_mtime_ns for path, facts in before.items()
    }


def test_check_says_in_a_line_why_training_could_not_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], draw: Callable[..., None]
) -> None:
    draw(tmp_path, ["1", "2"], images=2)
    (tmp_path / "2" / "0.png").write_bytes(b"")
    assert cli.main(["check", str(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert "0.png: empty" in out
    assert err.startswith("alexnet: class '2' has one image")


def test_check_of_a_packed_store_says_what_to_check_instead(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(digits), "--out", str(tmp_path / "store"), "--size", "64"]) == 0
    capsys.readouterr()
    assert cli.main(["check", str(tmp_path / "store")]) == 2
    assert "is a packed store; check the images it was made from" in capsys.readouterr().err
