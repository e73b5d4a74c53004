"""What tests of compression share."""

from pathlib import Path

import pytest

import alexnet


@pytest.fixture(scope="session")
def flat_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> "alexnet.Run":
    """A finished run whose test part has a third of the images; read only."""
    settings = {
        "input_size": 16,
        "store_size": 20,
        "resize": 20,
        "batch_size": 6,
        "epochs": 3,
        "test": 0.33,
        "lr": 0.01,
    }
    return alexnet.train(small_data, "cifar-80sec", tmp_path_factory.mktemp("runs") / "flat", **settings)
