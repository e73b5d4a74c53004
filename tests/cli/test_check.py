"""alexnet check"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet import cli
from alexnet.cli.check import EXAMPLES


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


def test_check_tells_the_most_harmful_first_and_ends_without_an_all_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], draw: Callable[..., None]
) -> None:
    draw(tmp_path, ["1", "2"], images=12)
    (tmp_path / "2" / "same.png").write_bytes((tmp_path / "1" / "0.png").read_bytes())
    (tmp_path / "2" / "two\nlines \x1b[31m.txt").write_text("notes")
    for number in range(EXAMPLES + 3):
        (tmp_path / "1" / f"{number}.mp4").write_text("film")
    assert cli.main(["check", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line.isupper()]
    assert headings == ["HARMS SILENTLY", "IS LOST", "COULD BE BETTER", "IS FINE"]
    assert "    1/0.png = 2/same.png (1, 2)" in lines
    assert "    -> keep each under the right label only" in lines
    assert "  9 of 34 files passed over: 8 .mp4, 1 .txt" in lines
    assert "    -> take single frames of films" in lines
    assert "    and 4 more; --json lists all" in lines
    assert lines[-1].endswith("mend what harms silently first (1 point).")
    assert not any("Nothing stops" in line for line in lines)
    assert cli.main(["check", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["other_files"]) == 9
    assert [each["severity"] for each in answer["findings"]][:2] == ["harms", "lost"]
    assert answer["findings"][0]["pictures"] == ["1/0.png", "2/same.png"]


def test_check_of_names_that_are_no_text_and_of_many_classes_prints_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], draw: Callable[..., None]
) -> None:
    draw(tmp_path, ["1"], images=2)
    for number in range(45):
        (tmp_path / f"class {number}").mkdir()
        for name in ("0.png", "1.png"):
            (tmp_path / f"class {number}" / name).write_bytes((tmp_path / "1" / name).read_bytes())
    (tmp_path / "1" / "two\nlines \x1b[31m.png").write_bytes(b"")
    cli.main(["check", str(tmp_path)])
    out = capsys.readouterr().out
    assert r"1/two\nlines \x1b[31m.png: empty" in out
    assert "and 26 larger classes" in out


def test_check_writes_its_page_into_the_folder_and_refuses_a_file_before_it_reads(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "folder"
    assert cli.main(["check", str(digits), "--out", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == ["check.html"]
    assert f"The pictures: {out / 'check.html'}" in capsys.readouterr().out
    assert cli.main(["check", "nowhere", "--out", str(out / "check.html")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err


def test_against_names_the_pictures_that_both_sets_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], draw: Callable[..., None]
) -> None:
    draw(tmp_path / "mine", ["1", "2"], images=2)
    random = np.random.default_rng(0)
    for number in range(4):
        folder = tmp_path / "theirs" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    shutil.copy(tmp_path / "mine" / "1" / "0.png", tmp_path / "theirs" / "b" / "same.png")
    small = Image.fromarray(random.integers(0, 256, (18, 24, 3), dtype=np.uint8))
    photo = small.resize((240, 180), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "mine" / "2" / "photo.png")
    photo.crop((2, 2, 239, 180)).resize((200, 200)).save(tmp_path / "theirs" / "a" / "trimmed.png")
    assert cli.main(["check", str(tmp_path / "mine"), "--against", str(tmp_path / "theirs")]) == 0
    shown = capsys.readouterr().out
    assert "of 5 images 1 are equal to one of the 6 of theirs, 0 more look alike" in shown
    assert "1/0.png = b/same.png" in shown
    assert re.search(r"1 more may be the same .*\n +2/photo.png \? a/trimmed.png \(\d+ of 256 bits differ\)", shown)


def test_against_refuses_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "digits", "--against", "digits", "--out", str(tmp_path / "page")]) == 2
    assert "leave --out" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
