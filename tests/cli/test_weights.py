"""alexnet weights: what is published is told, fetched and converted."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.sources.download import Archive
from alexnet.networks import create
from alexnet.weights.card import Card, read_card, save
from alexnet.weights.pretrained import PUBLISHED


def test_list_tells_every_published_file(run: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("weights", "list")
    assert done.code == 0
    assert all(name in done.out for name in PUBLISHED)
    assert "57.1%" in done.out
    rows = json.loads(run("weights", "list", "--json").out)
    assert [row["weights"] for row in rows] == list(PUBLISHED)
    assert rows[0]["checksum"] == "sha1:9116a64c0fbe4459d18f4bb6b56d647b63920377"


def test_show_tells_what_is_published_without_a_download(run: Callable[..., object]) -> None:
    done = run("weights", "show", "imagenet:bvlc")
    assert done.code == 0
    assert all(part in done.out for part in ("57.10%", "unrestricted", "bvlc_alexnet.caffemodel"))
    done = run("weights", "show", "imagenet:alexnet")
    assert (done.code, "unknown weights 'imagenet:alexnet'" in done.err) == (2, True)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    names = [f"class {n}" for n in range(10)]
    card = Card("cifar-19pct", 10, 32, {}, names, {"input_size": 32, "resize": 32, "mean": [1.0, 2.0, 3.0]})
    save(tmp_path / "ours.safetensors", create("cifar-19pct"), card)
    return tmp_path / "ours.safetensors"


def test_show_tells_a_files_card(run: Callable[..., object], ours: Path) -> None:
    done = run("weights", "show", ours)
    assert "cifar-19pct" in done.out
    assert "class 0, class 1, class 2, class 3 and 6 more" in done.out
    shown = json.loads(run("weights", "show", ours, "--json").out)
    assert (shown["network"], shown["values"]) == ("cifar-19pct", 89_578)


def test_get_prints_the_verified_file(
    run: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXNET_DATA", str(tmp_path))
    (tmp_path / "w.caffemodel").write_bytes(b"weights")
    entry = replace(PUBLISHED["imagenet:bvlc"], file=Archive("w.caffemodel", sha1=hashlib.sha1(b"weights").hexdigest()))
    monkeypatch.setitem(PUBLISHED, "imagenet:bvlc", entry)
    done = run("weights", "get", "imagenet:bvlc")
    assert (done.code, done.out) == (0, f"{tmp_path / 'w.caffemodel'}\n")
    (tmp_path / "w.caffemodel").write_bytes(b"others!")
    done = run("weights", "get", "imagenet:bvlc")
    assert (done.code, "published is" in done.err, done.err.count("\n")) == (3, True, 1)


def test_convert_gives_names_and_a_mean(run: Callable[..., object], ours: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"), encoding="utf-8")
    np.save(tmp_path / "mean.npy", np.array([104.0, 117.0, 123.0]))  # B, G, R
    given = ["--classes", tmp_path / "names.txt", "--mean", tmp_path / "mean.npy"]
    done = run("weights", "convert", ours, "--out", tmp_path / "new.safetensors", *given)
    assert (done.code, done.out) == (0, f"{tmp_path / 'new.safetensors'}\n")
    card = read_card(tmp_path / "new.safetensors")
    assert (card.class_names, card.preprocessing["mean"]) == (list("abcdefghij"), [123.0, 117.0, 104.0])
    assert card.training["notes"] == ["channel means of mean.npy"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x.pth"], "does not end in .safetensors"),
        (["--out", "x.caffemodel", "--to", "caffe"], "holds bvlc and caffenet here, not 'cifar-19pct'"),
        (["--out", "x", "--to", "tensorflow"], "unknown format of weights 'tensorflow'"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    run: Callable[..., object], ours: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(ours.parent)
    done = run("weights", "convert", ours, *words)
    assert (done.code, said in done.err, done.err.count("\n")) == (2, True, 1)
    assert [path.name for path in ours.parent.iterdir()] == [ours.name]


@pytest.mark.parametrize("option", ["--classes", "--mean"])
def test_a_file_that_is_not_there_is_bad_input(run: Callable[..., object], ours: Path, option: str) -> None:
    done = run("weights", "convert", ours, "--out", ours.parent / "x.safetensors", option, "missing")
    assert (done.code, "cannot read missing: No such file" in done.err, done.err.count("\n")) == (3, True, 1)
    assert [path.name for path in ours.parent.iterdir()] == [ours.name]


def test_a_file_of_no_format_is_one_line(run: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"GIF89a no weights")
    done = run("weights", "convert", tmp_path / "x.bin", "--out", tmp_path / "y.safetensors")
    assert (done.code, done.err.count("\n")) == (3, 1)
    assert not (tmp_path / "y.safetensors").exists()
