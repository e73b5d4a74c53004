"""alexnet embed: a file of features, whole or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexnet


def test_the_file_has_what_the_classifier_gives(
    run: Callable[..., Any], digits: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "features.npz"
    words = ("embed", weights, digits, "--layer", "conv3", "--layer", "relu7", "--out", out)
    done = run(*words, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert (answer["images"], answer["classes"], answer["skipped"]) == (36, 3, 0)
    found = np.load(out)
    assert set(found) == {"conv3", "relu7", "paths", "labels", "splits", "class_names"}
    assert found["conv3"].dtype == np.float32
    assert answer["layers"] == {name: found[name].shape[1] for name in ("conv3", "relu7")}
    model = alexnet.load(weights)
    images = [digits / path for path in found["paths"]]
    for layer in ("conv3", "relu7"):
        assert found[layer] == pytest.approx(model.embed(images, layer), abs=1e-4)
    assert [found["class_names"][label] for label in found["labels"]] == [
        Path(path).parts[0] for path in found["paths"]
    ]
    assert list(out.parent.iterdir()) == [out]
    assert run(*words, "--pool", "none").code == 0
    assert np.load(out)["conv3"] == pytest.approx(model.embed(images, "conv3", "none"), abs=1e-4)


def test_images_without_classes_and_the_default_layer(
    run: Callable[..., Any], digits: Path, weights: Path, tmp_path: Path
) -> None:
    done = run("embed", weights, digits / "0", "--out", tmp_path / "f.npz")
    assert done.code == 0, done.err
    assert np.load(tmp_path / "f.npz")["relu7"].shape == (12, 512)
    assert "relu7: 12 x 512" in done.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["DATA", "--out", "f.npy"], 2, "does not end in .npz"),
        (["DATA", "--out", "f.npz", "--layer", "fc9"], 2, "unknown layer of modern 'fc9'"),
        (["DATA", "--out", "f.npz", "--pool", "max"], 2, "unknown pool 'max'"),
        (["gone", "--out", "f.npz"], 3, "gone"),
        (["DATA", "--out", "/proc/none/f.npz"], 1, "cannot write"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    run: Callable[..., Any],
    digits: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("embed", weights, *[digits if word == "DATA" else word for word in words])
    assert done.code == code
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_stands_there_stays_when_the_network_has_diverged(
    run: Callable[..., Any], digits: Path, weights: Path, tmp_path: Path
) -> None:
    model = alexnet.load(weights)
    model.network.conv2.weight.data.fill_(float("nan"))
    model.save(tmp_path / "bad.safetensors")
    out = tmp_path / "f.npz"
    out.write_bytes(b"before")
    done = run("embed", tmp_path / "bad.safetensors", digits, "--out", out)
    assert done.code == 1
    assert "not finite" in done.err
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.safetensors", "f.npz"]
