"""A network as the engine reads it: a header, its layers in order, and their weights, in one block of bytes.

The layout is that of `Model` and `Op` in engine/engine.h. Maps are channels last there, so that weights of what reads
flattened maps, (C, H, W) here, are put in the order (H, W, C).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError
from alexnet.explain.activations import last_map_layer
from alexnet.export.codes import BITS, Codes, encode, from_known
from alexnet.networks.folding import folded
from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, LocallyConnected2d, Network
from alexnet.ops import LocalResponseNorm
from alexnet.weights.calibration import Calibration, Place
from alexnet.weights.coded import Coded

KINDS = (
    *("convolution", "dense", "local", "affine", "relu", "tanh", "sigmoid"),
    *("max_pool", "average_pool", "adaptive_pool", "lrn", "lrn_within", "pad"),
)
FITS = ("crop", "pad", "warp", "short")
MAGIC = 0x31584C41
HEADER, OP, PLACE = struct.Struct("<8i7f2i2f"), struct.Struct("<19i2f20x"), struct.Struct("<7i")
ALIGNED = 16  # bytes; where arrays begin
EDGE_BITS = 8  # of the first and the last layer's weights at least: they are few, and errors in them weigh most

Floats = NDArray[np.float32]
NEURONS = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
WEIGHTED = ("convolution", "dense", "local")


@dataclass(frozen=True)
class Layer:
    """One operation of the engine. Shapes are (H, W, C), settings as in engine.h."""

    kind: str
    shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    settings: dict[str, int] = field(default_factory=dict)
    numbers: tuple[float, float] = (0.0, 0.0)  # alpha and k of LRN
    rows: Floats | None = None  # (outputs, inputs of each) for what has weights
    codes: Codes | None = None  # of these rows, where they are known
    scales: Floats | None = None  # (C) of affine
    bias: Floats | None = None


@dataclass(frozen=True)
class Program:
    """A model for the engine."""

    model: bytes
    stages: dict[str, int]  # name of a stage -> the layer that gives its output
    layers: list[Layer]
    maps: int  # the layer whose maps are shown as heat

    @property
    def map_shape(self) -> tuple[int, int]:
        """Height and width of the heat map."""
        return self.layers[self.maps].out_shape[:2]


def program(
    network: Network,
    preprocessing: Preprocessing,
    calibration: Calibration | None = None,
    precision: str = "fp16",
    coded: Mapping[str, Coded] = MappingProxyType({}),
) -> Program:
    """The network with all that turns a picture into its answer.

    precision: of the weights, fp32, fp16, int8 or int4; biases are float32, and the first and the last layer have at
    least 8 bits. coded: the codes of weights that the network computes with, by the stage; they are stored in place of
    others. UsageError names a layer that the engine does not have, and for a model of files with another range of
    values than 0 to 255.
    """
    if preprocessing.value_range is not None:
        raise UsageError(
            f"the model takes files with values {preprocessing.value_range[0]:g} to {preprocessing.value_range[1]:g} as"
            " black to white, which browsers do not read; export it as onnx instead"
        )
    known = calibration.known if calibration else None
    plain = folded(network)
    looked_at = set(known.layers if known else ())
    if not looked_at <= {name for name, _ in plain.stages()}:
        plain = network  # features stand after a BatchNorm that folding removes
    heat = last_map_layer(plain)
    layers, stages = _lowered(plain, preprocessing.input_size, {heat, *looked_at}, coded)
    maps = stages[heat]
    _refuse_after_maps(layers, maps, network.name)
    header = _Header(preprocessing, layers[-1].out_shape[2], maps, calibration or Calibration())
    return Program(_packed(header, layers, stages, BITS[precision]), stages, layers, maps)


def _refuse_after_maps(layers: list[Layer], maps: int, name: str) -> None:
    """The heat map follows gradients back to the last maps, which these layers do not give."""
    for layer in layers[maps + 1 :]:
        if layer.kind in ("convolution", "lrn", "lrn_within", "pad"):
            raise UsageError(f"{name} has a layer {layer.kind} after its last maps, which a page cannot explain")


def _lowered(
    network: Network, side: int, wanted: set[str], coded: Mapping[str, Coded]
) -> tuple[list[Layer], dict[str, int]]:
    """The layers, and which one gives each stage's output; a ReLU joins the layer before it, if that is not wanted."""
    layers: list[Layer] = []
    stages: dict[str, int] = {}
    maps = torch.zeros(1, 3, side, side, device=next(network.parameters()).device)
    last = ""
    with torch.inference_mode():
        for name, stage in _flat(network):
            out = stage(maps)
            joined = isinstance(stage, nn.ReLU) and layers and layers[-1].kind in WEIGHTED and last not in wanted
            if joined:
                layers[-1] = replace(layers[-1], settings={**layers[-1].settings, "relu": 1})
            elif not _changes_nothing(stage, maps):
                made = _layer(network.name, name, stage, maps, out, layers)
                codes = _known_codes(coded.get(name), stage, made, layers)
                layers.append(replace(made, codes=codes))
            stages[name] = len(layers) - 1
            maps, last = out, name
    return layers, stages


def _flat(network: Network) -> list[tuple[str, nn.Module]]:
    """The stages, those in a sequence one by one; the last of them has the sequence's name."""
    found: list[tuple[str, nn.Module]] = []
    for name, stage in network.stages():
        parts = list(stage) if isinstance(stage, nn.Sequential) else [stage]
        found += [(f"{name}.{i}" if i < len(parts) - 1 else name, part) for i, part in enumerate(parts)]
    return found


def _changes_nothing(stage: nn.Module, maps: Tensor) -> bool:
    if isinstance(stage, AdaptiveAvgPool2d):
        return maps.shape[2] == maps.shape[3] == stage.size
    if isinstance(stage, Enlarge):
        return min(maps.shape[2:]) >= stage.least
    return isinstance(stage, nn.Dropout | nn.Flatten | nn.Identity)


def _layer(network: str, name: str, stage: nn.Module, maps: Tensor, out: Tensor, before: list[Layer]) -> Layer:
    shape, out_shape = _shape(maps), _shape(out)
    if isinstance(stage, nn.Conv2d):
        return _convolution(network, name, stage, shape, out_shape)
    if isinstance(stage, nn.Linear):
        rows = _rows(stage, _numpy(stage.weight), before)
        return Layer("dense", (1, 1, rows.shape[1]), out_shape, rows=rows, bias=_bias(stage, len(rows)))
    if isinstance(stage, LocallyConnected2d):
        return _local(stage, shape, out_shape)
    if isinstance(stage, nn.BatchNorm1d | nn.BatchNorm2d) and stage.running_mean is not None:
        return _affine(stage, shape, before[-1].out_shape)
    if type(stage) in NEURONS:
        return Layer(NEURONS[type(stage)], shape, out_shape)
    if isinstance(stage, nn.MaxPool2d | nn.AvgPool2d | AdaptiveAvgPool2d):
        return _pool(network, name, stage, shape, out_shape)
    if isinstance(stage, LocalResponseNorm) and stage.beta == 0.75:
        kind = "lrn_within" if stage.within_channel else "lrn"
        settings = {"groups": 1 if stage.within_channel else stage.groups, "window": stage.size}
        return Layer(kind, shape, out_shape, settings, (stage.alpha_per_square, stage.k))
    if isinstance(stage, nn.ZeroPad2d) and stage.padding[0] == stage.padding[2] and min(stage.padding) >= 0:
        return Layer("pad", shape, out_shape, {"pad": stage.padding[0]})
    raise _unknown(network, name, stage)


def _rows(stage: nn.Conv2d | nn.Linear, values: NDArray[Any], before: list[Layer]) -> NDArray[Any]:
    """Weights, or their codes, of any type: in rows, channels last."""
    if isinstance(stage, nn.Linear):
        return _channels_last(values, before[-1].out_shape)
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).reshape(len(values), -1)


def _known_codes(coded: Coded | None, stage: nn.Module, layer: Layer, before: list[Layer]) -> Codes | None:
    """The codes of a layer's rows; None where there are none, or where folding left other weights."""
    if coded is None or layer.rows is None or not isinstance(stage, nn.Conv2d | nn.Linear):
        return None
    return from_known(_rows(stage, coded.codes.reshape(coded.shape), before), coded.codebook, layer.rows)


def _convolution(network: str, name: str, stage: nn.Conv2d, shape: Any, out_shape: Any) -> Layer:
    """Square kernels and strides, with zeros around; other settings are refused by name."""
    square = all(len({*pair}) == 1 for pair in (stage.kernel_size, stage.stride, stage.padding))
    if not square or isinstance(stage.padding, str) or stage.dilation != (1, 1) or stage.padding_mode != "zeros":
        raise _unknown(network, name, stage)
    rows = _rows(stage, _numpy(stage.weight), [])
    settings = {
        "kernel": stage.kernel_size[0],
        "stride": stage.stride[0],
        "pad": int(stage.padding[0]),
        "groups": stage.groups,
    }
    return Layer("convolution", shape, out_shape, settings, rows=rows, bias=_bias(stage, len(rows)))


def _local(stage: LocallyConnected2d, shape: Any, out_shape: Any) -> Layer:
    weight = _numpy(stage.weight)  # (places, C * kernel * kernel, outputs)
    places, _, outputs = weight.shape
    split = weight.reshape(places, stage.in_channels, stage.kernel_size**2, outputs)
    rows = split.transpose(0, 3, 2, 1).reshape(places * outputs, -1)
    settings = {"kernel": stage.kernel_size, "stride": 1, "pad": stage.padding}
    return Layer("local", shape, out_shape, settings, rows=rows, bias=_numpy(stage.bias).ravel())


def _affine(stage: nn.BatchNorm1d | nn.BatchNorm2d, shape: Any, before: tuple[int, int, int]) -> Layer:
    assert stage.running_mean is not None
    assert stage.running_var is not None
    scale = (stage.running_var.double() + stage.eps).rsqrt()
    scale = scale if stage.weight is None else scale * stage.weight.double()
    shift = -stage.running_mean.double() * scale + (0 if stage.bias is None else stage.bias.double())
    if isinstance(stage, nn.BatchNorm1d) and before[:2] != (1, 1):  # of flattened maps
        scale, shift = (torch.from_numpy(_channels_last(_numpy(v)[None], before)[0]) for v in (scale, shift))
    return Layer("affine", shape, shape, scales=_numpy(scale), bias=_numpy(shift))


def _pool(network: str, name: str, stage: nn.Module, shape: Any, out_shape: Any) -> Layer:
    if isinstance(stage, AdaptiveAvgPool2d):
        return Layer("adaptive_pool", shape, out_shape)
    kernel, stride, pad = (_side(getattr(stage, key)) for key in ("kernel_size", "stride", "padding"))
    average = isinstance(stage, nn.AvgPool2d)
    dilated = getattr(stage, "dilation", 1) not in (1, (1, 1))
    if None in (kernel, stride, pad) or dilated or (average and (pad or getattr(stage, "divisor_override", None))):
        raise _unknown(network, name, stage)
    settings = {"kernel": int(kernel or 0), "stride": int(stride or 0), "pad": int(pad or 0)}
    return Layer("average_pool" if average else "max_pool", shape, out_shape, settings)


def _side(value: int | tuple[int, ...]) -> int | None:
    """A setting that is the same along both sides, or None."""
    values = {value} if isinstance(value, int) else {*value}
    return values.pop() if len(values) == 1 else None


def _unknown(network: str, name: str, stage: nn.Module) -> UsageError:
    return UsageError(
        f"{network} cannot become a page: the engine has no layer like {name}, {stage}; export it as onnx instead"
    )


def _numpy(tensor: Tensor) -> Floats:
    return tensor.detach().to("cpu", torch.float32).numpy()


def _bias(stage: nn.Conv2d | nn.Linear, count: int) -> Floats:
    return np.zeros(count, np.float32) if stage.bias is None else _numpy(stage.bias)


def _shape(maps: Tensor) -> tuple[int, int, int]:
    """(1, C, H, W) or (1, C) -> (H, W, C)."""
    if maps.ndim == 2:
        return 1, 1, maps.shape[1]
    return maps.shape[2], maps.shape[3], maps.shape[1]


def _channels_last(values: NDArray[Any], maps: tuple[int, int, int]) -> NDArray[Any]:
    """(R, C * H * W) of flattened maps -> (R, H * W * C)."""
    height, width, channels = maps
    moved = values.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(moved).reshape(len(values), -1)


@dataclass(frozen=True)
class _Header:
    preprocessing: Preprocessing
    classes: int
    maps: int
    calibration: Calibration

    def packed(self, layers: int, places: int, at: int) -> bytes:
        """places: how many layers tell 'none of these'; at: where their records are."""
        form, known = self.preprocessing, self.calibration.known
        return HEADER.pack(
            *(MAGIC, layers, form.input_size, form.resize, form.store_size, FITS.index(form.fit)),
            *(self.classes, self.maps, *form.mean, *(1 / each for each in form.std), 1 / self.calibration.temperature),
            *(places, at, *((known.doubt, known.threshold) if known else (0.0, 1.0))),
        )


class _Block:
    """Bytes that grow by arrays; each begins at a multiple of 16."""

    def __init__(self, start: int) -> None:
        self.data = bytearray(start)

    def add(self, content: bytes | Floats | None) -> int:
        """Where it begins; 0 for None."""
        if content is None:
            return 0
        self.data += bytes(-len(self.data) % ALIGNED)
        at = len(self.data)
        self.data += content if isinstance(content, bytes) else np.asarray(content, "<f4").tobytes()
        return at


def _packed(header: _Header, layers: list[Layer], stages: dict[str, int], bits: int) -> bytes:
    block = _Block(HEADER.size + OP.size * len(layers))
    weighted = [i for i, layer in enumerate(layers) if layer.rows is not None]
    for i, layer in enumerate(layers):
        own = max(bits, EDGE_BITS) if i in (weighted[0], weighted[-1]) else bits
        OP.pack_into(block.data, HEADER.size + OP.size * i, *_op(layer, block, own))
    known = header.calibration.known
    places = [_place(place, stages[place.layer], layers, block) for place in (known.places if known else ())]
    at = block.add(b"".join(places) or None)
    block.data[: HEADER.size] = header.packed(len(layers), len(places), at)
    return bytes(block.data)


def _place(place: Place, layer: int, layers: list[Layer], block: _Block) -> bytes:
    """The record of a layer whose features are looked at; of flattened maps they are put in the engine's order."""
    before, mean, projection = layers[layer].out_shape, place.mean, place.projection
    if len(mean) != before[2]:
        mean, projection = _channels_last(mean[None], before)[0], _channels_last(projection.T, before).T
    arrays = (block.add(np.ascontiguousarray(array)) for array in (mean, projection, place.centres))
    return PLACE.pack(layer, *projection.shape, len(place.centres), *arrays)


def _op(layer: Layer, block: _Block, bits: int) -> tuple[float, ...]:
    codes = Codes(0, b"", np.zeros(0, np.float32), np.zeros(0, np.float32))
    scales, length = layer.scales, 0
    if layer.rows is not None:
        codes, length = layer.codes or encode(layer.rows, bits), layer.rows.shape[1]
        scales = codes.scales
    where = (
        block.add(codes.codes or None),
        block.add(scales),
        block.add(codes.codebook if len(codes.codebook) else None),
    )
    setting = {"kernel": 0, "stride": 0, "pad": 0, "groups": 1, "relu": 0, "window": 0, **layer.settings}
    return (
        *(KINDS.index(layer.kind), *layer.shape, *layer.out_shape),
        *(setting[name] for name in ("kernel", "stride", "pad", "groups", "relu")),
        *(codes.bits, length, *where, block.add(layer.bias), setting["window"], *layer.numbers),
    )
