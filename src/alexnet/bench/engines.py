"""Baseline: the same networks in OpenVINO and in ONNX Runtime, from the files that `alexnet export` writes.

Requires the extra `bench`. The engines compute on processors. Around them stands what their users write: Pillow decodes
and resizes, NumPy normalises. N images, S x S pixels.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from alexnet.bench.measure import Contender, Series
from alexnet.bench.table import fastest
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import open_store
from alexnet.errors import AlexNetError
from alexnet.export.int8 import quantise
from alexnet.export.network import IMAGES, core
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.weights.card import Card

Floats = NDArray[np.float32]
Session = Callable[[Floats], Floats]
"""The network in an engine: normalised images (N, 3, S, S) -> (N, K)."""

HALF, FLOAT, INT8 = "OpenVINO, bfloat16", "OpenVINO, float32", "OpenVINO, int8"
ORT, ORT_INT8 = "ONNX Runtime, float32", "ONNX Runtime, int8"
CONFIGURATIONS = {  # name: the engine and the type in which it computes
    HALF: ("openvino", "bf16"),
    FLOAT: ("openvino", "f32"),
    INT8: ("openvino", "int8"),
    ORT: ("onnxruntime", "f32"),
    ORT_INT8: ("onnxruntime", "int8"),
}
FLOATING, BEST = "OpenVINO in floating point", "OpenVINO's best"


def contenders(function: str, settings: dict[str, Any], folder: str | Path, title: str = "") -> list[Contender]:
    """One for each configuration, of builder `function` of this file. title: prefix of the names.

    folder: where the first of them in need of a model's file writes it, for the others.
    """
    return [
        Contender(
            title + name,
            f"{__name__}:{function}",
            {
                **settings,
                "engine": engine,
                "precision": precision,
                "folder": str(folder),
                "threads": torch.get_num_threads(),
            },
            ours=False,
        )
        for name, (engine, precision) in CONFIGURATIONS.items()
    ]


def rivals(found: Mapping[str, Series], prefix: str) -> dict[str, Series]:
    """Of the contenders of that title those that we measure ourselves by; empty where it has none."""
    floating = [found[prefix + name] for name in (HALF, FLOAT) if prefix + name in found]
    if not floating:
        return {}
    return {FLOATING: fastest(*floating), BEST: fastest(*floating, found[prefix + INT8])}


def exported(network: Network, folder: Path, int8: bool = False) -> Path:
    """The network as an ONNX file in `folder`, images (N, 3, S, S) first; written where it is not there yet.

    int8: with the ranges of noise, as its weights are noise.
    """
    import onnx

    path = folder / f"{network.name}-{network.num_classes}{'-int8' if int8 else ''}.onnx"
    if path.exists():
        return path
    preprocessing = Preprocessing(network.input_size, network.resize, network.mean, network.std)
    names = [str(number) for number in range(network.num_classes)]
    card = Card(network.name, network.num_classes, network.input_size, {}, names, preprocessing.to_json())
    model = core(network, card)
    if int8:
        noise = np.random.default_rng(0).standard_normal((8, 3, card.input_size, card.input_size), np.float32)
        model = quantise(model, [{IMAGES: noise}])
    onnx.save(model, path)
    return path


class Model:
    """A network with random weights, exported once, in an engine."""

    def __init__(self, network: str, classes: int | None, engine: str, precision: str, folder: str, threads: int):
        self.net = create(network, classes)
        path = exported(self.net, Path(folder), int8=precision == "int8")
        self.session = SESSIONS[engine](path, precision, threads)

    def centre(self, images: NDArray[np.uint8]) -> Floats:
        """Centre crop and normalise: uint8 (N, H, W, 3) -> float32 (N, 3, S, S)."""
        side = self.net.input_size
        top, left = ((length - side) // 2 for length in images.shape[1:3])
        view = images[:, top : top + side, left : left + side].transpose(0, 3, 1, 2)
        mean, std = (np.array(each, np.float32).reshape(3, 1, 1) for each in (self.net.mean, self.net.std))
        normalised: Floats = np.ascontiguousarray((view - mean) / std)
        return normalised

    def read(self, path: str) -> NDArray[np.uint8]:
        """A file as uint8 (1, h, w, 3), its shorter side `resize` pixels; JPEG decoded at the least scale above."""
        least = self.net.resize
        with Image.open(path) as image:
            image.draft("RGB", (least, least))
            scale = least / min(image.size)
            size = (max(least, round(image.width * scale)), max(least, round(image.height * scale)))
            return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))[None]


def alone(network: str, batch_size: int, seconds: float, device: str, **settings: Any) -> Work:
    """The network on one batch that is ready for it. Unit: image."""
    _on_processor(device)
    model = Model(network, None, **settings)
    side = model.net.input_size
    images = np.random.default_rng(0).standard_normal((batch_size, 3, side, side), np.float32)
    return repeated(lambda: model.session(images), batch_size, seconds)


def predict(network: str, photo: str, seconds: float, device: str, **settings: Any) -> Work:
    """The five likeliest classes of one image file. Unit: image."""
    _on_processor(device)
    model = Model(network, None, **settings)
    return repeated(lambda: np.argsort(model.session(model.centre(model.read(photo)))[0])[-5:].tolist(), 1, seconds)


def evaluate(network: str, store: str, batch_size: int, seconds: float, device: str, **settings: Any) -> Work:
    """The centre view of every image in a store. Unit: image."""
    _on_processor(device)
    packed = open_store(store, verify=False)
    model = Model(network, len(packed.class_names), **settings)
    rows = np.arange(len(packed))

    def every() -> None:
        for start in range(0, len(rows), batch_size):
            model.session(model.centre(_resized(packed.images(rows[start : start + batch_size]), model.net.resize)))

    return repeated(every, len(packed), seconds)


def _resized(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """uint8 (N, S, S, 3) -> uint8 (N, side, side, 3)."""
    if images.shape[1] == side:
        return images
    small = (Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR) for image in images)
    return np.stack([np.asarray(image) for image in small])


def _on_processor(device: str) -> None:
    if device != "cpu":
        raise AlexNetError(f"it computes on processors, not on {device}")


def _openvino(path: Path, precision: str, threads: int) -> Session:
    import openvino

    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise AlexNetError("this processor has no bfloat16")
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if precision != "int8":  # beside int8 the engine chooses the type of the rest
        hints["INFERENCE_PRECISION_HINT"] = precision
    compiled = core.compile_model(str(path), "CPU", hints)
    return lambda images: compiled(images)[0]


def _onnxruntime(path: Path, precision: str, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


SESSIONS = {"openvino": _openvino, "onnxruntime": _onnxruntime}
