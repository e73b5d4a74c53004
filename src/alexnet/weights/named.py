"""Weights by whatever a user names them: published ones, a run's folder, a file of ours, a file of another program."""

import logging
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alexnet import networks
from alexnet.data.sources.imagenet import devkit_synsets
from alexnet.data.sources.synsets import imagenet_names, usual_name
from alexnet.errors import FileError, UsageError, WeightsError
from alexnet.networks.layers import Network
from alexnet.weights import hub, pretrained
from alexnet.weights.card import Card, Loaded, Stored, built, fill, has_card, model_file, read, read_card, write
from alexnet.weights.convert import Format, recognised, to_file
from alexnet.weights.convert.caffe_mean import channel_means as caffe_mean
from alexnet.weights.convert.foreign import stored as with_card
from alexnet.weights.exported import export_card, openvino_file

log = logging.getLogger(__name__)

Named = str | os.PathLike[str]


def file_of(model: Named) -> Path:
    """The file that holds a model's weights; published ones are fetched where they are not here yet.

    model: a name such as imagenet:bvlc or hub:owner/name, a run's folder, a file, or a folder for OpenVINO, whose .xml
    file it is. UsageError for an unknown name, WeightsError for what is none of these.
    """
    if hub.is_name(model):
        return hub.fetch(model).file
    if pretrained.is_name(model):
        return pretrained.fetch(model)
    folder = isinstance(model, (str, os.PathLike)) and openvino_file(Path(os.fsdecode(model)))
    return folder or model_file(model)


def read_named(model: Named, network: str | None = None) -> Stored:
    """The card and the tensors of a model. network: its name, for foreign files that do not tell.

    WeightsError for a file that is damaged, or of no format that is known.
    """
    if hub.is_name(model):
        return _from_hub(model)
    path = file_of(model)
    if pretrained.is_name(model):
        network = pretrained.published(model).network
    if export_card(path):
        raise UsageError(
            f"{path} is an export, which predict and evaluate take; this needs the network itself: give the run's "
            "folder or the weights file that it was made from"
        )
    foreign = _foreign_format(path)
    if foreign is None:
        return read(path)
    found = foreign.read(path, network)
    for note in found.notes:
        log.debug("%s: %s", path, note)
    card, tensors = with_card(found, path.name)
    if pretrained.is_name(model):
        card = replace(card, training={"published": os.fsdecode(model), **card.training})
    return Stored(card, tensors)


def check_model(model: Named) -> None:
    """WeightsError for what is no model by its first bytes; what follows them is not read."""
    path = file_of(model)
    if not export_card(path) and _foreign_format(path) is None:
        read_card(path)


def _foreign_format(path: Path) -> Format | None:
    """The format of another program's file; None for one of ours, and for what is of no format that is known."""
    found = None if has_card(path) else recognised(path)
    if found is None and path.suffix == ".onnx":
        raise WeightsError(f"{path} is no ONNX file: it does not begin as one; take a fresh copy")
    return found


def is_published(model: object) -> bool:
    """Whether this names weights that are published, or on a hub, and no path."""
    return pretrained.is_name(model) or hub.is_name(model)


def pinned(model: Named) -> str:
    """The name or path, a model on a hub with the commit that its revision names now."""
    return hub.fetch(model).name if hub.is_name(model) else os.fsdecode(model)


def _from_hub(model: Named) -> Stored:
    """The model's one file, which is read as ours and as no other program's: nothing on a hub is trusted."""
    fetched = hub.fetch(model)
    try:
        card, tensors = read(fetched.file)
    except WeightsError as error:
        raise WeightsError(f"{fetched.name}: {error}") from error
    return Stored(replace(card, training={**card.training, "published": fetched.name}), tensors)


def load(model: Named) -> Loaded:
    """A model's network, in evaluation mode on the processor, and its card; errors as for `read_named`."""
    return built(read_named(model), os.fsdecode(model))


def create(
    name: str,
    num_classes: int | None = None,
    input_size: int | None = None,
    weights: Named | None = None,
    **differences: Any,
) -> Network:
    """A network: float (N, 3, H, W) -> logits (N, num_classes), in training mode.

    num_classes, input_size (side in pixels, at least 63, or 8 for the cifar networks): None selects that of `weights`,
    without weights the published value. weights: None for newly initialised ones; the name of published ones, such as
    imagenet:bvlc, or of a model on a hub, hub:owner/name; a run's folder; a .safetensors file or one of another
    program. With another `num_classes` than theirs the last layer is newly initialised, which is logged.
    differences: settings that deviate from the published network; all networks take dropout=, the probability of
    zeroing a unit. Raises UsageError for an unknown name or difference and for a value of the wrong type or range,
    WeightsError for weights that are damaged or of another network.
    """
    if weights is None:
        return networks.create(name, num_classes, input_size, **differences)
    network = networks.create(name, num_classes, input_size, **differences)  # refuses what is wrong before a download
    card, tensors = read_named(weights)
    if card.num_classes == 0:
        raise WeightsError(f"{os.fsdecode(weights)} holds pre-trained layers alone; train with --init {weights} first")
    if card.network != name:
        raise WeightsError(f"{os.fsdecode(weights)} is of the network {card.network!r}, not {name!r}; create that one")
    classes = card.num_classes if num_classes is None else num_classes
    size = card.input_size if input_size is None else input_size
    network = networks.create(name, classes, size, **{**card.differences, **differences})
    if classes != card.num_classes:
        tensors = {**tensors, **_last_layer(network)}
        log.info("%s has %s classes: the layer for %s is new", os.fsdecode(weights), card.num_classes, classes)
    fill(network, tensors, os.fsdecode(weights))
    return network


def _last_layer(network: Network) -> dict[str, torch.Tensor]:
    """The tensors of the layer that gives the classes."""
    return list(network.stage_tensors().values())[-1]


def convert_file(
    model: Named,
    out: Path,
    to: str | None = None,
    network: str | None = None,
    mean: Path | None = None,
    classes: Path | None = None,
) -> Stored:
    """Write a model as a weights file of ours, or as one of another program; returns what was written.

    to: a format of `alexnet.weights.convert`; None for ours. network: as for `read_named`. mean: a mean image of Caffe,
    which takes the place of the card's mean. classes: a file of class names as for `class_list`, in the order of the
    outputs. UsageError for a file that is there already, an unknown format and one that cannot hold the network.
    """
    if out.exists():
        raise UsageError(f"{out} is there already; name a new file, this one is kept")
    found = read_named(model, network)
    card = found.card
    if mean is not None:
        card = _with_mean(card, mean)
    if classes is not None:
        card = replace(card, class_names=class_list(classes))
    if to is None:
        write(out, found.tensors, card)
    else:
        to_file(built(Stored(card, found.tensors), os.fsdecode(model)).network, card, to, out)
    return Stored(card, found.tensors)


def _with_mean(card: Card, mean: Path) -> Card:
    """The card with the channel means of a mean image, and a note of it in place of the reader's."""
    notes = [note for note in card.training.get("notes", []) if "mean image" not in note]
    training = {**card.training, "notes": [*notes, f"channel means of {mean.name}"]}
    return replace(
        card, preprocessing={**card.preprocessing, "mean": list(caffe_mean(mean))}, training=training, calibration=None
    )


def class_list(path: Path) -> list[str]:
    """The class names in a text file, one a line; or of the development kit's meta.mat, in the order of its ids.

    ILSVRC2012_ID is how cuda-convnet numbers ImageNet's classes. FileError for a file that cannot be read or names one
    class twice; DataError for another .mat file.
    """
    if path.suffix == ".mat":
        synsets = devkit_synsets(path)
        return [usual_name(synsets[number][0]) for number in sorted(synsets) if number <= len(imagenet_names())]
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise FileError(f"cannot read {path}: {reason}; give a text file of class names, one a line") from error
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise FileError(f"{path} names {twice[0]!r} twice; give each class a name of its own")
    return names
