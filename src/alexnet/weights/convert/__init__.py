"""Weights files of other programs, read and written: one module a format.

A module has NAME and ABOUT (one line), `recognises(path, head)` from a file's content, never from its name,
`read(path, network) -> Foreign`, and `write(network, card, path)` where the format can hold a network of ours. Nothing
pickled is executed.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from alexnet.errors import UsageError, WeightsError, unknown_name

if TYPE_CHECKING:
    from alexnet.networks.layers import Network
    from alexnet.weights.card import Card
    from alexnet.weights.convert.foreign import Foreign

FORMATS: tuple[str, ...] = ("torchvision", "numpy_dict", "cuda_convnet", "matconvnet", "keras", "onnx", "caffe")
"""Names of the formats and of their modules; caffe last, because its files begin with no signature."""
HEAD = 4096  # bytes of a file that tell its format

logger = logging.getLogger(__name__)


class Format(Protocol):
    """What a module of this package has."""

    NAME: str
    ABOUT: str

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the file is of this format. head: its first `HEAD` bytes."""

    def read(self, path: Path, network: str | None = None) -> "Foreign":
        """What the file holds; network: the name of ours, where the file does not tell. WeightsError in one line."""

    def write(self, network: "Network", card: "Card", path: Path) -> None:
        """Write a network of ours; UsageError for one that the format cannot hold."""


def formats(names: Sequence[str] = FORMATS) -> dict[str, Format]:
    """The formats by name; their modules are imported now."""
    return {name: cast(Format, import_module(f"{__name__}.{name}")) for name in names}


def recognised(path: Path) -> Format | None:
    """The format of a foreign weights file; None for files of no known format. WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}; give a weights file") from error
    return next((each for each in formats().values() if each.recognises(path, head)), None)


def convert(path: Path, network: str | None = None) -> "Foreign":
    """What a foreign weights file holds. network: its name among ours, for formats that do not tell.

    WeightsError for a file that cannot be read or is of no known format.
    """
    found = recognised(path)
    if found is None:
        known = "; ".join(each.ABOUT for each in formats().values())
        raise WeightsError(f"{path} is no weights file of a known format; known: {known}")
    return found.read(path, network)


def to_file(network: "Network", card: "Card", name: str, path: Path) -> None:
    """Write a network in a foreign format; the file appears whole or not at all. Its calibration is left out.

    UsageError for an unknown format and for a network that it cannot hold.
    """
    known = formats()
    if name not in known:
        raise unknown_name("format of weights", name, known)
    if not hasattr(known[name], "write"):
        raise UsageError(f"{name} files are read, not written; give one of {', '.join(writers())}")
    known[name].write(network, replace(card, calibration=None), path)
    if card.calibration is not None:
        logger.warning(
            "%s files keep no calibration: probabilities are those before it, 'none of these' is not told", name
        )


def writers() -> list[str]:
    """The formats that can be written."""
    return [name for name, each in formats().items() if hasattr(each, "write")]
