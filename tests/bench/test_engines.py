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

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the exported network lies, which all tests of this file use."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def store(folder: Path) -> str:
    return noise_store(folder, 6, 3)


@pytest.mark.parametrize("name", engines.CONFIGURATIONS)
def test_every_configuration_computes_our_network(name: str, folder: Path) -> None:
    engine, precision = engines.CONFIGURATIONS[name]
    pytest.importorskip(engine)
    torch.manual_seed(0)
    network = create("modern", 3)
    path = engines.exported(network, folder, precision == "int8")
    try:
        session = engines.SESSIONS[engine](path, precision, 1)
    except AlexNetError as error:
        pytest.skip(str(error))
    images = np.random.default_rng(1).standard_normal((2, 3, 192, 192), np.float32)
    with torch.inference_mode():
        wanted = network.eval()(torch.from_numpy(images)).softmax(1).numpy()
    error = {"f32": 1e-6, "bf16": 1e-3, "int8": 1e-2}[precision]
    np.testing.assert_allclose(session(images), wanted, rtol=0, atol=error)


def test_the_contenders_see_what_our_preprocessing_shows(folder: Path, tmp_path: Path) -> None:
    model = engines.Model("modern", 3, "onnxruntime", "f32", str(folder), 1)
    net = model.net
    images = np.random.default_rng(0).integers(0, 256, (2, net.resize, net.resize, 3), np.uint8)
    ours = Preprocessing(net.input_size, net.resize, net.mean, net.std, net.resize)
    np.testing.assert_allclose(model.centre(images), ours.views(list(torch.from_numpy(images))), rtol=0, atol=1e-5)
    photo = tmp_path / photographs(tmp_path, 1)[0]
    assert model.read(str(photo)).shape == (1, 219, 292, 3)


def test_contenders_count_their_images(folder: Path, store: str, tmp_path: Path) -> None:
    settings = {"engine": "onnxruntime", "precision": "f32", "folder": str(folder), "threads": 1}
    common = {"network": "modern", "seconds": 0.0, "device": "cpu"}
    photo = str(tmp_path / photographs(tmp_path, 1)[0])
    assert engines.alone(**common, batch_size=3, **settings)() == 3
    assert engines.predict(**common, photo=photo, **settings)() == 1
    assert engines.evaluate(**common, store=store, batch_size=4, **settings)() == 6


def test_engines_are_left_out_on_other_devices(folder: Path) -> None:
    with pytest.raises(AlexNetError, match="it computes on processors, not on cuda"):
        engines.alone("modern", 1, 0.0, "cuda")


def test_rivals_are_the_fastest_that_were_measured() -> None:
    found = {
        "x: " + engines.HALF: Series("x: " + engines.HALF, missing="no bfloat16"),
        "x: " + engines.FLOAT: Series("x: " + engines.FLOAT, (3.0,)),
        "x: " + engines.INT8: Series("x: " + engines.INT8, (1.0,)),
        "x: " + engines.ORT: Series("x: " + engines.ORT, (0.5,)),
    }
    rivals = engines.rivals(found, "x: ")
    assert rivals[engines.FLOATING].name == f"x: {engines.FLOAT}"
    assert rivals[engines.BEST].name == f"x: {engines.INT8}"
    assert engines.rivals(found, "y: ") == {}
