"""What a file of another program holds, in the names and shapes of our networks; and its card."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources.synsets import imagenet_names
from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create
from alexnet.networks.layers import Network, skip_init
from alexnet.weights.card import Card, Stored, fill

WARPED = ("bvlc", "caffenet")
FITS = {**dict.fromkeys(WARPED, "warp"), "one_weird_trick": "short"}  # how images became square; others: crop


class NetworkUntold(WeightsError):
    """The file could be of several networks and does not tell which: it is to be read again with its name."""


@dataclass(frozen=True)
class Foreign:
    """The content of a foreign weights file; `stored` checks it against the network and gives it a card."""

    network: str  # a name that alexnet.create knows
    tensors: dict[str, Tensor]  # float32, by the names of our state dict, complete
    differences: dict[str, Any] = field(default_factory=dict)  # further arguments of alexnet.create
    class_names: list[str] | None = None  # in output order; None: unknown
    preprocessing: Preprocessing | None = None  # None: the network's published one
    notes: tuple[str, ...] = ()  # one line each: what was read, assumed, left out


def stored(foreign: Foreign, origin: str) -> Stored:
    """The card and the tensors as a weights file of ours has them.

    origin: the file's name, for messages and the card. WeightsError where the tensors do not fit the network.
    """
    network = _network(foreign, origin)
    classes = network.num_classes
    fill(network, foreign.tensors, origin)
    for name, tensor in foreign.tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(f"{origin} holds values in {name} that are not finite; take a fresh copy")
    named = class_names(foreign, classes)
    form = foreign.preprocessing or published(network)
    facts = {"converted_from": origin, "notes": list(foreign.notes)}
    card = Card(
        foreign.network, classes, form.input_size, dict(foreign.differences), named, form.to_json(), training=facts
    )
    return Stored(card, foreign.tensors)


def _network(foreign: Foreign, origin: str) -> Network:
    """The network that the tensors belong to, its outputs counted by the last bias, without initial weights."""
    try:
        with skip_init():
            usual = create(foreign.network, **foreign.differences)
            last = foreign.tensors.get(list(usual.state_dict())[-1])
            classes = int(last.shape[0]) if last is not None and last.ndim == 1 else usual.num_classes
            return create(foreign.network, classes, **foreign.differences)
    except UsageError as error:
        raise WeightsError(f"{origin} is of a network that cannot be built here: {error}") from error


def class_names(foreign: Foreign, classes: int) -> list[str]:
    """The file's own names; else the 1,000 of ImageNet for as many outputs; else "class 0", "class 1", ...

    WeightsError for names of another number.
    """
    if foreign.class_names is not None:
        if len(foreign.class_names) != classes:
            raise WeightsError(f"{len(foreign.class_names)} class names for {classes} outputs; give one name each")
        return list(foreign.class_names)
    imagenet = list(imagenet_names().values())
    return imagenet if classes == len(imagenet) else [f"class {number}" for number in range(classes)]


def published(network: Network) -> Preprocessing:
    """The preprocessing that the network's publisher evaluated it with."""
    store = 256 if network.resize > 64 else 64
    return Preprocessing(
        network.input_size, network.resize, network.mean, network.std, store, FITS.get(network.name, "crop")
    )
