"""alexnet check"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    (tmp_path / "2" / "torn.png").write_bytes(b"")
    assert cli.main(["check", str(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert "torn.png: empty" in out
    assert err.startswith("alexnet: 1 of 5 images cannot be used")


def test_check_of_a_packed_store_says_what_to_check_instead(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(digits), "--out", str(tmp_path / "store"), "--size", "64"]) == 0
    capsys.readouterr()
    assert cli.main(["check", str(tmp_path / "store")]) == 2
    assert "is a packed store; check the images it was made from" in capsys.readouterr().err


def test_check_reads_by_the_fit_and_range_that_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(2):
            values = np.linspace(-1024, 3000 + number, 80 * 240).astype(np.int32).reshape(80, 240)
            Image.fromarray(values.T if label == "a" else values).save(tmp_path / label / f"{number}.tif")
    assert cli.main(["check", str(tmp_path)]) == 3
    assert "train with --value-range -1024,3000" in capsys.readouterr().out
    for options in (["--value-range", "-1024,3001"], ["--value-range=auto"]):
        assert cli.main(["check", str(tmp_path), *options]) == 0
        assert "4 of 4 images lose more than a third" in capsys.readouterr().out
    assert cli.main(["check", str(tmp_path), "--value-range", "-1024,30000", "--fit", "pad"]) == 0
    out, _ = capsys.readouterr()
    assert "lose more than a third" not in out
    assert "from -1024 to 3001, a small part of -1024 to 30000" in out
    for wrong in (["--fit", "pat"], ["--value-range", "3,1"]):
        assert cli.main(["check", str(tmp_path), *wrong]) == 2
