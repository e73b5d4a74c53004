"""One published network a file; this is the table of their names.

Files are imported when a network of theirs is asked for, so that listing the names costs nothing.
"""

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from alexnet.errors import unknown_name

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
}


def list_networks() -> list[str]:
    """The names that `create` takes."""
    return list(_NETWORKS)


def create(name: str, num_classes: int | None = None, input_size: int | None = None, **differences: Any) -> "Network":
    """A freshly initialised network: float (N, 3, H, W) to logits (N, num_classes).

    num_classes, input_size (pixels a side, at least 63): None takes the published ones.
    differences: settings in which it shall differ from the published network; all take dropout=, the share of units
    left out. UsageError for an unknown name or difference, or a value that is out of range.
    """
    network = _network_class(name)
    known = _differences(network)
    for difference in differences:
        if difference not in known:
            raise unknown_name(f"difference of {name}", difference, known)
    return network(num_classes=num_classes, input_size=input_size, **differences)


def _network_class(name: str) -> "type[Network]":
    if name not in _NETWORKS:
        raise unknown_name("network", name, _NETWORKS)
    file, class_name = _NETWORKS[name]
    network: type[Network] = getattr(import_module(f"alexnet.networks.{file}"), class_name)
    return network


def _differences(network: "type[Network]") -> list[str]:
    """The names of the constructor's settings beyond what all networks are told."""
    return [
        setting for setting in inspect.signature(network).parameters if setting not in ("num_classes", "input_size")
    ]
