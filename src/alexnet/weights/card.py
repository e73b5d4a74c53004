"""A weights file: tensors in safetensors form, and a card that says what they are weights of.

The file's metadata has one entry, "alexnet", JSON text {"format": 1, "card": {...}, "sha256": "..."}. It is one entry
because safetensors writes several in random order, and the same weights shall give the same bytes. The checksum runs
over the card and over every tensor's name, type, shape and bytes in the order of the names (`checksum`), and is
verified when weights are loaded. Nothing is ever unpickled.
"""

import hashlib
import json
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from alexnet.errors import UsageError, WeightsError
from alexnet.files import whole_file
from alexnet.networks import create
from alexnet.networks.layers import Network

KEY = "alexnet"  # the metadata entry
FORMAT = 1
BEST = Path("weights", "best.safetensors")  # inside a run's folder: the weights that the run is known by
MAX_HEADER = 100_000_000  # bytes; safetensors itself refuses longer headers


@dataclass(frozen=True)
class Card:
    """What travels with the weights: all that is needed to build the network and to use it."""

    network: str  # a name that alexnet.create knows
    num_classes: int
    input_size: int  # pixels
    differences: dict[str, Any]  # the further arguments of alexnet.create
    class_names: list[str]  # in the order of the network's outputs; none where the file holds pre-trained layers only
    preprocessing: dict[str, Any]  # data.preprocess.Preprocessing.to_json()
    training: dict[str, Any] = field(default_factory=dict)  # free: data, recipe, epochs, scores, split

    def __post_init__(self) -> None:
        if len(self.class_names) != self.num_classes:
            raise WeightsError(
                f"the card names {len(self.class_names)} classes for {self.num_classes} outputs; give one name each"
            )

    @classmethod
    def from_json(cls, values: object) -> "Card":
        """The card that `dataclasses.asdict` turned into `values`; WeightsError says which keys are missing."""
        given = values if isinstance(values, dict) else {}
        missing = [f.name for f in fields(cls) if f.name not in given]
        if missing:
            raise WeightsError(f"the card lacks {', '.join(missing)}")
        if not isinstance(given["class_names"], list):
            raise WeightsError(f"the card's class_names are {given['class_names']!r}, not a list of names")
        return cls(**{f.name: given[f.name] for f in fields(cls)})


def save(path: str | os.PathLike[str], network: Network, card: Card, layers: Collection[str] | None = None) -> None:
    """Write the network's parameters and buffers, float32 on the processor, and its card: whole or not at all.

    layers: the stages whose tensors are written, for a card without classes; None for a whole network.
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
    tensors = {name: _plain(tensor) for name, tensor in state.items()}
    entry = {"format": FORMAT, "card": asdict(card), "sha256": checksum(card, tensors)}
    with whole_file(Path(path), "wb") as file:
        file.write(to_bytes(tensors, metadata={KEY: json.dumps(entry, sort_keys=True)}))


def model_file(path: str | os.PathLike[str]) -> Path:
    """The weights file that a user means by a run's folder or a .safetensors file; UsageError for anything else."""
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"{path!r} is no path to a model; give a run's folder or a .safetensors file")
    path = Path(path)
    if not path.exists():
        raise UsageError(f"no model at {path}; give a run's folder or a .safetensors file")
    if path.suffix == ".onnx":
        raise UsageError(f"{path} is an export, which cannot be loaded yet; give a run's folder or a .safetensors file")
    if not path.is_dir() or (path / BEST).is_file():
        return path / BEST if path.is_dir() else path
    if (path / "config.json").is_file():
        raise UsageError(f"the run {path} has no {BEST} yet; finish an epoch of it first, with --resume {path}")
    raise UsageError(f"{path} is not a run's folder (it has no {BEST}); give one or a .safetensors file")


def read_card(path: str | Path) -> Card:
    """The card alone, from the file's header; the checksum is not verified, for that reads every tensor."""
    return _read_entry(Path(path))[0]


def load(path: str | Path) -> tuple[Network, Card]:
    """The network with its weights, in evaluation mode on the processor, and its card.

    WeightsError, one line: as for `read`, or a file whose tensors do not fit the network on its card, or that holds no
    whole network. The random generator of the caller is left as it was.
    """
    path = Path(path)
    card, tensors = read(path)
    if card.num_classes == 0:
        raise WeightsError(
            f"{path} holds pre-trained layers and knows no classes; train it first: alexnet train DATA --init {path}"
        )
    network = _build(path, card)
    fill(network, tensors, str(path))
    return network.eval(), card


def read(path: str | Path) -> tuple[Card, dict[str, Tensor]]:
    """The card, and the tensors by name, verified.

    WeightsError, one line: no such file, a pickle, a truncated, damaged or altered file, or one without a card.
    """
    path = Path(path)
    card, sha256 = _read_entry(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    found = checksum(card, tensors)
    if found != sha256:
        raise WeightsError(
            f"{path} was altered or damaged after it was written: its checksum is {found[:16]}…,"
            f" the file says {str(sha256)[:16]}…; take a fresh copy"
        )
    return card, tensors


def fill(network: Network, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy `tensors` into the network's parameters and buffers of the same names.

    origin: where they come from, for the WeightsError when names or shapes differ; the network is then unchanged.
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
            raise WeightsError(
                f"{origin} does not fit {here}: expected {_times(shape)} for {name}, found {_times(found[name])}"
                + _other_count(shape, found[name], network.num_classes)
            )
    network.load_state_dict(dict(tensors))


def checksum(card: Card, tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over the card as sorted JSON and the tensors, as `sha256_of` takes them."""
    return sha256_of(json.dumps(asdict(card), sort_keys=True), tensors)


def sha256_of(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over the text, then each tensor's name, type and shape in a line and its bytes, names in order."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(tensor: Tensor) -> Tensor:
    """The tensor on the processor, contiguous, float32 where it is a floating number (counters stay integers)."""
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kind).contiguous()


def _build(path: Path, card: Card) -> Network:
    """The network on the card; its random first weights are overwritten, so they cost the caller no random numbers."""
    with torch.random.fork_rng(devices=[]):
        try:
            return create(card.network, card.num_classes, card.input_size, **card.differences)
        except UsageError as error:
            raise WeightsError(f"{path} is for a network that this version cannot build: {error}") from error


def _read_entry(path: Path) -> tuple[Card, object]:
    """The card and the checksum in the file's header."""
    _refuse_what_is_not_safetensors(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}); take a fresh copy") from error
    if KEY not in metadata:
        wanted = ", ".join(f.name for f in fields(Card))
        raise WeightsError(
            f"{path} carries no card: expected {KEY!r} in its metadata with {wanted},"
            f" found {', '.join(sorted(metadata)) or 'nothing'}; it was not written by alexnet"
        )
    try:
        return _parse_entry(metadata[KEY])
    except (WeightsError, ValueError) as error:
        raise WeightsError(f"{path} has a damaged card: {error}") from error


def _parse_entry(text: str) -> tuple[Card, object]:
    entry = json.loads(text)
    if not isinstance(entry, dict):
        raise WeightsError(f"expected a JSON object, found {text[:40]!r}")
    if entry.get("format") != FORMAT:
        raise WeightsError(f"expected format {FORMAT}, found {entry.get('format')!r}; a newer alexnet may read it")
    return Card.from_json(entry.get("card")), entry.get("sha256")


def _refuse_what_is_not_safetensors(path: Path) -> None:
    """WeightsError for a missing, empty, truncated or foreign file, with what it is where the first bytes tell.

    A safetensors file begins with its header's length (8 bytes, little-endian) and the header, a JSON object.
    """
    try:
        with path.open("rb") as file:
            head, size = file.read(9), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}; expected a .safetensors file") from error
    if len(head) == 9:
        header = struct.unpack("<Q", head[:8])[0]
        if head[8:] == b"{" and header <= MAX_HEADER:
            return _refuse_truncated(path, header, size)
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":  # torch.save writes a zip of pickles, before 1.6 a bare pickle
        raise WeightsError(
            f"{path} is a pickle (a .pt, .pth or .bin file), which can run any program when it is read;"
            " alexnet reads .safetensors files only"
        )
    raise WeightsError(f"{path} is no .safetensors file ({size} bytes, beginning with {head[:8]!r}); take a fresh copy")


def _refuse_truncated(path: Path, header: int, size: int) -> None:
    """WeightsError where the file is shorter than its header says; other damage is left for safetensors to name."""
    with path.open("rb") as file:
        file.seek(8)
        text = file.read(header)
    try:
        tensors = [value for key, value in json.loads(text).items() if key != "__metadata__"]
        promised = 8 + header + max((value["data_offsets"][1] for value in tensors), default=0)
    except (ValueError, LookupError, TypeError, AttributeError):
        promised = 8 + header
    if size < promised:
        raise WeightsError(f"{path} is truncated: expected {promised} bytes, found {size}; take a fresh copy")


def _some(names: list[str]) -> str:
    """'conv1.bias', 'conv1.weight' (and 12 more)."""
    if not names:
        return "none"
    more = f" (and {len(names) - 2} more)" if len(names) > 2 else ""
    return ", ".join(map(repr, names[:2])) + more


def _times(shape: tuple[int, ...]) -> str:
    """4096 x 9216."""
    return " x ".join(map(str, shape)) or "one number"


def _other_count(wanted: tuple[int, ...], found: tuple[int, ...], num_classes: int) -> str:
    """A remark where the shapes differ in the number of classes alone."""
    if wanted[:1] == (num_classes,) and len(found) == len(wanted) and found[1:] == wanted[1:]:
        return f"; the file is for {found[0]} classes"
    return ""
