"""torchvision's AlexNet: its state dict as torch.save writes it (.pth), or the same tensors as .safetensors.

The names are those of our one_weird_trick. A .pth is read by torch's own restricted unpickler (weights_only), which
builds tensors and plain containers and calls nothing else.
"""

import json
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from alexnet.errors import UsageError, WeightsError
from alexnet.files import whole_file
from alexnet.networks import create
from alexnet.networks.layers import Network, skip_init
from alexnet.weights.card import MAX_HEADER, Card, has_card, shape_text
from alexnet.weights.convert.foreign import Foreign

NAME = "torchvision"
ABOUT = "torchvision's alexnet as .pth or .safetensors"
NETWORK = "one_weird_trick"
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # pickled magic number of torch.save before 1.6
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts save the state dict
AROUND = frozenset({"module", "_orig_mod", "model", "net"})
"""Parts of a tensor's name from what is wrapped around a network or its features, none of them torchvision's own."""
COUNTER = "n_averaged"  # beside the tensors of torch.optim.swa_utils.AveragedModel
FIRST = "features.0.weight"
ASKED = re.compile(r"GLOBAL ([\w.]+)")  # in the errors of torch.load, what a pickle asks for


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file is one of torch.save, or a .safetensors with torchvision's names."""
    if head.startswith(LEGACY):
        return True
    if head[:2] == b"PK":
        return b"/data.pkl" in head or any(name.endswith("/data.pkl") for name in _zip_names(path))
    return FIRST in map(_bare, _safetensors_names(path, head)) and not has_card(path)


def read(path: Path, network: str | None = None) -> Foreign:
    """torchvision's weights. WeightsError for a damaged or hostile file and for tensors of another network."""
    if network not in (None, NETWORK):
        raise WeightsError(f"{path} has torchvision's format, which holds {NETWORK} here, not {network!r}")
    with path.open("rb") as file:
        pickled = file.read(1) in (b"P", b"\x80")
    held = _unpickled(path) if pickled else _safetensors(path)
    state, notes = _state(path, held)
    _check(f"{path} is a pickle and" if pickled else f"{path} is", state)
    tensors = {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in state.items()}
    return Foreign(NETWORK, tensors, notes=tuple(notes))


def write(network: Network, card: Card, path: Path) -> None:
    """Write a .pth that torchvision's alexnet loads strictly; UsageError for other networks."""
    if network.name != NETWORK:
        raise UsageError(f"torchvision's format holds {NETWORK} here, not {network.name!r}; --to onnx holds all")
    state = {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in network.state_dict().items()}
    with whole_file(path, "wb") as file:
        torch.save(state, file)


def _zip_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as zipped:
            return zipped.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError):  # RuntimeError: a version unknown to it
        return []


def _safetensors_names(path: Path, head: bytes) -> list[str]:
    """The names in a .safetensors file's header; none for other files."""
    if len(head) < 9 or head[8:9] != b"{":
        return []
    size = struct.unpack("<Q", head[:8])[0]
    if size > min(MAX_HEADER, path.stat().st_size):
        return []
    with path.open("rb") as file:
        file.seek(8)
        try:
            return list(json.loads(file.read(size)))
        except (ValueError, RecursionError):
            return []


def _unpickled(path: Path) -> object:
    """What torch.save wrote, by the restricted unpickler. A zip must hold its parts uncompressed, as torch writes."""
    try:
        if zipfile.is_zipfile(path):
            _refuse_script(path)
            _refuse_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about its own older formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # of bytes that anyone may have written, torch raises errors of every kind
        raise WeightsError(
            f"{path} is no file of tensors alone, or is damaged ({_reason(error)});"
            " take a fresh copy, or save its state_dict() alone"
        ) from error


def _reason(error: Exception) -> str:
    """Why torch refused a file, in a few words: of a whole network, the first thing that it asks for."""
    text = str(error).strip()
    if asked := ASKED.search(text):
        return f"it asks for {asked[1][:80]}, as the pickle of a whole network does, and nothing of it was run"
    return (text or type(error).__name__).splitlines()[0][:160]


def _refuse_packed(path: Path) -> None:
    with zipfile.ZipFile(path) as zipped:
        total = sum(each.file_size for each in zipped.infolist())
    if total > path.stat().st_size:
        raise WeightsError(f"{path} unpacks to {total:,} bytes, more than it has; torch.save writes none such")


def _refuse_script(path: Path) -> None:
    """WeightsError for a program of torch.jit, whose archive begins as a file of torch.save does."""
    if any(name.endswith("/constants.pkl") for name in _zip_names(path)):
        raise WeightsError(
            f"{path} is a TorchScript program, which is not read; with torch: save torch.jit.load(FILE).state_dict()"
        )


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}); take a fresh copy") from error


def _state(path: Path, held: object) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in what the file holds, by torchvision's own names, and notes of what was left out."""
    notes = []
    for key in WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
            notes.append(f"taken from its entry {key!r}; the others are left out")
    if not isinstance(held, Mapping):
        raise WeightsError(f"{path} holds a {type(held).__name__}, no state dict; save the network's state_dict()")
    given: dict[Any, Any] = {name: tensor for name, tensor in held.items() if name != COUNTER}
    state: dict[str, Any] = {}
    for name, tensor in given.items():
        if _bare(name) in state:
            raise WeightsError(f"{path} holds {_bare(name)} of several networks; save the state_dict() of one")
        state[_bare(name)] = tensor
    taken = {part for name in given if isinstance(name, str) for part in name.split(".") if part in AROUND}
    notes += [f"'{part}.' was taken off the names" for part in sorted(taken)]
    return state, notes


def _bare(name: Any) -> Any:
    """A tensor's name without what is wrapped around the network; what is no name, as it is."""
    return ".".join(part for part in name.split(".") if part not in AROUND) if isinstance(name, str) else name


def _check(subject: str, state: Mapping[str, object]) -> None:
    """WeightsError unless these are the tensors of torchvision's alexnet, before any is copied.

    subject: "x.pth is a pickle and", the beginning of the message.
    """
    with skip_init():
        wanted = {name: tuple(tensor.shape) for name, tensor in create(NETWORK).state_dict().items()}
    if state.keys() != wanted.keys():
        extra = [repr(name)[:60] for name in state if name not in wanted][:2]
        lacking = [name for name in wanted if name not in state][:2]
        raise WeightsError(
            f"{subject} no alexnet of torchvision: of its tensors {', '.join(lacking) or 'none'} are missing,"
            f" {', '.join(extra) or 'none'} unknown; for your own networks, save .safetensors with alexnet"
        )
    for name, shape in wanted.items():
        tensor = state[name]
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or not _is_plain(tensor):
            raise WeightsError(
                f"{subject} no alexnet of torchvision: {name} is no plain tensor of floats; take a fresh copy"
            )
        free = 1 if name.startswith("classifier.6.") else 0  # the number of classes
        if tuple(tensor.shape)[free:] != shape[free:] or tensor.ndim != len(shape):
            raise WeightsError(
                f"{subject} no alexnet of torchvision: {name} is {shape_text(tensor.shape)},"
                f" expected {shape_text(shape)}"
            )
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise WeightsError(
                f"{subject} damaged: {name} is {shape_text(tensor.shape)} and holds fewer values; take a fresh copy"
            )


def _is_plain(tensor: Tensor) -> bool:
    """Whether its values are in the file, one after the other: neither sparse nor of the device "meta"."""
    return tensor.layout is torch.strided and tensor.device.type == "cpu"
