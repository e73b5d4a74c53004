"""A weights file: tensors in the safetensors format, and a card with all that is needed to use them.

The file's metadata has one entry, "alexnet": the JSON text {"format": 1, "card": {...}, "sha256": "..."}. It is a
single entry because safetensors writes several in random order, and equal weights must give equal bytes. The checksum
covers the card and every tensor's name, type, shape and bytes, in the order of the names (`checksum`); it is verified
when weights are loaded. Nothing is unpickled. A card with a calibration makes the format 2, which earlier versions
refuse; its tensors stand beside the network's, see `alexnet.weights.calibration`. Format 3 holds compressed weights: a
third key, "compressed", and other tensors, see `alexnet.weights.coded`.
"""

import hashlib
import json
import os
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from alexnet.data.images.kinds import SNIFFED
from alexnet.errors import UsageError, WeightsError
from alexnet.files import whole_file
from alexnet.networks import create
from alexnet.networks.layers import Network, skip_init
from alexnet.weights.calibration import PREFIX, Calibration
from alexnet.weights.coded import HALVES, floats_in, unpacked
from alexnet.weights.strange import MODELS, no_model

KEY = "alexnet"  # the metadata entry
FORMAT, CALIBRATED, COMPRESSED = 1, 2, 3  # plain, with a calibration, compressed
BEST = Path("weights", "best.safetensors")  # inside a run's folder: the weights of its best epoch
MAX_HEADER = 100_000_000  # bytes; safetensors itself refuses longer headers


@dataclass(frozen=True)
class Card:
    """All that is needed to build the network of some weights and to use it; stored with them."""

    network: str  # a name that alexnet.create knows
    num_classes: int
    input_size: int  # pixels
    differences: dict[str, Any]  # the further arguments of alexnet.create
    class_names: list[str]  # in the order of the network's outputs; empty for pre-trained layers
    preprocessing: dict[str, Any]  # data.preprocess.Preprocessing.to_json()
    training: dict[str, Any] = field(default_factory=dict)  # for information: data, recipe, epoch, images
    calibration: Calibration | None = None  # None: probabilities as the network gives them, 'none of these' not told

    def __post_init__(self) -> None:
        if len(self.class_names) != self.num_classes:
            raise WeightsError(
                f"the card names {len(self.class_names)} classes for {self.num_classes} outputs; give one name each"
            )

    def to_json(self) -> dict[str, Any]:
        """The fields by name, `calibration` only where there is one and without its arrays."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "calibration"}
        return values if self.calibration is None else {**values, "calibration": self.calibration.to_json()}

    @classmethod
    def from_json(cls, values: object, arrays: Mapping[str, NDArray[np.float32]] | None = None) -> "Card":
        """The card of which `to_json` gave `values`; WeightsError says which keys are missing.

        arrays: the tensors of its calibration, as `Calibration.arrays` names them.
        """
        given = values if isinstance(values, dict) else {}
        required = [f.name for f in fields(cls) if f.name != "calibration"]
        missing = [name for name in required if name not in given]
        if missing:
            raise WeightsError(f"the card lacks {', '.join(missing)}")
        names = given["class_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise WeightsError(f"the card's class_names are {str(names)[:60]}, not a list of names")
        if not isinstance(given["differences"], dict):
            raise WeightsError(f"the card's differences are {str(given['differences'])[:40]!r}, no settings by name")
        found = given.get("calibration")
        calibration = None if found is None else Calibration.from_json(found, arrays or {})
        return cls(**{name: given[name] for name in required}, calibration=calibration)


class Loaded(NamedTuple):
    """What `load` gives."""

    network: Network  # in evaluation mode, on the processor
    card: Card


class Stored(NamedTuple):
    """The content of a weights file."""

    card: Card
    tensors: dict[str, Tensor]  # by their names in the network's state dict


class Verified(NamedTuple):
    """The content of a weights file as it stands there."""

    card: Card
    tensors: dict[str, Tensor]  # the network's, or those of `alexnet.weights.coded`
    directory: object  # of compressed weights; None for others


class _Header(NamedTuple):
    card: Card
    sha256: object  # as the file has it, of any type
    directory: object = None  # of compressed weights


def save(path: str | os.PathLike[str], network: Network, card: Card, layers: Collection[str] | None = None) -> None:
    """Write a network and its card; the file appears whole or not at all. Arguments as for `tensors_of`."""
    write(path, tensors_of(network, card, layers), card)


def tensors_of(network: Network, card: Card, layers: Collection[str] | None = None) -> dict[str, Tensor]:
    """The network's parameters and buffers as a weights file has them: float32 on the processor.

    They share memory with the network where they can. layers: the stages to take, for a card without classes; None for
    the whole network. WeightsError for a card of another network.
    """
    classes = network.num_classes if layers is None else 0
    if (card.network, card.num_classes) != (network.name, classes):
        raise WeightsError(
            f"the card is for {card.network!r} with {card.num_classes} classes,"
            f" the network is {network.name!r} with {classes}"
        )
    state = network.state_dict()
    if layers is not None:
        of_stage = network.stage_tensors()
        state = {key: tensor for name in layers for key, tensor in of_stage[name].items()}
    return {name: _plain(tensor) for name, tensor in state.items()}


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], card: Card) -> None:
    """Write tensors, as `tensors_of` gives them, and their card; the file appears whole or not at all."""
    number = FORMAT if card.calibration is None else CALIBRATED
    entry = {"format": number, "card": card.to_json(), "sha256": checksum(card, tensors)}
    with whole_file(Path(path), "wb") as file:
        file.write(to_bytes(_with_calibration(card, tensors), metadata={KEY: json.dumps(entry, sort_keys=True)}))


def model_file(path: str | os.PathLike[str]) -> Path:
    """The weights file of a run's folder, or the file itself; WeightsError for anything else."""
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"{path!r} is no path to a model; give a run's folder or a weights file")
    path = Path(path)
    if not path.exists():
        raise WeightsError(f"no model at {path}; give {MODELS}")
    if not path.is_dir() and not path.is_file():
        raise WeightsError(f"{path} is a pipe or a device, and a model is read several times; save it as a file")
    if not path.is_dir() or (path / BEST).is_file():
        return path / BEST if path.is_dir() else path
    if (path / "config.json").is_file():
        raise WeightsError(f"the run {path} has no {BEST} yet; finish an epoch of it first, with --resume {path}")
    raise WeightsError(f"{path} is not a run's folder (it has no {BEST}); give one or a .safetensors file")


def read_card(path: str | Path) -> Card:
    """The card alone, from the file's header. The checksum is not verified, because that needs every tensor."""
    return _read_header(Path(path)).card


def load(path: str | Path) -> Loaded:
    """The network with its weights, and its card. The caller's random generator is unchanged.

    WeightsError: as for `read`, and for tensors that do not fit the network on the card, or that are no whole network.
    """
    return built(read(path), str(path))


def built(stored: Stored, origin: str) -> Loaded:
    """The network of a card, filled with its tensors. origin: their source, for messages. Errors as for `load`."""
    card, tensors = stored
    if card.num_classes == 0:
        raise WeightsError(
            f"{origin} holds pre-trained layers and knows no classes; train it first:"
            f" alexnet train DATA --init {origin}"
        )
    network = _build(origin, card)
    fill(network, tensors, origin)
    return Loaded(network.eval(), card)


def has_card(path: Path) -> bool:
    """Whether a file is a .safetensors with a card of ours, whatever the card says."""
    return KEY in _metadata(path)


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a .safetensors file; empty for other files."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
            size = struct.unpack("<Q", head[:8])[0] if len(head) == 9 and head[8:] == b"{" else MAX_HEADER + 1
            if size > min(MAX_HEADER, path.stat().st_size):
                return {}
            header = json.loads(head[8:] + file.read(size - 1))
    except (OSError, ValueError, RecursionError):
        return {}
    found = header.get("__metadata__") if isinstance(header, dict) else None
    return found if isinstance(found, dict) else {}


def read(path: str | Path) -> Stored:
    """The card and the tensors, their checksum verified.

    WeightsError for a missing, truncated, damaged or altered file, for a pickle, and for a file without a card.
    """
    path = Path(path)
    stored = verified(path)
    if stored.directory is None:
        return Stored(stored.card, stored.tensors)
    try:
        tensors = unpacked(stored.directory, stored.tensors)
    except WeightsError as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    return Stored(stored.card, {name: each for name, each in tensors.items() if not name.startswith(PREFIX)})


def verified(path: Path) -> Verified:
    """What a file holds, its checksum verified; errors as for `read`."""
    card, sha256, directory = _read_header(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith(PREFIX)}  # noqa: SIM118
    compressed = directory is not None
    found = compressed_checksum(card, directory, tensors) if compressed else checksum(card, tensors)
    if found != sha256:
        raise WeightsError(
            f"{path} was altered or damaged after it was written: its checksum is {found[:16]}…,"
            f" recorded is {str(sha256)[:16]}…; take a fresh copy"
        )
    return Verified(card, tensors, directory)


def fill(network: Network, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy `tensors` into the network's parameters and buffers of the same names.

    WeightsError, with `origin` as the name of their source, if names or shapes differ; the network is then unchanged.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    here = f"network {network.name!r} with {network.num_classes} classes"
    if wanted.keys() != found.keys():
        lacks, has = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        raise WeightsError(
            f"{origin} belongs to another network: expected the tensors of {here},"
            f" found {_some(lacks)} missing and {_some(has)} unknown"
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            shapes = f"expected {shape_text(shape)} for {name}, found {shape_text(found[name])}"
            raise WeightsError(
                f"{origin} does not fit {here}: {shapes}" + _other_count(shape, found[name], network.num_classes)
            )
    network.load_state_dict(dict(tensors))


def checksum(card: Card, tensors: Mapping[str, Tensor]) -> str:
    """The hexadecimal SHA-256 of a weights file: of the card as JSON with sorted keys, then of the tensors.

    tensors: the network's; those of the card's calibration are added.
    """
    return tensors_sha256(json.dumps(card.to_json(), sort_keys=True), _with_calibration(card, tensors))


def compressed_checksum(card: Card, directory: object, stored: Mapping[str, Tensor]) -> str:
    """As `checksum` for compressed weights: the JSON is a list of the card's and the directory."""
    return tensors_sha256(json.dumps([card.to_json(), directory], sort_keys=True), stored)


def tensors_sha256(header: str, tensors: Mapping[str, Tensor]) -> str:
    """The hexadecimal SHA-256 of a header and of tensors on the processor.

    Hashed are the header and, for each tensor in the order of the names, a line "name dtype shape" and its bytes.
    """
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _with_calibration(card: Card, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file: the network's and those of the card's calibration."""
    arrays = card.calibration.arrays() if card.calibration else {}
    return {**tensors, **{name: torch.tensor(array) for name, array in arrays.items()}}


def _plain(tensor: Tensor) -> Tensor:
    """The tensor on the processor, contiguous; floating types as float32, integer counters unchanged."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype).contiguous()


def _build(origin: str, card: Card) -> Network:
    """The network on the card, its weights not initialised: `fill` writes all of them. No random number is drawn."""
    with skip_init():
        try:
            return create(card.network, card.num_classes, card.input_size, **card.differences)
        except UsageError as error:
            raise WeightsError(f"{origin} is for a network that this version cannot build: {error}") from error
        except (RuntimeError, MemoryError) as error:  # of memory that a card may ask for, whatever the file has
            raise WeightsError(f"{origin} is for a network too large for this machine; take a fresh copy") from error


def _read_header(path: Path) -> _Header:
    """The card and the recorded checksum."""
    _refuse_other_formats(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if name.startswith(PREFIX) or name == HALVES]  # noqa: SIM118
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}); take a fresh copy") from error
    if KEY not in metadata:
        wanted = ", ".join(f.name for f in fields(Card))
        raise WeightsError(
            f"{path} has no card: expected {KEY!r} in its metadata with {wanted},"
            f" found {', '.join(sorted(metadata)) or 'nothing'}; it was not written by alexnet"
        )
    try:
        return _parse_header(metadata[KEY], arrays)
    except (WeightsError, ValueError) as error:
        raise WeightsError(f"{path} has a damaged card: {error}") from error


def _parse_header(text: str, stored: Mapping[str, Tensor]) -> _Header:
    entry = json.loads(text)
    if not isinstance(entry, dict):
        raise WeightsError(f"expected a JSON object, found {text[:40]!r}")
    if entry.get("format") not in (FORMAT, CALIBRATED, COMPRESSED):
        wanted = f"expected format {FORMAT}, {CALIBRATED} or {COMPRESSED}"
        raise WeightsError(f"{wanted}, found {entry.get('format')!r}; a newer alexnet may read it")
    directory = entry.get("compressed", {}) if entry["format"] == COMPRESSED else None
    compressed = directory is not None
    arrays = floats_in(directory, stored) if compressed else {name: each.numpy() for name, each in stored.items()}
    return _Header(Card.from_json(entry.get("card"), arrays), entry.get("sha256"), directory)


def _refuse_other_formats(path: Path) -> None:
    """WeightsError for a missing, empty or truncated file and for another format, named if its first bytes show it.

    A safetensors file begins with its header's length (8 bytes, little-endian) and the header, a JSON object.
    """
    try:
        with path.open("rb") as file:
            start, size = file.read(SNIFFED), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}; expected a .safetensors file") from error
    if len(start) >= 9:
        header = struct.unpack("<Q", start[:8])[0]
        if start[8:9] == b"{" and header <= MAX_HEADER:
            return _refuse_truncated(path, header, size)
    raise no_model(path, start, size)


def _refuse_truncated(path: Path, header: int, size: int) -> None:
    """WeightsError for a file that is shorter than its header says; other damage is reported by safetensors."""
    with path.open("rb") as file:
        file.seek(8)
        text = file.read(header)
    try:
        tensors = [value for key, value in json.loads(text).items() if key != "__metadata__"]
        expected = 8 + header + max((value["data_offsets"][1] for value in tensors), default=0)
    except (ValueError, LookupError, TypeError, AttributeError):
        expected = 8 + header
    if size < expected:
        raise WeightsError(f"{path} is truncated: expected {expected} bytes, found {size}; take a fresh copy")


def _some(names: list[str]) -> str:
    """'conv1.bias', 'conv1.weight' (and 12 more)."""
    if not names:
        return "none"
    more = f" (and {len(names) - 2} more)" if len(names) > 2 else ""
    return ", ".join(map(repr, names[:2])) + more


def shape_text(shape: Sequence[int]) -> str:
    """A tensor's shape for a message: "4096 x 9216", "a scalar"."""
    return " x ".join(map(str, shape)) or "a scalar"


def _other_count(wanted: tuple[int, ...], found: tuple[int, ...], num_classes: int) -> str:
    """An addition to the message if the shapes differ in the number of classes alone."""
    if wanted[:1] == (num_classes,) and len(found) == len(wanted) and found[1:] == wanted[1:]:
        return f"; the file is for {found[0]} classes"
    return ""
