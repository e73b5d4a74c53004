"""The article's network as Keras layers, and a .keras file of them."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from alexnet.errors import UsageError
from alexnet.files import whole_file
from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, Network
from alexnet.weights.card import Card
from alexnet.weights.convert import layouts

STAMP = (1980, 1, 1, 0, 0, 0)  # the time of every part of the zip: equal weights give equal bytes
VERSION = "3.10.0"  # of Keras, whose layout this is


class Step(NamedTuple):
    """A layer without its activation, or an activation."""

    kind: str
    settings: dict[str, Any]


def library(purpose: str) -> Any:
    """The package h5py; UsageError says how to install it."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError(f"{purpose} needs the package h5py; install it: pip install h5py") from error
    return h5py


def last_side(network: Network) -> int:
    """Side of the maps that the first dense layer reads."""
    return int(network.get_submodule("avgpool").size)  # type: ignore[arg-type]


def steps(network: Network) -> Iterator[tuple[str, Step]]:
    """The stages of the article's network as Keras computes them; UsageError for pools that Keras pads otherwise."""
    for name, stage in network.stages():
        if isinstance(stage, (Enlarge, AdaptiveAvgPool2d)):
            continue
        yield name, _step(stage)


def _step(stage: nn.Module) -> Step:
    if isinstance(stage, nn.Conv2d):
        padding = "same" if any(stage.padding) else "valid"
        sides = {"kernel_size": list(stage.kernel_size), "strides": list(stage.stride), "dilation_rate": [1, 1]}
        return Step(
            "Conv2D",
            {"filters": stage.out_channels, "padding": padding, "groups": 1, "data_format": "channels_last", **sides},
        )
    if isinstance(stage, nn.MaxPool2d):
        if stage.padding:
            raise UsageError("Keras pads pools of 3 at other edges than this network; write pool=2, or another format")
        pools: dict[str, Any] = {"pool_size": [stage.kernel_size] * 2, "strides": [stage.stride] * 2}
        return Step("MaxPooling2D", {**pools, "padding": "valid", "data_format": "channels_last"})
    if isinstance(stage, (nn.BatchNorm1d, nn.BatchNorm2d)):
        momentum = round(1 - float(stage.momentum or 0), 12)
        return Step("BatchNormalization", {"axis": -1, "epsilon": stage.eps, "momentum": momentum})
    if isinstance(stage, nn.Linear):
        return Step("Dense", {"units": stage.out_features})
    if isinstance(stage, nn.Dropout):
        return Step("Dropout", {"rate": stage.p})
    return Step({nn.ReLU: "relu", nn.Flatten: "Flatten"}[type(stage)], {})


def write(network: Network, card: Card, path: Path) -> None:
    """Write config.json, metadata.json (with the card) and model.weights.h5 as a .keras file."""
    config = json.dumps(_config(network))
    metadata = json.dumps({"keras_version": VERSION, "date_saved": "", "alexnet": card.to_json()})
    weights = _weights(network)
    with whole_file(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in (("metadata.json", metadata), ("config.json", config), ("model.weights.h5", weights)):
            archive.writestr(zipfile.ZipInfo(name, STAMP), content)


def _layers(network: Network) -> list[tuple[str, Step, str]]:
    """For each Keras layer: our stage, the step, its activation."""
    found: list[tuple[str, Step, str]] = []
    for name, step in steps(network):
        if step.kind == "relu":
            stage, before, _ = found.pop()
            found.append((stage, before, "relu"))
        else:
            found.append((name, step, "linear"))
    name, step, _ = found.pop()
    return [*found, (name, step, "softmax")]


def _numbered(network: Network) -> Iterator[tuple[str, str, Step, str]]:
    """The layers with their Keras names: the kind in snake case, counted."""
    counts: dict[str, int] = {}
    snake = {"Conv2D": "conv2d", "MaxPooling2D": "max_pooling2d", "BatchNormalization": "batch_normalization"}
    for stage, step, activation in _layers(network):
        kind = snake.get(step.kind, step.kind.lower())
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        yield stage, f"{kind}_{number}" if number else kind, step, activation


def _config(network: Network) -> dict[str, Any]:
    side = network.input_size
    layers = [_layer("InputLayer", {"batch_shape": [None, side, side, 3], "dtype": "float32", "name": "images"})]
    for _, name, step, activation in _numbered(network):
        config = {"name": name, "trainable": True, "dtype": "float32", **step.settings}
        if step.kind in ("Conv2D", "Dense"):
            config |= {"activation": activation, "use_bias": True}
        layers.append(_layer(step.kind, config))
    config = {"name": network.name, "trainable": True, "dtype": "float32", "layers": layers}
    shape = {"input_shape": [None, side, side, 3]}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": config,
        "registered_name": None,
        "build_config": shape,
    }


def _layer(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def _weights(network: Network) -> bytes:
    """model.weights.h5."""
    values, side = layouts.as_numpy(network), last_side(network)
    content = io.BytesIO()
    with library("writing Keras files").File(content, "w") as file:
        for stage, name, _, _ in _numbered(network):
            group = file.create_group(f"layers/{name}/vars")
            group.attrs["name"] = name
            keys = [f"{stage}.{key}" for key in ("weight", "bias", "running_mean", "running_var")]
            for place, key in enumerate(key for key in keys if key in values):
                group.create_dataset(str(place), data=_theirs(key, values[key], side), track_times=False)
        file.create_group("vars").attrs["name"] = network.name
    return content.getvalue()


def _theirs(name: str, array: layouts.Floats, side: int) -> layouts.Floats:
    if name == "fc6.weight":
        return layouts.dense_to_hwc(array, side)
    return layouts.to_hwio(array) if array.ndim == 4 else array.T
