"""What tests of every room share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own: they neither use nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of archives of real images; the test is skipped where there is none."""
    if not os.environ.get("ALEXNET_DATA"):
        pytest.skip("ALEXNET_DATA is not set: it names the folder of archives such as 17flowers.tgz")
    return Path(os.environ["ALEXNET_DATA"])
