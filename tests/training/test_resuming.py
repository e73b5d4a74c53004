"""An interrupted run goes on wherever its images lie, known by their pixels; and goes on with no others."""

import csv
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from alexnet.data.sources import open_source
from alexnet.data.store import pack
from alexnet.errors import DataError, Interrupted
from alexnet.runs.folder import CHECKPOINT, RunFolder
from alexnet.training import supervised
from alexnet.training.recipes import recipe
from alexnet.training.run import resume, train
from alexnet.weights.card import BEST

SETTINGS = {"input_size": 16, "store_size": 20, "resize": 20, "batch_size": 6, "epochs": 2}


@pytest.fixture(scope="module")
def unbroken(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small_data, recipe("cifar-80sec", **SETTINGS), tmp_path_factory.mktemp("runs") / "unbroken")


@pytest.fixture(scope="module")
def stopped_once(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the images, and a run on it that was interrupted in its second epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    shutil.copytree(small_data, folder / "photos")
    take, taken = supervised.Supervised.step, []

    def counting(self: supervised.Supervised, *given: object) -> tuple[float, float]:
        taken.append(1)
        if len(taken) == 6:
            signal.raise_signal(signal.SIGINT)
        return take(self, *given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervised.Supervised, "step", counting)
        with pytest.raises(Interrupted):
            train(folder / "photos", recipe("cifar-80sec", **SETTINGS), folder / "run")
    return folder / "photos", folder / "run"


@pytest.fixture
def stopped(stopped_once: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The folder of its images, which holds nothing else, and that of the run; both may be changed."""
    photos, run = (
        shutil.copytree(stopped_once[0], tmp_path / "photos"),
        shutil.copytree(stopped_once[1], tmp_path / "r"),
    )
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace(str(stopped_once[0]), str(photos)))
    return photos, run


def equal(one: Path, two: Path) -> bool:
    a, b = load_file(one / BEST), load_file(two / BEST)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rename_all(photos: Path) -> None:
    """Other names, in another order."""
    for number, image in enumerate(sorted(photos.glob("*/*.png"), reverse=True)):
        image.rename(image.parent / f"photo {number}.png")


def add_images(photos: Path) -> None:
    """A class that is new, and an image of one that is not."""
    for name in ("digit 0", "digit 00"):
        (photos / name).mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photos / name / "00 new.png")


def touch_all(photos: Path) -> None:
    for image in photos.glob("*/*.png"):
        os.utime(image, (1, 1))


@pytest.mark.parametrize("change", [touch_all, add_images])
def test_a_run_goes_on_bit_exactly_where_names_times_or_company_changed(
    stopped: tuple[Path, Path], unbroken: Path, change: Callable[[Path], None]
) -> None:
    photos, run = stopped
    change(photos)
    resume(run)
    assert equal(run, unbroken)


def test_a_run_that_went_on_with_renamed_images_goes_on_again(stopped: tuple[Path, Path], unbroken: Path) -> None:
    photos, run = stopped
    rename_all(photos)
    checkpoint = (run / CHECKPOINT).read_bytes()
    resume(run)
    (run / CHECKPOINT).write_bytes(checkpoint)
    resume(run)
    assert equal(run, unbroken)


def test_a_run_goes_on_where_its_data_was_moved_or_packed(
    stopped: tuple[Path, Path], unbroken: Path, tmp_path: Path
) -> None:
    photos, run = stopped
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"if the data has moved, say .*: alexnet train --resume .* --data FOLDER"):
        resume(run)
    pack(open_source(tmp_path / "elsewhere"), tmp_path / "store", size=20)
    packed = shutil.copytree(run, tmp_path / "packed run")
    for place, folder in ((tmp_path / "elsewhere", run), (tmp_path / "store", packed)):
        resume(folder, data=str(place))
        assert equal(folder, unbroken)
        assert RunFolder(folder).read_config().data == str(place)


def test_a_run_never_goes_on_with_other_images(stopped: tuple[Path, Path]) -> None:
    photos, run = stopped
    image = next(photos.glob("*/*.png"))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(image)
    with pytest.raises(DataError, match=r"has changed since the run .* began: 1 of its 36 images are missing or have"):
        resume(run)


def test_a_run_of_an_earlier_version_knows_its_data_by_the_files_state_alone(
    stopped: tuple[Path, Path], unbroken: Path
) -> None:
    photos, run = stopped
    rows = list(csv.reader((run / "split.csv").read_text().splitlines()))
    (run / "split.csv").write_text("".join(",".join(row[:3]) + "\n" for row in rows))
    config = (run / "config.json").read_text()
    touch_all(photos)
    with pytest.raises(DataError, match="has changed since the run"):
        resume(run)
    now = config.replace(RunFolder(run).read_config().fingerprint, open_source(photos).fingerprint())
    (run / "config.json").write_text(now)
    resume(run)
    assert equal(run, unbroken)
