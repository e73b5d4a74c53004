"""What tests of the command line share."""

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from alexnet import cli
from alexnet.data.preprocess import Preprocessing
from alexnet.networks import create
from alexnet.weights.card import Card, save

SMALL = ["--recipe", "torchvision", "--network", "modern", "--input-size", "63", "--resize", "72"]
SMALL += ["--epochs", "1", "--batch-size", "8"]


@dataclass
class Done:
    """What a command came to: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def run() -> Callable[..., Done]:
    """Run a command in this process: run(word, ...) -> Done."""

    def run(*words: str | Path) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.main([str(word) for word in words])
        return Done(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def draw() -> Callable[..., None]:
    """Write real handwritten digits: draw(folder, digits, images) writes `images` of each as folder/<digit>/<n>.png."""
    found = load_digits()

    def draw(folder: Path, digits: list[str], images: int) -> None:
        for digit in digits:
            (folder / digit).mkdir(parents=True)
            for number, image in enumerate(found.images[found.target == int(digit)][:images]):
                pixels = (image * 15.9).astype(np.uint8).repeat(10, 0).repeat(10, 1)
                Image.fromarray(pixels).save(folder / digit / f"{number}.png")

    return draw


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options that make a training short."""
    return SMALL


@pytest.fixture(scope="session")
def digits(draw: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real images: three classes of twelve."""
    folder = tmp_path_factory.mktemp("data") / "three"
    draw(folder, ["0", "1", "4"], images=12)
    return folder


@pytest.fixture(scope="session")
def trained(run: Callable[..., Done], digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """The folder of a short run on it, and what the command that trained it printed."""
    folder = tmp_path_factory.mktemp("work") / "first run"
    done = run("train", digits, *SMALL, "--out", folder, "--json")
    assert done.code == 0, done.stderr
    return folder, done


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a small network for the same three classes, in a file on its own."""
    network = create("modern", 3, 63, width=0.25)
    preprocessing = Preprocessing(63, 72, network.mean, network.std, store_size=72)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save(path, network, Card("modern", 3, 63, {"width": 0.25}, ["0", "1", "4"], preprocessing.to_json()))
    return path
