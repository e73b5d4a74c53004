"""One published network a file; this is the table of their names.

Files are imported when a network of theirs is asked for, so that listing the names costs nothing.
"""

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from alexnet.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from alexnet.networks.layers import Network

_NETWORKS = {  # name: (file, class)
    "krizhevsky2012": ("krizhevsky2012", "Krizhevsky2012"),
    "paper": ("krizhevsky2012", "Paper"),
    "bvlc": ("caffe", "BVLC"),
    "caffenet": ("caffe", "CaffeNet"),
    "one_weird_trick": ("one_weird_trick", "OneWeirdTrick"),
    "article": ("article", "Article"),
    "modern": ("modern", "Modern"),
    "cifar-80sec": ("cifar", "Cifar80Sec"),
    "cifar-19pct": ("cifar", "Cifar19Pct"),
    "cifar-18pct": ("cifar", "Cifar18Pct"),
    "cifar-13pct": ("cifar", "Cifar13Pct"),
    "cifar-11pct": ("cifar", "Cifar11Pct"),
}


def list_networks() -> list[str]:
    """The names that `create` takes."""
    return list(_NETWORKS)


def create(name: str, num_classes: int | None = None, input_size: int | None = None, **differences: Any) -> "Network":
    """A freshly initialised network: float (N, 3, H, W) to logits (N, num_classes).

    num_classes, input_size (pixels a side, at least 63, or 8 for the cifar networks): None takes the published ones.
    differences: settings in which it shall differ from the published network; all take dropout=, the share of units
    left out. UsageError for an unknown name or difference, or a value of another kind or out of range.
    """
    network = _network_class(name)
    known = _differences(network)
    for difference, value in differences.items():
        if difference not in known:
            raise unknown_name(f"difference of {name}", difference, known)
        _check_kind(difference, value, known[difference])
    return network(num_classes=num_classes, input_size=input_size, **differences)


def _network_class(name: str) -> "type[Network]":
    if name not in _NETWORKS:
        raise unknown_name("network", name, _NETWORKS)
    file, class_name = _NETWORKS[name]
    network: type[Network] = getattr(import_module(f"alexnet.networks.{file}"), class_name)
    return network


def _differences(network: "type[Network]") -> dict[str, type]:
    """The constructor's settings beyond what all networks are told: their names and kinds."""
    settings = inspect.signature(network).parameters.items()
    return {name: setting.annotation for name, setting in settings if name not in ("num_classes", "input_size")}


def _check_kind(difference: str, value: Any, kind: type) -> None:
    """Whole numbers pass as numbers; True and False, which Python takes for whole numbers, do not."""
    kinds = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        words = {float: "a number", int: "a whole number", bool: "True or False", str: "a word"}
        raise UsageError(f"{difference}={value!r}: it takes {words[kind]}")
