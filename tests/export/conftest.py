"""Networks whose answers depend on every layer, and engines for models in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import openvino
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from alexnet.data.preprocess import Preprocessing
from alexnet.networks.layers import Network
from alexnet.weights.card import Card
from alexnet.weights.convert.foreign import published
from alexnet.weights.convert.layouts import empty

Array = npt.NDArray[Any]
Run = Callable[[dict[str, Array]], list[Array]]


def lively(name: str, classes: int = 7, side: int | None = None) -> Network:
    """A network with weights under which every layer counts, its logits about as large as trained ones.

    side: of its input, None for the published one.
    """
    torch.manual_seed(5)
    network = empty(name, num_classes=classes, input_size=side)
    narrow(network)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.ndim == 1 and value.is_floating_point():
                value.uniform_(-0.3, 0.3).add_(1 if ".bn" in f".{key}" and key.endswith("weight") else 0)
            elif value.ndim > 1:
                inputs = value.shape[1] if value.ndim == 3 else value[0].numel()
                value.uniform_(-1, 1).mul_((6 / inputs) ** 0.5)
        last = list(network.stage_tensors().values())[-1]
        logits = network.eval()(images_of(network, 2))
        for value in last.values():
            value.div_(logits.std())
    return network


def narrow(network: Network, units: int = 64) -> None:
    """Give hidden dense layers so few units that a network of 60 million weights is tested in a moment."""
    before = None  # units of the dense layer before
    dense = [(path, layer) for path, layer in network.named_modules() if isinstance(layer, torch.nn.Linear)]
    for number, (path, layer) in enumerate(dense):
        outputs = layer.out_features if number == len(dense) - 1 else min(units, layer.out_features)
        made = torch.nn.Linear(before or layer.in_features, outputs, bias=layer.bias is not None)
        parent, _, key = path.rpartition(".")
        setattr(network.get_submodule(parent), key, made)
        before = outputs
    for path, norm in list(network.named_modules()):
        if isinstance(norm, torch.nn.BatchNorm1d):
            parent, _, key = path.rpartition(".")
            setattr(network.get_submodule(parent), key, torch.nn.BatchNorm1d(min(units, norm.num_features)))


def images_of(network: Network, count: int) -> torch.Tensor:
    """float32 (count, 3, S, S), large enough for LRN to matter."""
    return torch.randn(count, 3, network.input_size, network.input_size, generator=torch.manual_seed(3)) * 60


def card_of(network: Network, **changes: Any) -> Card:
    names = [f"kind {number}" for number in range(network.num_classes)]
    form = Preprocessing(**{**vars(published(network)), **changes})
    return Card(network.name, network.num_classes, form.input_size, {}, names, form.to_json())


def by_onnxruntime(model: Any) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def by_openvino(model: Any) -> Run:
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda given: list(compiled(given).values())


def by_reference(model: Any) -> Run:
    evaluator = ReferenceEvaluator(model, new_ops=[LRN])
    return lambda given: evaluator.run(None, given)


class LRN(OpRun):
    """As the specification has it; onnx 1.23's own normalises the first N channels alone, N the number of images."""

    op_domain = ""

    def _run(self, x: Array, alpha: float, beta: float, bias: float, size: int) -> tuple[Array]:
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(x**2, ((0, 0), (before, after), (0, 0), (0, 0)))
        total = sum(squares[:, shift : shift + x.shape[1]] for shift in range(size))
        return ((x / (bias + alpha / size * total) ** beta).astype(x.dtype),)


@pytest.fixture(scope="session")
def make_lively() -> Callable[..., Network]:
    return lively


@pytest.fixture(scope="session")
def make_card() -> Callable[..., Card]:
    return card_of


@pytest.fixture(scope="session")
def make_images() -> Callable[[Network, int], torch.Tensor]:
    return images_of


@pytest.fixture(scope="session")
def engines() -> dict[str, Callable[[Any], Run]]:
    """By name: a ModelProto -> a function from its inputs to its outputs."""
    return {"onnxruntime": by_onnxruntime, "openvino": by_openvino, "reference": by_reference}
