"""The article's network in Keras's files: .keras (Keras 3), .h5 of a whole model and .weights.h5; and the way back.

A .keras file is a zip of config.json (the layers), metadata.json and model.weights.h5, in which the arrays of a layer
lie in layers/<class in snake case, counted>/vars/<number>. An .h5 file of a whole model has the layers as JSON in its
attribute model_config and the arrays in model_weights/<layer>/<names in its attribute weight_names>. Nothing of a file
is run: layers are compared with those of our network, and a Lambda is one that ours has not. Kernels are (height,
width, in, out) and (in, out), the first dense layer's rows ordered by row, column, channel.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources.known import FLOWERS17_CLASSES
from alexnet.errors import AlexNetError, UsageError, WeightsError
from alexnet.networks.layers import Network
from alexnet.weights.card import Card
from alexnet.weights.convert import keras_writer, layouts
from alexnet.weights.convert.foreign import Foreign

NAME = "keras"
ABOUT = "Keras (.keras, .h5)"
ARTICLE = "article"
HDF5 = b"\x89HDF\r\n\x1a\n"
MOST = 2**30  # bytes of the weights inside a .keras file; the article's, with Adam's two moments, have 340 MB
MOST_CONFIG = 10_000_000  # bytes
WEIGHTED: dict[str, tuple[str, ...]] = {"Conv2D": ("weight", "bias"), "Dense": ("weight", "bias")}
WEIGHTED["BatchNormalization"] = ("weight", "bias", "running_mean", "running_var")
UNSAID = {"groups": 1, "dilation_rate": [1, 1], "data_format": "channels_last"}  # by old versions of Keras
STORED = {"Conv2D": "conv2d", "Dense": "dense", "BatchNormalization": "batch_normalization"}


def recognises(path: Path, head: bytes) -> bool:
    """Whether it is HDF5, or a zip with the parts of a .keras file."""
    if head.startswith(HDF5):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return {"config.json", "model.weights.h5"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, EOFError):
        return False


def read(path: Path, network: str | None = None) -> Foreign:
    """The article's network, with the differences that the file's layers show.

    WeightsError for damaged files and for models of other layers. UsageError without the package h5py.
    """
    if network not in (None, ARTICLE):
        raise WeightsError(f"{path}: Keras files hold {ARTICLE!r}, not {network!r}; leave out --network")
    with _opened(path) as content:
        steps = _steps(content.layers, path) if content.layers else None
        differences = _differences(steps) if steps else {}
        try:
            ours = layouts.empty(ARTICLE, **differences)
        except UsageError as error:
            raise WeightsError(f"{path} is of another network: {error}") from error
        if steps:
            _compare(steps, ours, path)
        tensors = _tensors(content, ours, path)
    return _foreign(content, tensors, differences, path)


def write(network: Network, card: Card, path: Path) -> None:
    """Write a .keras file that `keras.saving.load_model` loads; UsageError for what Keras has no layers for."""
    layouts.refuse_other(network, (ARTICLE,), "Keras files")
    if path.suffix != ".keras":
        raise UsageError(f"{path} does not end in .keras, by which Keras knows its files; name it {path.stem}.keras")
    keras_writer.write(network, card, path)


# --- the parts of a file ---


@dataclass
class _Content:
    file: Any  # h5py.File
    layers: list[dict[str, Any]] | None  # as Keras describes them; None for weights alone
    card: dict[str, Any] | None = None  # ours, where `write` wrote the file


@contextmanager
def _opened(path: Path) -> Iterator[_Content]:
    h5py = keras_writer.library(f"reading {path}")
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        config, metadata, source = _unzipped(path) if zipped else (None, None, path)
        with h5py.File(source, "r") as file:
            text = config if zipped else file.attrs.get("model_config")
            yield _Content(file, _layers(text) if text else None, (metadata or {}).get("alexnet"))
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path} is a damaged .keras file ({error}); take a fresh copy") from error
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, EOFError, RecursionError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is a damaged Keras file ({reason}); take a fresh copy") from error


def _unzipped(path: Path) -> tuple[str, dict[str, Any], io.BytesIO]:
    with zipfile.ZipFile(path) as archive:
        config = _part(archive, "config.json", MOST_CONFIG).decode()
        named = "metadata.json" in archive.namelist()
        metadata = json.loads(_part(archive, "metadata.json", MOST_CONFIG)) if named else {}
        return config, metadata, io.BytesIO(_part(archive, "model.weights.h5", MOST))


def _part(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A part of a zip, of which no more is unpacked than it may have."""
    with archive.open(name) as part:
        content = part.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{name} has more than {most} bytes")
    return content


def _layers(text: str | bytes) -> list[dict[str, Any]]:
    config = json.loads(text)["config"]
    found = config["layers"] if isinstance(config, dict) else config
    return [layer for layer in found if layer["class_name"] != "InputLayer"]


# --- its layers beside ours ---


@dataclass(frozen=True)
class _Step:
    """Something that is computed: a layer without its activation, or an activation."""

    kind: str
    settings: dict[str, Any]


def _steps(layers: Sequence[dict[str, Any]], path: Path) -> list[_Step]:
    """The layers with their activations as steps of their own, without a last softmax."""
    found = []
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind not in ("Activation", "ReLU"):
            found.append(_Step(kind, config))
        if kind == "ReLU" and (
            bent := [key for key in ("max_value", "negative_slope", "threshold") if config.get(key)]
        ):
            raise WeightsError(f"{path} is of another network: a ReLU with {bent[0]} {str(config[bent[0]])[:40]}")
        activation = "relu" if kind == "ReLU" else config.get("activation", "linear")
        if activation not in ("linear", None):
            found.append(_Step(str(activation), {}))
    if found and found[-1].kind == "softmax":
        found.pop()
    if not found:
        raise WeightsError(f"{path} is of another network: it has no layers")
    return found


def _differences(steps: Sequence[_Step]) -> dict[str, Any]:
    """The settings of the article's network that these layers show, where they are not the published ones."""
    of = {kind: [step.settings for step in steps if step.kind == kind] for kind in {step.kind for step in steps}}
    dense, conv = of.get("Dense", []), of.get("Conv2D", [])
    hidden = dense[2]["units"] if len(dense) > 3 else 0
    relus = sum(step.kind == "relu" for step in steps)
    found: dict[str, Any] = {
        "dropout": of["Dropout"][0]["rate"] if "Dropout" in of else 0.0,
        "padding": len(conv) > 1 and conv[1]["padding"] == "same",
        "conv2": _first(conv[1]["kernel_size"]) if len(conv) > 1 else 11,
        "hidden": hidden,
        "hidden_relu": not hidden or relus == len(conv) + len(dense) - 1,
        "memory": of["BatchNormalization"][0]["momentum"] if "BatchNormalization" in of else 0.99,
    }
    published = {"dropout": 0.4, "padding": False, "conv2": 11, "hidden": 1000, "hidden_relu": True, "memory": 0.99}
    return {key: value for key, value in found.items() if value != published[key]}


def _first(side: Any) -> Any:
    return side[0] if isinstance(side, (list, tuple)) else side


def _compare(steps: Sequence[_Step], ours: Network, path: Path) -> None:
    """WeightsError at the first layer that is not the article's."""
    wanted = [step for _, step in keras_writer.steps(ours)]
    if steps[-1].kind in ("sigmoid", "tanh", "relu") and len(steps) == len(wanted) + 1:
        raise WeightsError(f"{path} is of another network: its answers pass a {steps[-1].kind}, ours a softmax")
    given = [step for step in steps if step.kind != "Dropout" or step.settings["rate"]]
    wanted = [step for step in wanted if step[0] != "Dropout" or step[1]["rate"]]
    for place, (step, (kind, settings)) in enumerate(zip(given, wanted, strict=False)):
        if step.kind != kind:
            raise WeightsError(f"{path} is of another network: step {place + 1} is {step.kind}, the article's {kind}")
        for key, value in settings.items():
            theirs = step.settings.get(key, UNSAID.get(key))
            if not _agree(theirs, value) and not (key == "units" and place == len(wanted) - 1):
                raise WeightsError(
                    f"{path} is of another network: {key} of step {place + 1} ({kind}) is {str(theirs)[:40]}, the"
                    f" article's {value}"
                )
    if len(given) != len(wanted):
        raise WeightsError(f"{path} is of another network: {len(given)} steps, the article's {len(wanted)}")


def _agree(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return (list(found) if isinstance(found, (list, tuple)) else [found] * len(wanted)) == wanted
    if wanted == 3 and isinstance(found, list):  # the axis of BatchNormalization in old files
        return found == [3]
    return bool(found == wanted or (wanted == -1 and found in (1, 3, [1], [3])))


# --- its arrays ---


def _tensors(content: _Content, ours: Network, path: Path) -> dict[str, Tensor]:
    """The tensors by our names; the layers with weights follow each other in the same order."""
    kinds = {nn.Conv2d: "Conv2D", nn.Linear: "Dense", nn.BatchNorm1d: "BatchNormalization"}
    kinds[nn.BatchNorm2d] = "BatchNormalization"
    tensors, counts = {}, dict.fromkeys(STORED, 0)
    stages = [(name, stage, kinds[type(stage)]) for name, stage in ours.stages() if type(stage) in kinds]
    last, old = stages[-1][0], "model_weights" in content.file or "layer_names" in content.file.attrs
    groups = _old_groups(content, path, len(stages)) if old else None
    for number, (name, stage, kind) in enumerate(stages):
        arrays = groups[number] if groups else _new_group(content, kind, counts[kind], path)
        counts[kind] += 1
        for key, dataset in zip(WEIGHTED[kind], arrays, strict=True):
            wanted = tuple(stage.state_dict()[key].shape)
            free = (None, *wanted[1:]) if name == last else wanted
            tensors[f"{name}.{key}"] = _tensor(dataset, free, f"{name}.{key}", ours, path)
        if kind == "BatchNormalization":
            tensors[f"{name}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return tensors


def _tensor(dataset: Any, wanted: tuple[int | None, ...], name: str, ours: Network, path: Path) -> Tensor:
    """An array of the file in our layout; nothing is read of one of another shape."""
    theirs = {4: (wanted[2:] + wanted[1:2] + wanted[:1]) if len(wanted) == 4 else (), 2: wanted[::-1], 1: wanted}
    shape = theirs[len(wanted)]
    if not _fits(dataset.shape, shape):
        sides = " x ".join("any" if side is None else str(side) for side in shape)
        found = " x ".join(map(str, dataset.shape))
        raise WeightsError(f"{path} is of another network: {name} is {found}, expected {sides}")
    array = layouts.floats(dataset[()], name, dataset.shape, path)
    if name == "fc6.weight":
        return layouts.tensor(layouts.dense_from_hwc(array, keras_writer.last_side(ours)))
    return layouts.tensor(layouts.from_hwio(array) if array.ndim == 4 else array.T)


def _fits(found: tuple[int, ...], wanted: Sequence[int | None]) -> bool:
    return len(found) == len(wanted) and all(side in (None, size) for side, size in zip(wanted, found, strict=True))


def _new_group(content: _Content, kind: str, number: int, path: Path) -> list[Any]:
    """The arrays of a layer in Keras 3's layout, counted among its kind."""
    name = f"{STORED[kind]}_{number}" if number else STORED[kind]
    group = f"layers/{name}/vars"
    return [_dataset(content.file, f"{group}/{place}", path) for place in range(len(WEIGHTED[kind]))]


def _old_groups(content: _Content, path: Path, count: int) -> list[list[Any]]:
    """The arrays of the layers that have any, in order, in the layout of .h5 files."""
    root = _place(content.file, "model_weights", path) if "model_weights" in content.file else content.file
    found = []
    for layer in map(_text, root.attrs["layer_names"]):
        names = [_text(name) for name in _place(root, layer, path).attrs["weight_names"]]
        if names:
            found.append([_dataset(root, f"{layer}/{name}", path) for name in names])
    if len(found) != count:
        raise WeightsError(f"{path} is of another network: {len(found)} layers with weights, the article's {count}")
    return found


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _place(root: Any, name: str, path: Path) -> Any:
    """A group or an array that lies in this file; WeightsError for links to other files, which HDF5 would follow."""
    h5py = keras_writer.library("reading Keras files")
    place = root
    for part in name.split("/"):
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if link is None:
            raise WeightsError(f"{path} is of another network: it has no {name}")
        if not isinstance(link, h5py.HardLink):
            raise WeightsError(f"{path} is refused: {name} is a link elsewhere; take a file that holds its weights")
        place = place[part]
    return place


def _dataset(root: Any, name: str, path: Path) -> Any:
    """An array whose values lie in this file; WeightsError for others."""
    place = _place(root, name, path)
    if not isinstance(place, keras_writer.library("reading Keras files").Dataset) or place.external or place.is_virtual:
        raise WeightsError(f"{path} is refused: the values of {name} lie elsewhere; take a file that holds them")
    return place


# --- what it is for ---


def _foreign(content: _Content, tensors: dict[str, Tensor], differences: dict[str, Any], path: Path) -> Foreign:
    if content.card:
        try:
            card = Card.from_json(content.card)
            form = Preprocessing.from_json(card.preprocessing) if card.preprocessing else None
        except (WeightsError, AlexNetError, TypeError, ValueError) as error:
            raise WeightsError(f"{path} has a damaged card: {error}") from error
        return Foreign(ARTICLE, tensors, card.differences, card.class_names, form, ("written by alexnet",))
    classes = len(tensors["fc9.bias"])
    notes = ["the file states no preprocessing: the article's, values 0 to 1"]
    if not content.layers:
        notes.append("the file holds weights alone: its layers were taken for the article's")
    names = None
    if classes == len(FLOWERS17_CLASSES):
        names = [FLOWERS17_CLASSES[int(folder)] for folder in sorted(map(str, range(classes)))]
        notes.append(
            "17 classes: named as tflearn's oxflower17 numbers them, folders 0, 1, 10, ..., 16, 2, ... as text"
        )
    return Foreign(ARTICLE, tensors, differences, names, notes=tuple(notes))
