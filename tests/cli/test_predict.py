"""alexnet predict"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alexnet import cli


@pytest.fixture
def pictures(digits: Path, tmp_path: Path) -> list[str]:
    """A file, one that is damaged, a folder of two in natural order, and one that is missing."""
    (tmp_path / "some").mkdir()
    for name in ("img10.png", "img9.png"):
        (tmp_path / "some" / name).write_bytes((digits / "4" / "0.png").read_bytes())
    whole = (digits / "1" / "0.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    return [str(digits / "1" / "0.png"), *(str(tmp_path / name) for name in ("torn.png", "some", "missing.png"))]


def test_predict_answers_in_the_order_given_and_reports_what_it_cannot_read(
    trained: tuple[Path, Any], pictures: list[str], run: Callable[..., Any]
) -> None:
    done = run("predict", trained[0], *pictures, "--top", "2", "--json")
    answers = json.loads(done.out)
    good, torn, some, missing = pictures
    assert [answer["path"] for answer in answers] == [good, torn, f"{some}/img9.png", f"{some}/img10.png", missing]
    assert [bool(answer["error"]) for answer in answers] == [False, True, False, False, True]
    assert [len(answer["predictions"]) for answer in answers] == [2, 0, 2, 2, 0]
    assert answers[0]["predictions"][0].keys() == {"label", "probability"}
    assert done.code == 3
    assert [line.split(": ")[1] for line in done.err.splitlines()] == [torn, missing]


def test_predict_says_what_it_leaves_out_of_an_image_and_keeps_its_name_on_a_line(
    trained: tuple[Path, Any], tmp_path: Path, run: Callable[..., Any]
) -> None:
    pages = [Image.new("L", (80, 80), shade) for shade in (90, 200)]
    pages[0].paste(10, (0, 0, 30, 30))
    pages[0].save(tmp_path / "two\npages.tif", save_all=True, append_images=pages[1:])
    done = run("predict", trained[0], tmp_path, "--top", "1")
    assert done.out.splitlines()[0] == rf"{tmp_path}/two\npages.tif (several pages, the first used alone)"
    (answer,) = json.loads(run("predict", trained[0], tmp_path, "--json").out)
    assert answer["note"] == "several pages, the first used alone"


def test_predict_as_csv_says_the_same(
    trained: tuple[Path, Any], pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(trained[0]), pictures[0], "--json"]) == 0
    guesses = json.loads(capsys.readouterr().out)[0]["predictions"]
    assert cli.main(["predict", str(trained[0]), *pictures[:2], "--csv"]) == 3
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["path"], row["label"], float(row["probability"])) for row in rows[:-1]] == [
        (pictures[0], guess["label"], pytest.approx(guess["probability"], abs=1e-6)) for guess in guesses
    ]
    assert [row["rank"] for row in rows] == ["1", "2", "3", ""]
    assert (rows[-1]["path"], bool(rows[-1]["error"])) == (pictures[1], True)


def test_predict_prints_names_and_percent_for_people(
    trained: tuple[Path, Any], pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(trained[0]), pictures[0], "--top", "1"]) == 0
    path, guess = capsys.readouterr().out.splitlines()
    assert path == pictures[0]
    assert guess.split()[1] == "%" or guess.split()[0].endswith("%")


def test_predict_says_which_files_of_a_folder_it_passed_over(
    trained: tuple[Path, Any], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = (digits / "1" / "0.png").read_bytes()
    for name in ("1.png", "._1.png", "@eaDir/1.png/thumb.png", "2.CR2", "3.CR2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(image)
    assert cli.main(["predict", str(trained[0]), str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert [answer["path"] for answer in json.loads(out)] == [f"{tmp_path}/1.png"]
    litter, passed = sorted(err.splitlines(), key=lambda line: line.startswith("alexnet: warning: "))
    assert litter.startswith(f"{tmp_path}: litter passed over: ")
    assert "1 in @eaDir/" in litter
    assert "1 ._*" in litter
    assert "2 of 3 files passed over: 2 .cr2; convert .cr2 to JPEG or PNG" in passed
