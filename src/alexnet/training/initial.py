"""Initial weights from an earlier run of the same network, and frozen layers."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from alexnet.data.sources.synsets import usual_name
from alexnet.errors import UsageError, WeightsError, unknown_name
from alexnet.networks.layers import LocallyConnected2d, Network
from alexnet.weights.card import Card, Stored, shape_text
from alexnet.weights.convert.foreign import NetworkUntold
from alexnet.weights.named import is_published, pinned, read_named

logger = logging.getLogger(__name__)

ENDS = (nn.Linear, nn.Flatten, LocallyConnected2d)
"""Layers that end the convolutional part of a network."""


def found_anywhere(init: str | None) -> str | None:
    """A recipe's `init` as it is found from every folder and ever after.

    Paths become absolute, names of published weights stay, and a model on a hub gets the commit that it has now.
    """
    if init is None or is_published(init):
        return init and pinned(init)
    return str(Path(init).expanduser().absolute())


def check_initial(network: Network, path: str) -> None:
    """Refuse, before any data is read, a run or file from which no layer of `network` can be taken.

    network: of any number of classes; its last layer is not compared. Errors as for `begin_from`.
    """
    card, tensors = _read(path, network.name)
    _refuse_other(card, path, network.name)
    *layers, _ = network.stage_tensors().items()
    _refuse_misfits(network.name, path, {name: _misfit(name, state, tensors) for name, state in layers})


def begin_from(network: Network, path: str, class_names: Sequence[str]) -> list[str]:
    """Copy the matching layers of a run, a weights file or published weights into the network; returns their names.

    A layer matches if the file has all its tensors in the same shapes; the last layer only if the file also has the
    same classes in the same order. Copied and new layers are logged. WeightsError for a file of another network or
    without a matching layer.
    """
    card, tensors = _read(path, network.name)
    _refuse_other(card, path, network.name)
    layers = network.stage_tensors()
    misfits = {name: _misfit(name, state, tensors) for name, state in layers.items()}
    last = list(layers)[-1]
    if misfits[last] is None and list(map(usual_name, class_names)) != list(map(usual_name, card.class_names)):
        misfits[last] = "other classes"
    _refuse_misfits(network.name, path, misfits)
    taken = [name for name, misfit in misfits.items() if misfit is None]
    network.load_state_dict({key: tensors[key] for name in taken for key in layers[name]}, strict=False)
    new = [name if misfit == "" else f"{name} ({misfit})" for name, misfit in misfits.items() if misfit is not None]
    logger.info("from %s: %s; new: %s", path, ", ".join(taken), ", ".join(new) or "none")
    return taken


def freeze(network: Network, frozen: str) -> list[str]:
    """Exclude layers from training; returns their names.

    frozen: comma-separated names, or the number of convolutions from the input on, each with the layers up to the next;
    empty for none. UsageError for an unknown layer, and for the last one, which must learn the classes.
    """
    stages, layers = dict(network.stages()), list(network.stage_tensors())
    names = _first(network, int(frozen)) if frozen.strip().isdigit() else _listed(frozen)
    for name in names:
        if name not in layers:
            raise unknown_name(f"layer of {network.name} to freeze", name, layers)
    if layers[-1] in names:
        raise UsageError(f"freeze names {layers[-1]!r}, the layer that must learn the classes; leave it out")
    for name in names:
        stages[name].requires_grad_(False)
    return names


def frozen(network: Network) -> list[str]:
    """Names of the layers with parameters none of which is trained."""
    tensors = {name: list(stage.parameters()) for name, stage in network.stages()}
    return [name for name, own in tensors.items() if own and not any(each.requires_grad for each in own)]


def training_mode(network: nn.Module) -> None:
    """Set training mode, except for frozen modules: their BatchNorm statistics stay fixed."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _first(network: Network, convolutions: int) -> list[str]:
    """Names of the layers before the convolution of index `convolutions`."""
    stages = list(network.stages())
    places = [place for place, (_, stage) in enumerate(stages) if isinstance(stage, nn.Conv2d)]
    if convolutions > len(places):
        raise UsageError(f"freeze is {convolutions}, but {network.name} has {len(places)} convolutions; take no more")
    last = next(place for place, (_, stage) in enumerate(stages) if isinstance(stage, ENDS))
    end = [*places, last][convolutions]
    layers = network.stage_tensors()
    return [name for name, _ in itertools.islice(stages, end) if name in layers]


def _refuse_misfits(network: str, file: str, misfits: Mapping[str, str | None]) -> None:
    """WeightsError where every layer has a misfit."""
    if None not in misfits.values():
        reason = next((f"{name}: {misfit}" for name, misfit in misfits.items() if misfit), "it is empty")
        raise WeightsError(
            f"nothing in {file} fits the network {network!r} ({reason}); begin from a run of the same settings"
        )


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _misfit(name: str, wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str | None:
    """Reason why a layer does not match: "" if the file lacks it, None if it matches."""
    if not any(key in tensors for key in wanted):
        return ""
    for key, tensor in wanted.items():
        if key not in tensors:
            return f"no {key.removeprefix(name + '.')}"
        if tensors[key].shape != tensor.shape:
            return f"{shape_text(tensors[key].shape)} there, {shape_text(tensor.shape)} here"
    return None


def _read(path: str, network: str) -> Stored:
    """The weights to begin from; a file that does not tell its network is taken for `network`."""
    try:
        return read_named(path)
    except NetworkUntold:
        return read_named(path, network)


def _refuse_other(card: Card, path: str, network: str) -> None:
    if card.network != network:
        raise WeightsError(
            f"{path} is of the network {card.network!r}, this run trains {network!r}; "
            f"give --network {card.network}, or a run of {network}"
        )
