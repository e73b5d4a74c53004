"""A small random model of handwritten digits, their images, and a run's folder made from both by hand."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.networks import create
from alexnet.weights.card import BEST, Card, save

NAMES = ["0", "1", "4"]


@pytest.fixture(scope="session")
def draw() -> Callable[[Path], Path]:
    """Writes 36 real digits into a folder, twelve of each of three classes: root/<class>/<number>.png."""
    found = load_digits()

    def write(folder: Path) -> Path:
        for name in NAMES:
            (folder / name).mkdir(parents=True)
            for number, image in enumerate(found.images[found.target == int(name)][:12]):
                Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / name / f"{number}.png")
        return folder

    return write


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, draw: Callable[[Path], Path]) -> Path:
    """A folder of these digits without train, val or test parts."""
    return draw(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """Writes a weights file of one and the same random network: (path, order) -> path; output n is class order[n]."""

    def write(path: Path, order: tuple[int, ...] = (0, 1, 2)) -> Path:
        torch.manual_seed(0)
        network = create("modern", 3, 63, width=0.25)
        last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
        with torch.no_grad():
            last.weight.copy_(last.weight[list(order)].clone())
            last.bias.copy_(last.bias[list(order)].clone())
        preprocessing = Preprocessing(63, 72, network.mean, network.std, store_size=72)
        names = [NAMES[index] for index in order]
        save(path, network, Card("modern", 3, 63, {"width": 0.25}, names, preprocessing.to_json()))
        return path

    return write


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    """The weights file of a model that belongs to no run."""
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="session")
def write_run(weights: Path) -> Callable[[Path, Path, Callable[[int], str]], dict[str, str]]:
    """Writes a run's folder: (folder, data, number of an image -> its part) -> the part of each path."""

    def write(folder: Path, data: Path, part_of: Callable[[int], str]) -> dict[str, str]:
        (folder / BEST).parent.mkdir(parents=True)
        (folder / BEST).write_bytes(weights.read_bytes())
        source = open_source(str(data))
        config = {"data": str(data), "fingerprint": source.fingerprint(), "recipe": {"split_seed": 0}}
        (folder / "config.json").write_text(json.dumps(config))
        rows = [
            (sample.path, source.class_names[sample.label], part_of(number))
            for number, sample in enumerate(source.samples)
        ]
        with (folder / "split.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label", "split"), *rows])
        return {path: part for path, _, part in rows}

    return write
