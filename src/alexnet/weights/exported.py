"""What an export says of itself, read from the file without the engine that computes it.

An export is a model made for use alone (`alexnet export`): an ONNX graph whose output `probabilities` is what a user
sees, with our card as JSON in its metadata. ONNX files of `alexnet weights convert` have the card too, but give logits
and keep the layers' tensors by name: those are weights. This file imports neither torch nor onnx; the numbers of fields
are those of onnx.proto.
"""

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.errors import WeightsError
from alexnet.weights.convert import wire

CARD = "alexnet.card"  # the entry of the metadata
IR, RT_INFO = "model.xml", "alexnet"  # of OpenVINO's folder: the file, and where our entries stand in it
PTE_MARK, PTE_CARD = b"ET", b"alexnet.card:"  # an ExecuTorch program's 5th and 6th byte; what our card follows in it
PROBABILITIES, UNKNOWN = "probabilities", "unknown"  # names of its outputs
ONNX_FIELDS = b"\x12\x1a\x22\x28\x32\x3a\x42\x72"  # first bytes of the fields of ModelProto that may follow ir_version
_GRAPH, _METADATA, _OUTPUT = 7, 14, 12  # fields of ModelProto and of its GraphProto


@dataclass(frozen=True)
class ExportCard:
    """What is needed to use an export: the part of the card that is not in the graph."""

    network: str
    class_names: list[str]  # K, in the order of the probabilities
    preprocessing: dict[str, Any]  # data.preprocess.Preprocessing.to_json()
    training: dict[str, Any]  # for information

    @classmethod
    def from_json(cls, values: object) -> "ExportCard":
        """From the card as JSON; WeightsError for one that lacks something."""
        try:
            given: dict[str, Any] = values  # type: ignore[assignment]
            names = [str(name) for name in given["class_names"]]
            needed = dict(given["preprocessing"])
            missing = [key for key in ("input_size", "resize", "mean", "std") if key not in needed]
            if not names or missing:
                raise KeyError(*(missing or ["class_names"]))
            return cls(str(given["network"]), names, needed, dict(given.get("training") or {}))
        except (TypeError, KeyError, ValueError) as error:
            raise WeightsError(f"its card is damaged ({error!r}); export the model anew") from error


def is_onnx(head: bytes) -> bool:
    """Whether a file that begins so is an ONNX file: ir_version, then another field of ModelProto."""
    return len(head) > 2 and head[0] == 8 and 0 < head[1] < 32 and head[2] in ONNX_FIELDS


def export_card(path: Path) -> ExportCard | None:
    """The card of an export; None for other folders, missing files and whatever is no export of ours.

    WeightsError for a file of ONNX, OpenVINO or ExecuTorch that is damaged or whose card is.
    """
    if (description := openvino_file(path)) is not None:
        return _openvino_card(description)
    try:
        with path.open("rb") as file:
            head = file.read(6)
            if not is_onnx(head) and not is_program(head):
                return None
        return _card(np.memmap(path, np.uint8, "r").data) if is_onnx(head) else _program_card(path)
    except OSError:  # its reader says why
        return None
    except WeightsError as error:
        kind = "ONNX file" if is_onnx(head) else "ExecuTorch program"
        raise WeightsError(f"{path} is no whole {kind}, or a damaged one: {error}") from error


def is_program(head: bytes) -> bool:
    """Whether a file that begins so is an ExecuTorch program: a flatbuffer with the identifier ET12 or a later one."""
    return head[4:6] == PTE_MARK


def _program_card(path: Path) -> ExportCard | None:
    """The card that stands in a program as a text: its length in bytes, uint32, little-endian, then the bytes."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(PTE_CARD)
        if place < 4:
            return None
        text = content[place : place + int.from_bytes(content[place - 4 : place], "little")]
    return _read_card(text.removeprefix(PTE_CARD))


def openvino_file(path: Path) -> Path | None:
    """The .xml file of a model for OpenVINO, given itself or its folder; None for what is neither."""
    found = path if path.suffix == ".xml" else path / IR
    return found if found.is_file() else None


def _openvino_card(path: Path) -> ExportCard | None:
    from xml.etree import ElementTree

    try:
        entry = ElementTree.parse(path).find(f"rt_info/{RT_INFO}/card")
    except (ElementTree.ParseError, OSError) as error:
        raise WeightsError(f"{path} is no whole model for OpenVINO ({error}); take a fresh copy") from error
    if entry is None:
        return None
    try:
        return _read_card(entry.get("value", ""))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _card(message: memoryview) -> ExportCard | None:
    texts, outputs = _told(message)
    if CARD not in texts or PROBABILITIES not in outputs:
        return None
    return _read_card(texts[CARD])


def _read_card(text: str | bytes) -> ExportCard:
    try:
        return ExportCard.from_json(json.loads(text))
    except ValueError as error:
        raise WeightsError(f"its card is damaged: {error}; export the model anew") from error


def _told(message: memoryview) -> tuple[dict[str, str], list[str]]:
    """The metadata, and the names of the graph's outputs."""
    texts, outputs = {}, []
    for each in wire.fields(message):
        if each.number == _METADATA and each.kind == wire.BYTES:
            key, value = _named(each.data, 1, 2)
            texts[key] = value
        elif each.number == _GRAPH and each.kind == wire.BYTES:
            outputs += [_named(data, 1)[0] for data in _messages(each.data, _OUTPUT)]
    return texts, outputs


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    return (each.data for each in wire.fields(message) if (each.number, each.kind) == (number, wire.BYTES))


def _named(message: memoryview, *numbers: int) -> list[str]:
    """The texts of these fields of a message; empty for those that it lacks."""
    found = {each.number: bytes(each.data) for each in wire.fields(message) if each.kind == wire.BYTES}
    return [found.get(number, b"").decode("utf-8", errors="replace") for number in numbers]
