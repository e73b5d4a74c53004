"""The way from a picture's pixels to a network's input as ONNX nodes: `Preprocessing` inside an export.

H x W pixels of the picture, S the side of the stored square, I that of the network's input.

Resizing is ONNX's Resize, within one level of ours, where an engine computes it right: OpenVINO 2026 leaves out its
antialiasing without a word. So the graph resizes a small picture first whose answer is known, and where an engine gives
another one, it takes products with matrices of weights, which are slower and right everywhere.
"""

from typing import Any

import numpy as np
from PIL import Image

from alexnet.data.form import PAD_COLOR
from alexnet.data.places import _weights, places
from alexnet.data.preprocess import Preprocessing
from alexnet.export.network import FLOAT, IMAGES, model_of
from alexnet.weights.convert.onnx_graph import library
from alexnet.weights.convert.onnx_writer import Graph

IMAGE = "image"
BYTE, WHOLE, DOUBLE = 2, 7, 11  # TensorProto.UINT8, INT64, DOUBLE
RESIZE = {"mode": "linear", "coordinate_transformation_mode": "half_pixel", "antialias": 1, "exclude_outside": 1}
PROBED = np.array([[255, 0, 0, 255, 0, 0, 0, 255], [0] * 8, [0, 0, 0, 0, 0, 255, 0, 0], [255] * 8], np.uint8)
PROBE_SIZE = (3, 2)  # width and height to which it is resized
PROBE_TOLERANCE = 1.5  # levels


def whole(core: Any, preprocessing: Preprocessing) -> Any:
    """A core, as `network.core` gives it, that takes a picture: `image`, uint8 (H, W, 3), RGB, of any size.

    The outputs are those of one image: `probabilities` (K,), and `unknown` () where the core has it. The core may be
    changed, as by quantising, as long as its inputs and outputs keep their names.
    """
    helper = library("an export").helper
    graph = _Pixels()
    _input(graph, preprocessing)
    tail, outputs = _Pixels(), []
    for output in core.graph.output:
        _rename(core.graph, output.name, f"{output.name}.batch")
        first = tail.constant(f"{output.name}.first", np.array([0], np.int64))
        tail.node("Squeeze", f"{output.name}.squeezed", f"{output.name}.batch", first, outputs=[output.name])
        shape = [each.dim_value for each in output.type.tensor_type.shape.dim[1:]]
        outputs.append(helper.make_tensor_value_info(output.name, FLOAT, shape))
    nodes = [*graph.nodes, *core.graph.node, *tail.nodes]
    tensors = [*graph.tensors, *core.graph.initializer, *tail.tensors]
    image = helper.make_tensor_value_info(IMAGE, BYTE, ["H", "W", 3])
    image.type.denotation = "IMAGE"
    found = model_of(helper.make_graph(nodes, core.graph.name, [image], outputs, tensors))
    for known in core.opset_import:  # of a quantised core, operators of another domain
        if known.domain not in ("", "ai.onnx"):
            found.opset_import.append(known)
    return found


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


class _Pixels(Graph):
    """A graph with a few words for arithmetic; names are numbered."""

    def __init__(self, prefix: str = "pixels") -> None:
        super().__init__()
        self.prefix = prefix

    def __call__(self, kind: str, *inputs: str, **settings: Any) -> str:
        return self.node(kind, f"{self.prefix}.{len(self.nodes)}.{kind}", *inputs, **settings)

    def hold(self, value: Any) -> str:
        """A constant: integers as int64, else the array as it is."""
        array = np.asarray(value, np.int64) if isinstance(value, (int, list)) else np.asarray(value)
        return self.constant(f"{self.prefix}.held.{len(self.tensors)}", array)

    def vector(self, *numbers: str) -> str:
        """int64 scalars as one vector."""
        one = self.hold([1])
        return self("Concat", *(self("Reshape", number, one) for number in numbers), axis=0)

    def sides(self, picture: str) -> tuple[str, str]:
        """Height and width of (3, H, W), int64 scalars."""
        shape = self("Shape", picture)
        return self("Gather", shape, self.hold(1), axis=0), self("Gather", shape, self.hold(2), axis=0)

    def part(self, picture: str, top: str, left: str, height: str, width: str) -> str:
        """(3, H, W) -> (3, height, width)."""
        end = self.vector(self("Add", top, height), self("Add", left, width))
        return self("Slice", picture, self.vector(top, left), end, self.hold([1, 2]))

    def halved(self, number: str) -> str:
        return self("Div", number, self.hold(2))


def _input(graph: _Pixels, preprocessing: Preprocessing) -> None:
    """`image` -> `images`, float32 (1, 3, I, I): what `Preprocessing.__call__` gives."""
    graph.node("Transpose", "pixels.planes", IMAGE, perm=[2, 0, 1])
    stored = FITTED[preprocessing.fit](graph, graph.current, preprocessing.store_size)
    shown = _view(graph, stored, preprocessing)
    scale = (1 / np.array(preprocessing.std, np.float32)).reshape(3, 1, 1)
    offset = -np.array(preprocessing.mean, np.float32).reshape(3, 1, 1) * scale
    normalised = graph("Add", graph("Mul", shown, graph.hold(scale)), graph.hold(offset))
    graph.node("Unsqueeze", "pixels.batch", normalised, graph.hold([0]), outputs=[IMAGES])


# --- the four fits of data/form.py: uint8 (3, H, W) -> float32 (3, S, S), whole numbers ---


def _crop(graph: _Pixels, picture: str, size: int) -> str:
    height, width = graph.sides(picture)
    side = graph("Min", height, width)
    top, left = (graph.halved(graph("Sub", each, side)) for each in (height, width))
    square = graph.part(picture, top, left, side, side)
    return _resized(graph, square, graph.hold(size), graph.hold(size))


def _warp(graph: _Pixels, picture: str, size: int) -> str:
    return _resized(graph, picture, graph.hold(size), graph.hold(size))


def _short(graph: _Pixels, picture: str, size: int) -> str:
    """The offset of the centre is (side - size) / 2, half a pixel rounded to even."""
    sides = graph.sides(picture)
    least, target, two = graph("Min", *sides), graph.hold(size), graph.hold(2)
    height, width = (graph("Div", graph("Mul", side, target), least) for side in sides)
    corner = []
    for side in (height, width):
        beyond = graph("Sub", side, target)
        half = graph.halved(beyond)
        odd = graph("Mul", graph("Mod", beyond, two), graph("Mod", half, two))
        corner.append(graph("Add", half, odd))
    top, left = corner
    return graph.part(_resized(graph, picture, height, width), top, left, target, target)


def _pad(graph: _Pixels, picture: str, size: int) -> str:
    """The sides are rounded as Python rounds side * (size / longer side), in float64."""
    sides = graph.sides(picture)
    longer = graph("Cast", graph("Max", *sides), to=DOUBLE)
    scale = graph("Div", graph.hold(np.float64(size)), longer)
    height, width = (_rounded(graph, side, scale) for side in sides)
    shown = _resized(graph, picture, height, width)
    rests = [graph("Sub", graph.hold(size), side) for side in (height, width)]
    before = [graph.halved(rest) for rest in rests]
    after = [graph("Sub", rest, first) for rest, first in zip(rests, before, strict=True)]
    none, color = graph.hold(0), graph.hold(np.array(PAD_COLOR, np.float32).reshape(3, 1, 1))
    pads = graph.vector(none, *before, none, *after)
    return graph("Add", graph("Pad", graph("Sub", shown, color), pads), color)


def _rounded(graph: _Pixels, side: str, scale: str) -> str:
    scaled = graph("Round", graph("Mul", graph("Cast", side, to=DOUBLE), scale))
    return graph("Max", graph("Cast", scaled, to=WHOLE), graph.hold(1))


FITTED = {"crop": _crop, "pad": _pad, "warp": _warp, "short": _short}


# --- resizing ---


def _resized(graph: _Pixels, picture: str, height: str, width: str) -> str:
    """uint8 (3, H, W) -> float32 (3, height, width), whole numbers: Pillow's bilinear filter, within one level."""
    helper = library("an export").helper
    right = _resizes_right(graph, picture)
    branches = {}
    for name, compute in (("then_branch", _by_resize), ("else_branch", _by_products)):
        inner = _Pixels(f"pixels.{name}")
        found = compute(inner, picture, height, width)
        made = helper.make_tensor_value_info(found, FLOAT, [3, None, None])
        branches[name] = helper.make_graph(inner.nodes, name, [], [made], inner.tensors)
    return graph("If", right, **branches)


def _resizes_right(graph: _Pixels, picture: str) -> str:
    """Whether the engine's Resize gives a small picture's known answer, bool ().

    The small picture depends on the picture, by a zero times one of its pixels, so that no engine computes it
    beforehand in another way than it computes the picture's.
    """
    expected = np.asarray(Image.fromarray(PROBED).resize(PROBE_SIZE, Image.Resampling.BILINEAR), np.float32)
    first = graph("Slice", picture, graph.hold([0, 0, 0]), graph.hold([1, 1, 1]))
    zero = graph("Mul", graph("Cast", first, to=FLOAT), graph.hold(np.float32(0)))
    probe = graph("Cast", graph("Add", zero, graph.hold(PROBED[None].astype(np.float32))), to=BYTE)
    width, height = (graph.hold(side) for side in PROBE_SIZE)
    found = _by_resize(graph, probe, height, width)
    error = graph("ReduceMax", graph("Abs", graph("Sub", found, graph.hold(expected[None]))), keepdims=0)
    return graph("Less", error, graph.hold(np.float32(PROBE_TOLERANCE)))


def _by_resize(graph: _Pixels, picture: str, height: str, width: str) -> str:
    channels = graph("Gather", graph("Shape", picture), graph.hold(0), axis=0)
    sizes = graph.vector(graph.hold(1), channels, height, width)
    one = graph.hold([0])
    found = graph("Resize", graph("Unsqueeze", picture, one), "", "", sizes, **RESIZE)
    return graph("Cast", graph("Squeeze", found, one), to=FLOAT)


def _by_products(graph: _Pixels, picture: str, height: str, width: str) -> str:
    """Rows first, rounded to levels, then columns, as Pillow does."""
    values = graph("Cast", picture, to=FLOAT)
    of_height, of_width = graph.sides(picture)
    across = graph("Transpose", _line(graph, of_width, width), perm=[1, 0])
    rows = _levels(graph, graph("MatMul", values, across))
    return _levels(graph, graph("MatMul", _line(graph, of_height, height), rows))


def _levels(graph: _Pixels, values: str) -> str:
    return graph("Floor", graph("Add", values, graph.hold(np.float32(0.5))))


def _line(graph: _Pixels, side: str, size: str) -> str:
    """float32 (size, side): the weights of a line's pixels for each output pixel, those of `alexnet.ops.resize`.

    Of pixel j for output i it is proportional to max(0, 2 max(side, size) - |(2 j + 1) size - (2 i + 1) side|): the
    triangle of Pillow's filter in whole numbers, which are exact.
    """
    zero, one, two = (graph.hold(number) for number in (0, 1, 2))
    pixels, outputs = (graph("Range", zero, count, one) for count in (side, size))
    near, centre = (
        graph("Mul", graph("Add", graph("Mul", places, two), one), scale)
        for places, scale in ((pixels, size), (outputs, side))
    )
    distance = graph("Abs", graph("Sub", near, graph("Reshape", centre, graph.hold([-1, 1]))))
    reach = graph("Mul", graph("Max", side, size), two)
    weights = graph("Relu", graph("Cast", graph("Sub", reach, distance), to=FLOAT))
    return graph("Div", weights, graph("ReduceSum", weights, graph.hold([1]), keepdims=1))


def _view(graph: _Pixels, stored: str, preprocessing: Preprocessing) -> str:
    """float32 (3, S, S) -> float32 (3, I, I): the centre view, as `Preprocessing.views` shows it."""
    side, size = preprocessing.store_size, preprocessing.input_size
    first, _ = places(1, preprocessing.resize, size)[0]
    if preprocessing.resize == side:
        return graph.part(stored, *(graph.hold(each) for each in (first, first, size, size)))
    weights = graph.hold(_weights(first, preprocessing.resize, size, side))
    return graph("MatMul", graph("MatMul", weights, stored), graph("Transpose", weights, perm=[1, 0]))
