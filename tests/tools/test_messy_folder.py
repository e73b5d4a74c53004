"""Four commands on a folder of every kind of trouble: nothing silent, nothing lost, nothing said twice."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import messy_folder

Done = subprocess.CompletedProcess[str]
BROKEN = list(messy_folder.unreadable(messy_folder.drawn("discs", "")))
NOT_WHOLE = ["moving.gif", "pages.tif", "infrared.tif", "invisible.png", "drawing in alpha.png", "blank.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("messy") / "photos"
    messy_folder.write(root)
    return root


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, Done]:
    """What each command came to, as a user runs them one after the other."""
    return {words[0]: messy_folder.ran(words, folder.parent) for words in messy_folder.commands(folder.name)}


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found[1])


@pytest.mark.slow
def test_exit_codes_are_those_of_the_documentation(done: dict[str, Done]) -> None:
    assert {name: each.returncode for name, each in done.items()} == {
        **{"check": 0, "train": 0, "evaluate": 0},
        "predict": 3,
    }


@pytest.mark.slow
def test_every_file_is_counted_once(folder: Path, done: dict[str, Done]) -> None:
    files = sum(not path.is_dir() for path in folder.rglob("*"))
    checked, trained, answered = done["check"].stdout, done["train"].stdout, done["predict"].stdout
    images, passed = number(r"photos: (\d+) images", checked), number(r"(\d+) of \d+ files passed over", checked)
    litter = checked.partition("litter passed over: ")[2].partition("\n")[0].split(", ")
    assert images + passed + sum(int(each.split()[0]) for each in litter) == files
    usable = number(r"(\d+) usable", checked)
    assert usable + len(BROKEN) == images
    assert sum(map(int, re.findall(r"(\d+)(?: train,| val,| test images)", trained))) == usable
    outside = 1 + 3  # a stray image and three unlabelled ones, which have a name all the same
    assert len(re.findall(r"^ +[\d.]+%  ", answered, re.MULTILINE)) == usable + outside


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "predict"])
def test_every_unreadable_image_is_named_once_with_its_reason(command: str, done: dict[str, Done]) -> None:
    for name in BROKEN:
        assert len(re.findall(rf"discs/{re.escape(name)}: \w", done[command].stdout)) == 1, name


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "train", "evaluate"])
@pytest.mark.parametrize(
    "told",
    [
        "litter passed over: ",
        "12 of 158 files passed over: ",
        "convert .nef, .psd",
        "differ in case alone",
        "letters composed and decomposed, and taken as one class: 'k\u00e4se'",
        "few gray levels",
        "copied from training.jpg = Training/discs/0.jpg",
        "Training/bars/1.jpg = Training/crosses/a bar.jpg",
    ],
)
def test_commands_that_read_the_folder_tell_each_kind_once(command: str, told: str, done: dict[str, Done]) -> None:
    assert done[command].stdout.count(told) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NOT_WHOLE)
def test_images_that_are_not_used_as_they_look_are_told_by_every_command(name: str, done: dict[str, Done]) -> None:
    for command, each in done.items():
        assert name in each.stdout, command


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["CROP: 3", "ALIKE", "COPIES: 1", "EXIF orientation 6", "CMYK", "tiny"])
def test_check_tells_what_the_others_need_not(kind: str, done: dict[str, Done]) -> None:
    assert kind in done["check"].stdout


@pytest.mark.slow
def test_nothing_is_said_twice_and_nothing_by_a_library(done: dict[str, Done]) -> None:
    for name, each in done.items():
        lines = Counter(line for line in each.stdout.splitlines() if len(line) > 40 and "->" not in line)
        assert [line for line, times in lines.items() if times > 1] == [], name
        assert not re.search(r"Traceback|Decod(e|ing error)|Warning:", each.stdout), name


def test_the_same_pictures_are_drawn_in_every_run(tmp_path: Path) -> None:
    once, again = (messy_folder.readable(messy_folder.drawn("bars", "a")) for _ in range(2))
    assert {name for name in once if once[name] != again[name]} <= {"IMG_0001.HEIC", "photo.avif"}  # may hold dates
