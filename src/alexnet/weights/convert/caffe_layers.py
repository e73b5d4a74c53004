"""The layers of Caffe's BVLC AlexNet and CaffeNet as Caffe describes them: for .caffemodel and .prototxt alike.

Read from models/bvlc_alexnet and models/bvlc_reference_caffenet (deploy.prototxt) and src/caffe/proto/caffe.proto of
BVLC/caffe; field numbers are those of its messages LayerParameter (V2) and V1LayerParameter.
"""

from typing import NamedTuple

Number = int | float


class Kind(NamedTuple):
    """A type of layer: its settings' name, their field numbers in both versions, and the fields of their message."""

    v1_type: int
    param: str = ""
    v1: int = 0
    v2: int = 0
    numbers: dict[str, int] = {}  # noqa: RUF012 - never changed
    defaults: dict[str, Number] = {}  # noqa: RUF012
    sides: dict[str, tuple[int, int]] = {}  # noqa: RUF012 - the fields that give a setting for height and width alone


KINDS = {
    "Convolution": Kind(
        *(4, "convolution_param", 10, 106),
        {"num_output": 1, "pad": 3, "kernel_size": 4, "group": 5, "stride": 6, "dilation": 18},
        {"pad": 0, "group": 1, "stride": 1, "dilation": 1},
        {"pad": (9, 10), "kernel_size": (11, 12), "stride": (13, 14)},
    ),
    "InnerProduct": Kind(
        *(14, "inner_product_param", 17, 117),
        {"num_output": 1, "axis": 5, "transpose": 6},
        {"axis": 1, "transpose": 0},
    ),
    "LRN": Kind(
        *(15, "lrn_param", 18, 118),
        {"local_size": 1, "alpha": 2, "beta": 3, "norm_region": 4, "k": 5},
        {"local_size": 5, "alpha": 1.0, "beta": 0.75, "norm_region": 0, "k": 1.0},
    ),
    "Pooling": Kind(
        *(17, "pooling_param", 19, 121),
        {"pool": 1, "kernel_size": 2, "stride": 3, "pad": 4, "global_pooling": 12},
        {"pool": 0, "stride": 1, "pad": 0, "global_pooling": 0},
        {"kernel_size": (5, 6), "stride": (7, 8), "pad": (9, 10)},
    ),
    "Dropout": Kind(6, "dropout_param", 12, 108, {"dropout_ratio": 1}, {"dropout_ratio": 0.5}),
    "ReLU": Kind(18, "relu_param", 30, 123, {"negative_slope": 1}, {"negative_slope": 0.0}),
    "Softmax": Kind(20),
}
FLOATS = ("alpha", "beta", "k", "dropout_ratio", "negative_slope")
IDLE = {6: "Dropout", 8: "Flatten", 22: "Split", 36: "Silence"}  # by V1's types: what changes no answer
V1_TYPES = IDLE | {kind.v1_type: name for name, kind in KINDS.items()}


class Layer(NamedTuple):
    """A layer: its name, its type and the settings that differ from the type's defaults."""

    name: str
    kind: str
    settings: dict[str, Number]


def _conv(number: int, outputs: int, side: int, **more: int) -> list[Layer]:
    settings: dict[str, Number] = {"num_output": outputs, "kernel_size": side, **more}
    return [Layer(f"conv{number}", "Convolution", settings), Layer(f"relu{number}", "ReLU", {})]


def _norm(number: int) -> Layer:
    return Layer(f"norm{number}", "LRN", {"local_size": 5, "alpha": 0.0001, "beta": 0.75})


def _pool(number: int) -> Layer:
    return Layer(f"pool{number}", "Pooling", {"pool": 0, "kernel_size": 3, "stride": 2})


def _hidden(number: int, dropout: float) -> list[Layer]:
    drop = Layer(f"drop{number}", "Dropout", {"dropout_ratio": dropout})
    return [Layer(f"fc{number}", "InnerProduct", {"num_output": 4096}), Layer(f"relu{number}", "ReLU", {}), drop]


def layers(network: str, classes: int, dropout: float = 0.5) -> list[Layer]:
    """All layers of "bvlc" or "caffenet", from conv1 to the softmax, in the order of computation."""
    after = [[_norm(number), _pool(number)] for number in (1, 2)]
    if network == "caffenet":
        after = [pair[::-1] for pair in after]
    return [
        *(*_conv(1, 96, 11, stride=4), *after[0]),
        *(*_conv(2, 256, 5, pad=2, group=2), *after[1]),
        *_conv(3, 384, 3, pad=1),
        *_conv(4, 384, 3, pad=1, group=2),
        *(*_conv(5, 256, 3, pad=1, group=2), _pool(5)),
        *(*_hidden(6, dropout), *_hidden(7, dropout)),
        Layer("fc8", "InnerProduct", {"num_output": classes}),
        Layer("prob", "Softmax", {}),
    ]


IN_PLACE = ("ReLU", "Dropout")  # layers whose output takes the place of their input


def connected(network: str, classes: int, dropout: float = 0.5) -> list[tuple[Layer, str, str]]:
    """Each layer with the names of its input (bottom) and output (top)."""
    found, bottom = [], "data"
    for layer in layers(network, classes, dropout):
        top = bottom if layer.kind in IN_PLACE else layer.name
        found.append((layer, bottom, top))
        bottom = top
    return found


def prototxt(network: str, classes: int, side: int, dropout: float = 0.5) -> str:
    """The network's deploy.prototxt, for one image of `side` x `side` pixels."""
    shape = f"shape {{ dim: 1 dim: 3 dim: {side} dim: {side} }}"
    lines = [f'name: "{network}"', f'layer {{ name: "data" type: "Input" top: "data" input_param {{ {shape} }} }}']
    for layer, bottom, top in connected(network, classes, dropout):
        param = KINDS[layer.kind].param
        told = " ".join(f"{name}: {_told(name, value)}" for name, value in layer.settings.items())
        settings = f" {param} {{ {told} }}" if told else ""
        lines.append(f'layer {{ name: "{layer.name}" type: "{layer.kind}" bottom: "{bottom}" top: "{top}"{settings} }}')
    return "\n".join(lines) + "\n"


def _told(name: str, value: Number) -> str:
    return "MAX" if name == "pool" else f"{value:g}"
