"""The table of the networks by name; each published network has its own file.

A network's file is imported when it is created, so that listing the names does not import torch.
"""

import inspect
import operator
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from alexnet.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from alexnet.networks.layers import Network


class _Entry(NamedTuple):
    file: str
    class_name: str
    description: str  # one line, which tells it from the others


_NETWORKS = {
    "krizhevsky2012": _Entry(
        "krizhevsky2012", "Krizhevsky2012", "the 2012 network as its released code trained it: LRN in each tower"
    ),
    "paper": _Entry("krizhevsky2012", "Paper", "the 2012 network as the paper's text describes it: LRN across towers"),
    "bvlc": _Entry("caffe", "BVLC", "Caffe's BVLC AlexNet, the source of 57.1 % top-1 on ImageNet"),
    "caffenet": _Entry("caffe", "CaffeNet", "Caffe's CaffeNet: BVLC AlexNet with each pool before its LRN, 57.4 %"),
    "one_weird_trick": _Entry("one_weird_trick", "OneWeirdTrick", "torchvision's alexnet: one tower, no LRN, 56.5 %"),
    "article": _Entry("article", "Article", "a Keras variant with BatchNorm, for the 17 flowers"),
    "modern": _Entry("modern", "Modern", "recommended for your own photos: BatchNorm, 3.2 million parameters"),
    "cifar-80sec": _Entry("cifar", "Cifar80Sec", "cuda-convnet's for CIFAR-10, 32 px: 26 % error in 80 seconds"),
    "cifar-19pct": _Entry("cifar", "Cifar19Pct", "cifar-80sec without its hidden dense layer, trained longer"),
    "cifar-18pct": _Entry("cifar", "Cifar18Pct", "cifar-19pct with LRN within maps"),
    "cifar-13pct": _Entry("cifar", "Cifar13Pct", "cuda-convnet's with two locally connected layers, 24 px"),
    "cifar-11pct": _Entry("cifar", "Cifar11Pct", "cifar-13pct with LRN between channels and a wider local layer"),
}

ALEXNET = (
    "network 'alexnet' could be several: take 'modern' for your own photos, 'one_weird_trick' for torchvision's, "
    "'krizhevsky2012' for the code of 2012, 'paper' for the paper's text, 'bvlc' for Caffe's (57.1 % top-1)"
)


def list_networks() -> list[str]:
    """The names that `create` takes."""
    return list(_NETWORKS)


def describe_networks() -> dict[str, str]:
    """One line about each network, by name."""
    return {name: entry.description for name, entry in _NETWORKS.items()}


def create(name: str, num_classes: int | None = None, input_size: int | None = None, **differences: Any) -> "Network":
    """A newly initialised network: float (N, 3, H, W) -> logits (N, num_classes).

    num_classes, input_size (side in pixels, at least 63, or 8 for the cifar networks): None selects the published
    value. differences: settings that deviate from the published network; all networks take dropout=, the probability of
    zeroing a unit. Raises UsageError for an unknown name or difference, and for a value of the wrong type or range.
    """
    network = _network_class(name)
    known = _differences(network)
    for difference, value in differences.items():
        if difference not in known:
            raise unknown_name(f"difference of {name}", difference, known)
        _check_kind(difference, value, known[difference])
    num_classes, input_size = _whole("num_classes", num_classes), _whole("input_size", input_size)
    return network(num_classes=num_classes, input_size=input_size, **differences)


def _network_class(name: str) -> "type[Network]":
    if not isinstance(name, str):
        raise UsageError(f"network {name!r}: it takes a name, one of {', '.join(_NETWORKS)}")
    if name.lower() == "alexnet":
        raise UsageError(ALEXNET)
    if name not in _NETWORKS:
        raise unknown_name("network", name, _NETWORKS)
    entry = _NETWORKS[name]
    network: type[Network] = getattr(import_module(f"alexnet.networks.{entry.file}"), entry.class_name)
    return network


def _differences(network: "type[Network]") -> dict[str, type]:
    """Names and types of the constructor's settings, without those that all networks take."""
    settings = inspect.signature(network).parameters.items()
    return {name: setting.annotation for name, setting in settings if name not in ("num_classes", "input_size")}


def _check_kind(difference: str, value: Any, kind: type) -> None:
    """Raise UsageError for a value of the wrong type. An int is a valid float; a bool is not a valid int."""
    kinds = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        words = {float: "a number", int: "a whole number", bool: "True or False", str: "a word"}
        raise UsageError(f"{difference}={value!r}: it takes {words[kind]}")


def _whole(setting: str, value: Any) -> int | None:
    """Convert an integer of any type, such as NumPy's, to int; None stays None."""
    if value is None:
        return None
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise UsageError(f"{setting}={value!r}: it takes a whole number, or None for the published one")
