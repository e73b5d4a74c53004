"""alexnet compare: two images, two folders, and what cannot be compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet.inference.perceptual import PerceptualDistance
from alexnet.weights.pretrained import OWN


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a/ and b/ with images of noise: equal, different, of two sizes, damaged, without a counterpart."""
    root = tmp_path_factory.mktemp("pairs")
    draw = np.random.default_rng(0)
    for folder in ("a/sub", "b/sub"):
        (root / folder).mkdir(parents=True)
        for name in ("sub/10.png", "sub/9.png"):
            image = draw.integers(0, 256, (64, 72, 3), np.uint8)
            Image.fromarray(image).save(root / folder[0] / name)
    equal = Image.fromarray(draw.integers(0, 256, (65, 64, 3), np.uint8))
    equal.save(root / "a" / "equal.png")
    equal.save(root / "b" / "equal.bmp")
    equal.save(root / "b" / "alone.png")
    return root


def test_two_images(run: Callable[..., Any], photos: Path, weights: Path) -> None:
    one, other = photos / "a/sub/9.png", photos / "b/sub/9.png"
    done = run("compare", one, other, "--model", weights)
    assert done.code == 0
    wanted = alexnet.perceptual_distance(one, other, weights).item()
    assert float(done.out) == pytest.approx(wanted, abs=1e-6)
    assert wanted > 0.1
    assert "every channel counts 1" in done.err
    answer = json.loads(run("compare", one, other, "--model", weights, "--json").out)
    assert answer["images"][0]["distance"] == pytest.approx(wanted, abs=1e-6)
    assert (answer["network"], answer["weighted"], len(answer["layers"])) == ("modern", False, 5)


def test_without_a_model_the_weights_of_the_package_compare(run: Callable[..., Any], photos: Path) -> None:
    one, other = photos / "a/sub/9.png", photos / "b/sub/9.png"
    done = run("compare", one, other)
    assert done.code == 0
    assert float(done.out) == pytest.approx(alexnet.perceptual_distance(one, other, OWN).item(), abs=1e-6)


def test_channel_weights_from_a_file_count(
    run: Callable[..., Any], photos: Path, weights: Path, tmp_path: Path
) -> None:
    channels = [getattr(PerceptualDistance(weights)._stages[place], "out_channels", 0) for place in (0, 4, 8, 11, 14)]
    tensors = {f"lin{place}.model.1.weight": torch.full((1, each, 1, 1), 2.0) for place, each in enumerate(channels)}
    torch.save(tensors, tmp_path / "alex.pth")
    pair = (photos / "a/sub/9.png", photos / "b/sub/9.png", "--model", weights)
    done = run("compare", *pair, "--linear", tmp_path / "alex.pth")
    assert float(done.out) == pytest.approx(2 * float(run("compare", *pair).out), rel=1e-4)
    assert "every channel" not in done.err


def test_two_folders_are_paired_by_name(run: Callable[..., Any], photos: Path, weights: Path) -> None:
    done = run("compare", photos / "a", photos / "b", "--model", weights, "--json")
    answer = json.loads(done.out)
    assert done.code == 0
    assert [each["name"] for each in answer["images"]] == ["equal.png", "sub/9.png", "sub/10.png"]
    distances = [each["distance"] for each in answer["images"]]
    assert distances[0] == 0
    assert min(distances[1:]) > 0.1
    assert answer["mean"] == pytest.approx(sum(distances) / 3)
    assert (answer["only_a"], answer["only_b"]) == ([], ["alone.png"])
    assert "only in" in done.err
    assert "alone.png" in done.err
    shown = run("compare", photos / "a", photos / "b", "--model", weights)
    assert "3 pairs: mean" in shown.out


def test_the_map_is_a_picture_and_shows_where(run: Callable[..., Any], tmp_path: Path, weights: Path) -> None:
    image = np.full((96, 128, 3), 128, np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    image[32:64, 88:120] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    Image.fromarray(image).save(tmp_path / "b.png")
    done = run("compare", tmp_path / "a.png", tmp_path / "b.png", "--model", weights, "--map", tmp_path / "map.png")
    assert done.code == 0
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.width > 600
    module = PerceptualDistance(weights)
    pair = [torch.from_numpy(np.array(Image.open(tmp_path / name))).permute(2, 0, 1) for name in ("a.png", "b.png")]
    found = module.maps(*pair)[0]
    assert found[32:64, 88:120].mean() > 3 * found[:, :32].mean()


def test_what_cannot_be_compared_is_named_and_the_rest_answered(
    run: Callable[..., Any], photos: Path, weights: Path, tmp_path: Path
) -> None:
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        Image.new("RGB", (64, 64 if side == "a" else 66)).save(tmp_path / side / "size.png")
        Image.new("RGB", (8, 8)).save(tmp_path / side / "tiny.png")
        (tmp_path / side / "damaged.png").write_bytes(b"\x89PNG")
        Image.new("RGB", (64, 64)).save(tmp_path / side / "good.png")
    done = run("compare", tmp_path / "a", tmp_path / "b", "--model", weights, "--json")
    assert done.code == 3
    found = {each["name"]: each for each in json.loads(done.out)["images"]}
    assert found["good.png"]["distance"] == 0
    assert "64 x 64 px" in found["size.png"]["error"]
    assert "64 x 66 px" in found["size.png"]["error"]
    assert "resize one" in found["size.png"]["error"]
    assert "damaged.png" in found["damaged.png"]["error"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a", "gone", "--model", "MODEL"], 3, "there is nothing at"),
        (["a", "b/equal.bmp", "--model", "MODEL"], 2, "give two images or two folders"),
        (["a", "b", "--model", "MODEL", "--map", "m.png"], 2, "goes with two images"),
        (["a/equal.png", "b/equal.bmp", "--model", "MODEL", "--map", "m.txt"], 2, "does not end in .png"),
        (["a/sub", "empty", "--model", "MODEL"], 3, "a folder without images"),
        (["a/sub", "other", "--model", "MODEL"], 3, "has the name of one of"),
        (["a", "b", "--model", "MODEL", "--linear", "gone.pth"], 3, "no file of channel weights"),
    ],
)
def test_wrong_usage_is_one_line(
    run: Callable[..., Any], photos: Path, weights: Path, words: list[str], code: int, message: str
) -> None:
    (photos / "empty").mkdir(exist_ok=True)
    (photos / "other").mkdir(exist_ok=True)
    Image.new("RGB", (64, 64)).save(photos / "other" / "x.png")
    given = [weights if word == "MODEL" else word if word.startswith("--") else photos / word for word in words]
    done = run("compare", *given)
    assert done.code == code
    assert message in done.err
    assert done.out == ""
    assert len([line for line in done.err.splitlines() if "every channel" not in line]) == 1
