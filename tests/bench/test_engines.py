"""The baselines in OpenVINO and ONNX Runtime compute our networks, and see what our preprocessing shows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.bench import engines
from alexnet.bench.measure import Series
from alexnet.bench.pictures import noise_store, photographs
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError
from alexnet.networks import create

pytest.importorskip("onnxscript")
NAMES = {name: f"modern: {name}" for name in engines.CONFIGURATIONS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the exported network lies, which all tests of this file use."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def store(folder: Path) -> str:
    return noise_store(folder, 6, 3)


def settings(name: str, folder: Path) -> dict[str, object]:
    found = next(each for each in engines.contenders("alone", {}, folder) if each.name == name)
    return found.settings


@pytest.mark.parametrize("name", engines.CONFIGURATIONS)
def test_every_configuration_computes_our_network(name: str, folder: Path) -> None:
    engine, precision = engines.CONFIGURATIONS[name]
    pytest.importorskip(engine)
    torch.manual_seed(0)
    network = create("modern", 3)
    path = engines.exported(network, folder)
    if precision == "int8":
        path = engines.quantised(path, network.input_size)
    try:
        session = engines.SESSIONS[engine](path, precision, 1)
    except AlexNetError as error:
        pytest.skip(str(error))
    images = np.random.default_rng(1).standard_normal((2, 3, 192, 192), np.float32)
    wanted = network.eval()(torch.from_numpy(images)).detach().numpy()
    error = {"f32": 1e-5, "bf16": 0.03, "int8": 0.1}[precision]
    np.testing.assert_allclose(session(images), wanted, rtol=0, atol=error * np.abs(wanted).max())
