"""Our networks as ONNX graphs: every network, for one input size and any number of images.

Tensors keep the names of the state dict. Dropout is left out, as it does nothing in evaluation mode.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.errors import UsageError
from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, LocallyConnected2d, Network, _windows, evaluating
from alexnet.ops import LocalResponseNorm
from alexnet.weights.card import Card
from alexnet.weights.convert import layouts
from alexnet.weights.convert.onnx_graph import library
from alexnet.weights.exported import CARD

OPSET, IR = 17, 8
Array = npt.NDArray[Any]
PLAIN = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid"}


def model(network: Network, card: Card) -> Any:
    """A ModelProto: images float32 (N, 3, S, S), normalised as the card's preprocessing says -> logits (N, K)."""
    helper = library("writing ONNX").helper
    graph = NetworkGraph(network, card.input_size, OPSET)
    graph.nodes[-1].output[0] = "logits"
    images = helper.make_tensor_value_info("images", 1, ["N", 3, card.input_size, card.input_size])
    logits = helper.make_tensor_value_info("logits", 1, ["N", network.num_classes])
    body = helper.make_graph(graph.nodes, network.name, [images], [logits], graph.tensors)
    found = helper.make_model(
        body, producer_name="alexnet", ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    found.doc_string = (
        "images: RGB, (value - mean) / std of the card's preprocessing, values 0 to 255; logits: before softmax"
    )
    helper.set_model_props(found, {CARD: json.dumps(card.to_json(), sort_keys=True)})
    return found


class Graph:
    """The nodes and tensors of a graph, built in the order of computation."""

    def __init__(self) -> None:
        onnx = library("writing ONNX")
        self.make, self.to_tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.current = ""  # the output of the last node

    def constant(self, name: str, value: Any) -> str:
        """Add a tensor; returns its name."""
        self.tensors.append(self.to_tensor(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def node(self, kind: str, name: str, *inputs: str, **settings: Any) -> str:
        """Add a node that reads the current map, or `inputs`; the first of its outputs becomes the current one."""
        made = settings.pop("outputs", [f"{name}.out"])
        self.nodes.append(self.make(kind, list(inputs) or [self.current], made, name=name, **settings))
        self.current = str(made[0])
        return self.current


class NetworkGraph(Graph):
    """A network, from "images" to `current`, the logits.

    outputs: the name of each stage's output, and its shape for one image, by the stage's name.
    opset: the version of the operators, 17 or later.
    """

    def __init__(self, network: Network, side: int, opset: int) -> None:
        super().__init__()
        self.opset, self.current = opset, "images"
        self.outputs: dict[str, tuple[str, tuple[int, ...]]] = {}
        before = torch.zeros(1, 3, side, side)
        device = next(network.parameters()).device
        with evaluating(network), torch.inference_mode():
            _, maps = network(before.to(device), return_maps=True)
        paths = layouts.paths(network)
        for name, stage in network.stages():
            self.stage(paths[name], stage, tuple(before.shape))
            before = maps[name]
            self.outputs[name] = self.current, tuple(before.shape)

    def parameters(self, name: str, stage: nn.Module, keys: tuple[str, ...]) -> list[str]:
        state = stage.state_dict()
        found = {key: state[key].detach().float().cpu().numpy() for key in keys if key in state}
        return [self.constant(f"{name}.{key}", value) for key, value in found.items()]

    def stage(self, name: str, stage: nn.Module, shape: tuple[int, ...]) -> None:
        """shape: of what the stage reads."""
        if type(stage) in PLAIN:
            self.node(PLAIN[type(stage)], name)
        elif isinstance(stage, nn.Sequential):
            for part, inner in stage.named_children():
                self.stage(f"{name}.{part}", inner, shape)
        elif not _does_nothing(stage, shape):
            self.layer(name, stage, shape)

    def layer(self, name: str, stage: nn.Module, shape: tuple[int, ...]) -> None:
        if isinstance(stage, nn.Conv2d):
            pads = [int(side) for side in (*stage.padding, *stage.padding)]
            inputs = self.parameters(name, stage, ("weight", "bias"))
            self.node("Conv", name, self.current, *inputs, strides=stage.stride, pads=pads, group=stage.groups)
        elif isinstance(stage, nn.Linear):
            self.node("Gemm", name, self.current, *self.parameters(name, stage, ("weight", "bias")), transB=1)
        elif isinstance(stage, (nn.BatchNorm1d, nn.BatchNorm2d)):
            keys = ("weight", "bias", "running_mean", "running_var")
            inputs = self.parameters(name, stage, keys)
            self.node("BatchNormalization", name, self.current, *inputs, epsilon=stage.eps)
        elif isinstance(stage, nn.Flatten):
            self.node("Flatten", name, axis=1)
        elif isinstance(stage, nn.ZeroPad2d):
            left, right, top, bottom = stage.padding
            sides = self.constant(f"{name}.pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
            self.node("Pad", name, self.current, sides)
        elif isinstance(stage, (nn.MaxPool2d, nn.AvgPool2d)):
            self.pool(name, stage)
        elif isinstance(stage, AdaptiveAvgPool2d):
            self.adaptive(name, stage, shape)
        elif isinstance(stage, Enlarge):
            self.products(name, *(_enlarging(side, stage.size) for side in shape[2:]))
        elif isinstance(stage, LocalResponseNorm):
            self.norm(name, stage)
        elif isinstance(stage, LocallyConnected2d):
            self.local(name, stage)
        else:
            raise UsageError(f"{name}, a {type(stage).__name__}, cannot be written as ONNX at this input size")

    def pool(self, name: str, stage: nn.MaxPool2d | nn.AvgPool2d) -> None:
        pair = {key: _pair(getattr(stage, key)) for key in ("kernel_size", "stride", "padding")}
        settings = {"kernel_shape": pair["kernel_size"], "strides": pair["stride"], "pads": pair["padding"] * 2}
        kind = "MaxPool" if isinstance(stage, nn.MaxPool2d) else "AveragePool"
        self.node(kind, name, ceil_mode=int(stage.ceil_mode), **settings)

    def adaptive(self, name: str, stage: AdaptiveAvgPool2d, shape: tuple[int, ...]) -> None:
        """Two products with constant matrices, as the stage itself computes it; to one value a map an average."""
        if stage.size == 1:
            self.node("GlobalAveragePool", name)
            return
        like = torch.empty(0)
        rows, columns = (_windows(side, stage.size, like) for side in shape[2:])
        self.products(name, *(each / each.sum(1, keepdim=True) for each in (rows, columns)))

    def products(self, name: str, rows: torch.Tensor, columns: torch.Tensor) -> None:
        """(N, C, H, W) -> (N, C, h, w): rows (h, H) @ maps @ columns (w, W), transposed."""
        left, right = (
            self.constant(f"{name}.{key}", each.numpy()) for key, each in (("rows", rows), ("columns", columns.T))
        )
        self.node("MatMul", f"{name}.left", left, self.current)
        self.node("MatMul", name, self.current, right)

    def norm(self, name: str, stage: LocalResponseNorm) -> None:
        if stage.size % 2 == 0:  # ONNX reaches one further ahead, we one further back
            raise UsageError(f"{name} has a window of {stage.size}, which ONNX cannot centre; take an odd one")
        if stage.within_channel:
            return self.within(name, stage)
        alpha = stage.alpha_per_square * stage.size  # ONNX divides it by the window
        settings = {"size": stage.size, "alpha": alpha, "beta": stage.beta, "bias": stage.k}
        if stage.groups == 1:
            self.node("LRN", name, **settings)
            return None
        parts = [f"{name}.{group}" for group in range(stage.groups)]
        counted = {"num_outputs": stage.groups} if self.opset >= 18 else {}
        self.node("Split", f"{name}.split", outputs=parts, axis=1, **counted)
        normed = [self.node("LRN", f"{part}.lrn", part, **settings) for part in parts]
        self.node("Concat", name, *normed, axis=1)
        return None

    def within(self, name: str, stage: LocalResponseNorm) -> None:
        """x / (k + alpha' * size² * average of x² over the window, zeros outside counted) ** beta."""
        x, pad = self.current, (stage.size - 1) // 2
        self.node("Mul", f"{name}.squares", x, x)
        window = {"kernel_shape": [stage.size] * 2, "strides": [1, 1], "pads": [pad] * 4, "count_include_pad": 1}
        self.node("AveragePool", f"{name}.mean", **window)
        numbers = {"scale": stage.alpha_per_square * stage.size**2, "k": stage.k, "power": stage.beta}
        scale, k, power = (self.constant(f"{name}.{key}", np.float32(value)) for key, value in numbers.items())
        self.node("Mul", f"{name}.scaled", self.current, scale)
        self.node("Add", f"{name}.sum", self.current, k)
        self.node("Pow", f"{name}.power", self.current, power)
        self.node("Div", name, x, self.current)

    def local(self, name: str, stage: LocallyConnected2d) -> None:
        """Windows by a convolution whose filters are each 1 at one place, then a product at every position."""
        taps, places = stage.kernel_size**2, stage.size**2
        one = np.tile(np.eye(taps, dtype=np.float32), (stage.in_channels, 1))
        filters = self.constant(f"{name}.taps", one.reshape(-1, 1, stage.kernel_size, stage.kernel_size))
        pads = [stage.padding] * 4
        self.node("Conv", f"{name}.windows", self.current, filters, pads=pads, group=stage.in_channels)
        sides = self.constant(f"{name}.shape", np.array([0, stage.in_channels * taps, places], np.int64))
        self.node("Reshape", f"{name}.flat", self.current, sides)
        self.node("Transpose", f"{name}.turned", perm=[2, 0, 1])
        weight, bias = self.parameters(name, stage, ("weight", "bias"))
        self.node("MatMul", f"{name}.product", self.current, weight)  # (places, N, O)
        self.node("Transpose", f"{name}.places", perm=[1, 0, 2])
        self.node("Add", f"{name}.biased", self.current, bias)
        self.node("Transpose", f"{name}.back", perm=[0, 2, 1])
        out = self.constant(f"{name}.maps", np.array([0, stage.out_channels, stage.size, stage.size], np.int64))
        self.node("Reshape", name, self.current, out)


def _does_nothing(stage: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a stage returns maps of `shape` as they are, in evaluation mode."""
    if isinstance(stage, Enlarge):
        return min(shape[2:]) >= stage.least
    if isinstance(stage, AdaptiveAvgPool2d):
        return shape[2] == shape[3] == stage.size
    return isinstance(stage, (nn.Dropout, nn.Identity))


def _enlarging(side: int, size: int) -> torch.Tensor:
    """(size, side): what each of `side` pixels of a line adds to each of `size`, as `Enlarge` resizes."""
    return F.interpolate(torch.eye(side)[None], size, mode="linear", align_corners=False)[0].T.contiguous()


def _pair(side: Any) -> list[int]:
    return [side, side] if isinstance(side, int) else list(side)
