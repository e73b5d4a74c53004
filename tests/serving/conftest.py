"""Servers that run, a model and a photo for them."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import alexnet
from alexnet.data.preprocess import Preprocessing
from alexnet.export import onnx as writer
from alexnet.export.formats import Order
from alexnet.networks import create
from alexnet.weights.calibration import Calibration, Known
from alexnet.weights.card import Card
from served import Served, encoded, stop
from served import start as start_server

TOKEN = "a-token-of-enough-letters"


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Starts servers: start(model, option, ...) -> Served; those that still run are ended with the session."""
    running: list[Served] = []

    def start(model: Path, *options: str, **environment: str) -> Served:
        log = tmp_path_factory.mktemp("served") / "log"
        running.append(start_server(model, *options, log=log, **environment))
        return running[-1]

    yield start
    for served in running:
        stop(served)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network as an ONNX file that tells 'none of these' by its doubt."""
    torch.manual_seed(0)
    network = create("modern", 3, 63, width=0.25)
    preprocessing = Preprocessing(63, 72, network.mean, network.std, store_size=72)
    names = ["digit 0", "digit 1", "digit 2"]
    calibration = Calibration(0.01, Known(doubt=1.0, threshold=0.5, places=()))
    card = Card("modern", 3, 63, {"width": 0.25}, names, preprocessing.to_json(), calibration=calibration)
    path = tmp_path_factory.mktemp("export") / "small model.onnx"
    writer.write(Order(alexnet.Classifier(network, card, "cpu"), "fp32", batched=False), path)
    return path


@pytest.fixture(scope="session")
def server(start: Callable[..., Served], export: Path) -> Served:
    """A server with a short queue and no token, started where core files are allowed."""
    usual, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    try:
        return start(export, "--queue", "4", "--max-bytes", "200k", "--max-pixels", "20M")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (usual, most))


@pytest.fixture(scope="session")
def strict(start: Callable[..., Served], export: Path) -> Served:
    """A server with a token, and a second of patience."""
    options = ("--queue", "2", "--timeout", "1", "--allow-origin", "https://friend.example", "--allow-host", "mine")
    served = start(export, *options, ALEXNET_TOKEN=TOKEN)
    served.headers["Authorization"] = f"Bearer {TOKEN}"
    return served


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A PNG of 40 x 30 pixels of noise."""
    return encoded(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
