"""A small random model of handwritten digits, their images, and a run's folder made from both by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.data.store import named_store
from alexnet.networks import create
from alexnet.runs.folder import COMPARED, Config, RunFolder, SplitRow
from alexnet.weights.card import Card, save

NAMES = ["digit 0", "digit 1", "digit 2"]


@pytest.fixture(scope="session")
def draw(write_digits: Callable[[Path, int, int], Path]) -> Callable[[Path], Path]:
    """Writes 36 real digits into a folder, twelve of each of three classes: root/<class>/<number>.png."""
    return lambda folder: write_digits(folder, 3, 12)


@pytest.fixture(scope="session")
def data(small_data: Path) -> Path:
    """A folder of such digits without train, val or test parts."""
    return small_data


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
    """Writes a run's folder: (folder, data, number of an image -> its part) -> the part of each path.

    digests: whether it keeps them; runs of earlier versions do not.
    """

    def write(folder: Path, data: Path, part_of: Callable[[int], str], digests: bool = True) -> dict[str, str]:
        run = RunFolder(folder)
        run.weights.parent.mkdir(parents=True)
        run.weights.write_bytes(weights.read_bytes())
        source = open_source(str(data))
        config = {"data": str(data), "fingerprint": source.fingerprint(), "recipe": {"split_seed": 0}}
        run.write_config(Config(kind="train", **config, environment=dict.fromkeys(COMPARED, "")))
        names = source.class_names
        known = named_store(str(data), size=72).digests if digests else [""] * len(source.samples)
        rows = [
            SplitRow(each.path, names[each.label], part_of(row), known[row]) for row, each in enumerate(source.samples)
        ]
        run.write_split(rows)
        return {row.path: row.split for row in rows}

    return write
