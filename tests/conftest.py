"""What tests of every room share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from alexnet import console
from alexnet.data.sources import open_source


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own: they neither use nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_CACHE", str(folder))
        yield folder


@pytest.fixture
def shown_log() -> Iterator[None]:
    """Messages go to standard error, as on the command line."""
    with console.show_log():
        yield


@pytest.fixture(scope="session")
def write_digits() -> Callable[[Path, int, int], Path]:
    """Writes real digits into a folder: (root, classes, images of each) -> root, with root/digit <n>/<row>.png."""

    def write(root: Path, classes: int, count: int) -> Path:
        source = open_source("digits")
        for label in range(classes):
            (root / f"digit {label}").mkdir(parents=True)
            for row in [row for row, sample in enumerate(source.samples) if sample.label == label][:count]:
                Image.fromarray(source.read(row)).save(root / f"digit {label}" / f"{row}.png")
        return root

    return write


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of archives of real images; the test is skipped where there is none."""
    if not os.environ.get("ALEXNET_DATA"):
        pytest.skip("ALEXNET_DATA is not set: it names the folder of archives such as 17flowers.tgz")
    return Path(os.environ["ALEXNET_DATA"])
