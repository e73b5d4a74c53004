"""Images that grow while a run goes on: the recipe imagenet-fast, small."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from alexnet.data.sources import open_source
from alexnet.errors import Interrupted
from alexnet.training.recipes import recipe
from alexnet.training.run import resume, train
from alexnet.training.supervised import Supervised
from alexnet.weights.card import BEST

SMALL = {"input_size": 128, "batch_size": 8, "epochs": 3, "differences": "width=0.1", "evaluate_every": 3}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of twelve real digits."""
    source, root = open_source("digits"), tmp_path_factory.mktemp("growing") / "digits"
    for label in range(2):
        (root / str(label)).mkdir(parents=True)
        for row in [row for row, sample in enumerate(source.samples) if sample.label == label][:12]:
            Image.fromarray(source.read(row)).save(root / str(label) / f"{row}.png")
    return root


def sizes(run: Path) -> list[int]:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [int(row["train_size"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_run_stopped_while_its_images_grow_resumes_bit_exactly(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = train(str(digits), recipe("imagenet-fast", **SMALL), tmp_path / "unbroken")
    step = Supervised.step

    def stopped(task: Supervised, batch: object, epoch: int, number: int) -> torch.Tensor:
        if (epoch, number) == (1, 0):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(task, batch, epoch, number)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "step", stopped)
        with pytest.raises(Interrupted):
            train(str(digits), recipe("imagenet-fast", **SMALL), tmp_path / "stopped")
    assert len(sizes(tmp_path / "stopped")) == 1
    resume(tmp_path / "stopped")
    assert sizes(tmp_path / "stopped") == sizes(unbroken) == [64, 80, 96]
    one, other = load_file(unbroken / BEST), load_file(tmp_path / "stopped" / BEST)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_recipe_grows_from_96_to_160_px_and_does_not_follow_the_images() -> None:
    made = recipe("imagenet-fast")
    assert (made.first_train_scale * 192, made.train_scale * 192) == (96, 160)
    assert (made.network, made.epochs, made.batch_size, made.init, made.automatic) == (
        *("modern", 18, 1024, None),
        "batch_size",
    )
