"""MatConvNet's .mat files: imagenet-caffe-alex, imagenet-caffe-ref, imagenet-matconvnet-alex and their like.

`layers` is a cell array (simplenn) or a struct array with `params` beside it (dagnn), in the order of computation.
Filters are (height, width, in, out), also those of the dense layers, and red, green, blue: MatConvNet's import-caffe.py
turns Caffe's, as vlfeat/matconvnet documents there. LRN's `param` is [size, k, alpha / size, beta]. Two networks are
told apart by their order: LRN before pool is BVLC AlexNet, after it CaffeNet.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor, nn

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources.synsets import imagenet_names
from alexnet.errors import WeightsError
from alexnet.files import whole_file
from alexnet.networks.layers import Network
from alexnet.ops import LocalResponseNorm
from alexnet.weights.card import Card
from alexnet.weights.convert import layouts
from alexnet.weights.convert.foreign import WARPED, Foreign

NAME = "matconvnet"
ABOUT = "MatConvNet (.mat)"
FILES = "MatConvNet files"
OLD, NEW = b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"
VARIABLES = ("net", "layers", "params", "meta", "normalization", "classes")
COMPRESSED, CHUNK, MOST = 15, 2**20, 2**30  # a variable's type; bytes at once; bytes in all
KINDS = {"normalize": "lrn", "dagnn.conv": "conv", "dagnn.relu": "relu", "dagnn.lrn": "lrn", "dagnn.pooling": "pool"}
UNSAID = {"leak": 0.0, "dilate": 1.0}  # settings that our networks have not
LEFT_OUT = ("dropout", "softmax", "softmaxloss", "dagnn.dropout", "dagnn.softmax", "dagnn.loss")


def recognises(path: Path, head: bytes) -> bool:
    """Whether it is a MATLAB file; `read` refuses those of version 7.3."""
    return head.startswith((OLD, NEW))


def read(path: Path, network: str | None = None) -> Foreign:
    """BVLC AlexNet or CaffeNet, as the order of layers says. WeightsError for damage and for other layers."""
    content = _content(path)
    layers = [layer for layer in _layers(content, path) if layer.kind not in LEFT_OUT]
    ours = _told(layers, path)
    if network not in (None, ours.name):
        raise WeightsError(f"{path} is {ours.name!r} by the order of its layers, not {network!r}; leave out --network")
    _compare(layers, ours, path)
    tensors = _tensors(layers, ours, path)
    notes = [f"layers in the order of {ours.name}", "filters for red, green, blue, as MatConvNet's are"]
    preprocessing = _preprocessing(content, ours, path, notes)
    names = _class_names(content, len(tensors["fc8.bias"]), notes)
    return Foreign(ours.name, tensors, {}, names, preprocessing, tuple(notes))


def write(network: Network, card: Card, path: Path) -> None:
    """Write a simplenn file with the card's classes and mean; UsageError for networks other than Caffe's."""
    from scipy.io import savemat

    layouts.refuse_other(network, WARPED, FILES)
    with whole_file(path, "wb") as file:
        savemat(file, {"layers": _cells(list(_written(network))), "meta": _meta(network, card)}, oned_as="row")


# --- a file's layers ---


@dataclass(frozen=True)
class _Layer:
    kind: str  # conv, relu, lrn, pool, or as the file calls it
    name: str
    settings: dict[str, Any]
    arrays: list[Any]


def _content(path: Path) -> dict[str, Any]:
    """The variables of the file as dictionaries, lists and arrays."""
    from scipy.io import loadmat

    try:
        with path.open("rb") as file:
            if file.read(len(NEW)) == NEW:
                raise WeightsError(
                    f"{path} is a MATLAB 7.3 file, which is not read; in MATLAB: net = load(file); save(file, '-v6',"
                    " '-struct', 'net')"
                )
            _refuse_bombs(file, path)
        found: dict[str, Any] = loadmat(path, simplify_cells=True, variable_names=VARIABLES)
    except WeightsError:
        raise
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is a damaged MATLAB file ({reason}); take a fresh copy") from error
    return found["net"] if isinstance(found.get("net"), dict) else found


def _refuse_bombs(file: BinaryIO, path: Path) -> None:
    """WeightsError where the compressed variables of a file unpack to more than any network; each begins with a tag."""
    file.seek(126)
    order = "<" if file.read(2) == b"IM" else ">"
    unpacked = 0
    while len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        if kind != COMPRESSED:
            file.seek(size, 1)
            continue
        stream = zlib.decompressobj()
        for begin in range(0, size, CHUNK):
            data = file.read(min(CHUNK, size - begin))
            while data:
                unpacked += len(stream.decompress(data, CHUNK))
                data = stream.unconsumed_tail
                if unpacked > MOST:
                    raise WeightsError(f"{path} is refused: it unpacks to more than {MOST:,} bytes, beyond any network")


def _layers(content: dict[str, Any], path: Path) -> Iterator[_Layer]:
    values = {str(each.get("name")): each.get("value") for each in _dicts(content.get("params"))}
    layers = _dicts(content.get("layers"))
    if not layers:
        raise WeightsError(f"{path} is no MatConvNet network: it has no layers; give one with `layers`, or `net`")
    _check_order(layers, path)
    for layer in layers:
        kind = str(layer.get("type", "")).lower()
        block = layer.get("block") if isinstance(layer.get("block"), dict) else {}
        named = [str(name) for name in np.atleast_1d(np.array(layer.get("params", []), object)).tolist()]
        arrays = [values.get(name) for name in named] if named else _arrays(layer)
        yield _Layer(KINDS.get(kind, kind), str(layer.get("name", "")), {**layer, **(block or {})}, arrays)


def _check_order(layers: Sequence[dict[str, Any]], path: Path) -> None:
    """WeightsError where a dagnn layer does not read what the layer before it in the file gives."""
    for before, layer in itertools.pairwise(layers):
        given, read = before.get("outputs"), layer.get("inputs")
        if isinstance(given, str) and isinstance(read, str) and given != read:
            raise WeightsError(f"{path} is of another network: {layer.get('name')} reads {read}, not {given} before it")


def _arrays(layer: dict[str, Any]) -> list[Any]:
    """The filters and biases of a simplenn layer; before MatConvNet 1.0-beta12 they had fields of their own."""
    if "filters" in layer:
        return [layer["filters"], layer.get("biases")]
    weights = layer.get("weights", [])
    return list(weights) if isinstance(weights, (list, np.ndarray)) else [weights]


def _dicts(values: Any) -> list[dict[str, Any]]:
    """A cell or struct array as a list; one struct alone is a list of one."""
    found = [values] if isinstance(values, dict) else list(values) if isinstance(values, (list, np.ndarray)) else []
    return [value for value in found if isinstance(value, dict)]


# --- beside ours ---


def _told(layers: Sequence[_Layer], path: Path) -> Network:
    """The network of ours whose layers have this order."""
    kinds = [layer.kind for layer in layers]
    for name in WARPED:
        ours = layouts.empty(name)
        if kinds == [kind for kind, _, _ in _stages(ours)]:
            return ours
    if "lrn" not in kinds:
        raise WeightsError(
            f"{path} is of another network: it has no LRN (MatConvNet's with batch normalisation have none)"
        )
    raise WeightsError(f"{path} is of another network: its layers are {', '.join(kinds)}"[:300])


def _stages(network: Network) -> Iterator[tuple[str, str, nn.Module]]:
    """Kind, name and stage of what is computed, dense layers as convolutions."""
    kinds = {nn.Conv2d: "conv", nn.Linear: "conv", nn.ReLU: "relu", LocalResponseNorm: "lrn", nn.MaxPool2d: "pool"}
    yield from ((kinds[type(stage)], name, stage) for name, stage in network.stages() if type(stage) in kinds)


def _compare(layers: Sequence[_Layer], ours: Network, path: Path) -> None:
    """WeightsError at the first layer with other strides, pads, windows or constants."""
    for layer, (_, name, stage) in zip(layers, _stages(ours), strict=True):
        if str(layer.settings.get("method", "max")) != "max":
            raise WeightsError(f"{path} is of another network: {name} is of {layer.settings['method']!r}, ours of max")
        for key, usual in UNSAID.items():
            if any(number != usual for number in _numbers(layer.settings.get(key, usual))):
                raise WeightsError(f"{path} is of another network: {key} of {name} is not {usual:g}, as ours is")
        for key, wanted in _settings(stage).items():
            given = _numbers(layer.settings.get(key, layer.settings.get({"pool": "poolSize"}.get(key, ""), 0)))
            if key == "pad" and layer.kind == "pool":
                wanted, given = [0.0] * len(given), [max(0.0, edge - place % 2) for place, edge in enumerate(given)]
            if not np.allclose(given, wanted if len(given) == len(wanted) else wanted[:1] * len(given), rtol=1e-5):
                raise WeightsError(f"{path} is of another network: {key} of {name} is {given}, expected {wanted}")


def _settings(stage: nn.Module) -> dict[str, list[float]]:
    if isinstance(stage, nn.Conv2d):
        return {"stride": [float(stage.stride[0])] * 2, "pad": [float(stage.padding[0])] * 4}
    if isinstance(stage, nn.MaxPool2d):
        # Caffe rounds sizes up, for which import-caffe.py pads by 1 below and on the right; at 227 px without effect
        return {"pool": [3.0, 3.0], "stride": [2.0, 2.0], "pad": [0.0] * 4}
    if isinstance(stage, LocalResponseNorm):
        return {"param": [float(stage.size), stage.k, stage.alpha_per_square, stage.beta]}
    return {}


def _numbers(value: Any) -> list[float]:
    try:
        return [float(number) for number in np.atleast_1d(np.array(value)).reshape(-1)][:8]
    except (TypeError, ValueError):
        return []


def _tensors(layers: Sequence[_Layer], ours: Network, path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for layer, (_, name, stage) in zip(layers, _stages(ours), strict=True):
        if not isinstance(stage, (nn.Conv2d, nn.Linear)):
            continue
        if len(layer.arrays) != 2:
            raise WeightsError(f"{path} is of another network: {name} has {len(layer.arrays)} arrays, expected two")
        weight, bias = (np.asarray(array) for array in layer.arrays)
        out = bias.size if name == "fc8" else stage.weight.shape[0]
        shape = _shape(name, stage, out)
        flat = tuple(side for side in shape if side > 1)
        weight = layouts.floats(weight.squeeze(), f"the filters of {name}", flat, path).reshape(shape)
        bias = layouts.floats(bias.reshape(-1), f"the bias of {name}", (out,), path)
        ours_shape = (out, *stage.weight.shape[1:])
        tensors[f"{name}.weight"] = layouts.tensor(layouts.from_hwio(weight).reshape(ours_shape))
        tensors[f"{name}.bias"] = layouts.tensor(bias)
    return tensors


def _shape(name: str, stage: nn.Conv2d | nn.Linear, out: int) -> tuple[int, int, int, int]:
    """(H, W, in, out) of a layer's filters."""
    if isinstance(stage, nn.Conv2d):
        return stage.kernel_size[0], stage.kernel_size[1], stage.weight.shape[1], out
    side = 6 if name == "fc6" else 1
    return side, side, stage.in_features // side**2, out


# --- what it is for ---


def _preprocessing(content: dict[str, Any], ours: Network, path: Path, notes: list[str]) -> Preprocessing | None:
    """The mean, the crop and the shape of images by meta.normalization; before beta17 it had no meta."""
    given = _about(content, "normalization")
    mean = np.asarray(given.get("averageImage", []))
    if not mean.size:
        notes.append("no mean in the file: ImageNet's is taken")
        return None
    if (
        mean.dtype.kind not in "fiu"
        or mean.shape[-1:] != (3,)
        or not np.isfinite(mean).all()
        or not 0 <= mean.min() <= mean.max() <= 255
    ):
        raise WeightsError(
            f"{path} has a mean of another kind ({mean.shape}); expected three channels, values 0 to 255"
        )
    mean, sides = mean.astype(np.float64), _numbers(given.get("imageSize", ours.input_size))
    side = sides[0] if sides else 0.0
    if side != ours.input_size:
        raise WeightsError(f"{path} is for images of {side:g} px; {ours.name} takes {ours.input_size} px")
    red, green, blue = (float(value) for value in mean.reshape(-1, 3).mean(0))
    if mean.size > 3:
        spread = float(np.abs(mean.reshape(-1, 3) - (red, green, blue)).max())
        notes.append(f"its mean image became one mean a channel; they differ by up to {spread:.1f} of 255 levels")
    fit = "crop" if any(_numbers(given.get("keepAspect", 0))) else "warp"
    crop = _numbers(given.get("cropSize", []))
    resize = max(int(side), round(side / crop[0])) if crop and 0 < crop[0] <= 1 else ours.resize
    return Preprocessing(ours.input_size, resize, (red, green, blue), (1.0, 1.0, 1.0), 256, fit)


def _about(content: dict[str, Any], key: str) -> dict[str, Any]:
    """A struct of `meta`, or of the file itself; empty for what is no struct."""
    meta = content.get("meta")
    found = meta.get(key, content.get(key)) if isinstance(meta, dict) else content.get(key)
    return found if isinstance(found, dict) else {}


def _class_names(content: dict[str, Any], classes: int, notes: list[str]) -> list[str] | None:
    """Our names for ImageNet's synsets, else the file's descriptions, else its names; None without as many."""
    given = _about(content, "classes")
    ids, told = (np.atleast_1d(np.array(given.get(key, []), object)).tolist() for key in ("name", "description"))
    known = imagenet_names()
    for names in ([known[name] for name in ids if isinstance(name, str) and name in known], told, ids):
        if len(names) == classes and all(isinstance(name, str) for name in names):
            return list(names)
    notes.append("no class names in the file")
    return None


# --- the way back ---


def _written(network: Network) -> Iterator[dict[str, Any]]:
    values = layouts.as_numpy(network)
    for kind, name, stage in _stages(network):
        layer: dict[str, Any] = {"type": kind, "name": name}
        layer |= {key: np.array([numbers]) for key, numbers in _settings(stage).items()}
        if kind == "pool":
            layer["method"] = "max"
        if isinstance(stage, (nn.Conv2d, nn.Linear)):
            weight = values[f"{name}.weight"]
            if isinstance(stage, nn.Linear):
                side = 6 if name == "fc6" else 1
                weight = weight.reshape(weight.shape[0], -1, side, side)
            layer["weights"] = _cells([layouts.to_hwio(weight), values[f"{name}.bias"][None]])
            layer |= {"stride": layer.get("stride", np.ones((1, 2))), "pad": layer.get("pad", np.zeros((1, 4)))}
        yield layer
    yield {"type": "softmax", "name": "prob"}


def _cells(values: Sequence[Any]) -> Any:
    """A cell array of one row."""
    found = np.empty((1, len(values)), object)
    for place, value in enumerate(values):
        found[0, place] = value
    return found


def _meta(network: Network, card: Card) -> dict[str, Any]:
    given = card.preprocessing
    normalization = {
        "imageSize": np.array([[card.input_size, card.input_size, 3.0]]),
        "averageImage": np.array(given.get("mean", network.mean), np.float64).reshape(1, 1, 3),
        "keepAspect": given.get("fit", "warp") != "warp",
        "interpolation": "bilinear",
        "cropSize": card.input_size / given.get("resize", network.resize),
    }
    names = {"name": _cells(card.class_names), "description": _cells(card.class_names)}
    return {"normalization": normalization, "classes": names}
