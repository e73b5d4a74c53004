"""Paths of this machine are found in what a run recorded, taken out, and found again where one is left."""

import json
from pathlib import Path

import pytest

from alexnet.sharing.local import absolute_paths, local_paths, told_in, without

RECORDED = {
    "data": "/data/people/ann/My photos",
    "recipe": {"init": r"C:\Users\ann\runs\first", "name": "modern"},
    "command": ["/venv/bin/alexnet", "train", "imagenet:/sets/ilsvrc", "--out=/scratch/ann/run"],
}


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("flowers17", []),
        ("and/or 3/4", []),
        ("photos/cats", []),
        ("/a/b.csv:kind", ["/a/b.csv:kind", "/a/b.csv"]),
        ("/a/x.csv,/a/y.csv", ["/a/x.csv", "/a/y.csv"]),
        ("imagenet:/a/b", ["/a/b"]),
        ("--out=/a/b c", ["/a/b c"]),
        (r"D:\photos\cats", [r"D:\photos\cats"]),
    ],
)
def test_absolute_paths_are_found_in_texts(text: str, paths: list[str]) -> None:
    assert list(absolute_paths(text)) == paths


def test_a_record_names_paths_and_the_folders_above_them(tmp_path: Path) -> None:
    found = local_paths(RECORDED, tmp_path / "run")
    assert {"/data/people/ann/My photos", "/data/people/ann", "/data/people", r"C:\Users\ann"} <= found
    assert {"/venv/bin", "/sets/ilsvrc", "/scratch/ann", str(tmp_path), str(Path.home())} <= found
    assert not {"/data", "/", "C:\\"} & found


def test_paths_are_replaced_by_their_last_names(tmp_path: Path) -> None:
    told = without(RECORDED, local_paths(RECORDED, tmp_path))
    assert told["data"] == "My photos"
    assert told["recipe"] == {"init": "first", "name": "modern"}
    assert told["command"] == ["alexnet", "train", "imagenet:ilsvrc", "--out=run"]


def test_a_path_is_found_in_json_however_it_is_escaped(tmp_path: Path) -> None:
    file, path = tmp_path / "config.json", '/data/people/zoë/ph"otos'
    file.write_text(json.dumps({"deep": [{"class": f"{path}/cat"}]}), encoding="utf-8")
    assert told_in(file, {path, "/other/path"}) == path
    assert told_in(file, {"/other/path"}) is None


def test_a_path_is_found_on_a_page(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("trained on /data/people/ann, and more", encoding="utf-8")
    assert told_in(tmp_path / "README.md", {"/data/people/ann", "/data/people"}) == "/data/people/ann"
