"""The table of formats: name -> how a file of it is written and which engine answers by it.

A format's module has `write(order, path)`, which makes the file or fills the empty folder at `path`, and
`engine(path)`, which opens it in the engine that it is for. Both raise UsageError with the install command where a
package is missing. Modules are imported when they are asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from alexnet.errors import UsageError, unknown_name

if TYPE_CHECKING:  # the command's help reads the table, and imports no torch
    from alexnet.inference.classifier import Classifier
    from alexnet.inference.runtime import Engine


@dataclass(frozen=True)
class Tolerance:
    """How far an export's answers may be from the original's."""

    agreement: float  # least share of photos with the same best class, 0..1
    difference: float  # largest difference of a probability


@dataclass(frozen=True)
class Format:
    """One format of exports."""

    module: str  # in this room
    suffix: str  # of the file's name, or of the folder's
    folder: bool  # whether an export is a folder
    about: str  # one line
    engine: str  # what it is proven in
    tolerances: Mapping[str, Tolerance]  # by precision, the usual one first
    batched: bool = True  # whether it has the form that takes normalised batches

    @property
    def usual(self) -> str:
        """The precision where none is asked for."""
        return next(iter(self.tolerances))


@dataclass(frozen=True)
class Order:
    """What is to be exported."""

    classifier: "Classifier"  # in float32, on the processor
    precision: str
    batched: bool  # takes normalised batches, not one picture
    data: str | None = None  # photos that the user named; None for the run's own
    title: str | None = None  # of a page; None for the usual one


class FormatModule(Protocol):
    """What the module of a format has."""

    write: Callable[[Order, Path], None]
    engine: Callable[[Path], "Engine"]


EXACT = Tolerance(agreement=0.997, difference=0.01)
HALF = Tolerance(agreement=0.99, difference=0.02)
INT8 = Tolerance(agreement=0.985, difference=0.15)

FORMATS = {
    "onnx": Format(
        "onnx",
        ".onnx",
        False,
        "one file for ONNX Runtime and many others",
        "ONNX Runtime",
        {"fp32": EXACT, "fp16": HALF, "int8": INT8},
    ),
    "openvino": Format(
        "openvino",
        ".openvino",
        True,
        "a folder for OpenVINO",
        "OpenVINO",
        {"fp32": EXACT, "fp16": HALF, "int8": INT8},
    ),
    "executorch": Format(
        "executorch",
        ".pte",
        False,
        "one file for phones and small boards",
        "ExecuTorch",
        {"fp32": EXACT},
        batched=False,
    ),
    "html": Format(
        "html",
        ".html",
        False,
        "one page that answers in a browser, without a network",
        "its own engine in wasmtime",
        {"fp16": HALF, "fp32": EXACT, "int8": Tolerance(0.98, 0.1), "int4": Tolerance(0.9, 0.5)},
        batched=False,
    ),
}


def described() -> str:
    """The formats in one line, for help."""
    return "; ".join(f"{name}: {kind.about}" for name, kind in FORMATS.items()) + "."


def precisions() -> str:
    """The precisions of each format in one line, for help, the usual one first."""
    return "; ".join(f"{name}: {', '.join(kind.tolerances)}" for name, kind in FORMATS.items()) + "."


def format_of(name: str) -> Format:
    """The format of that name; UsageError for an unknown one."""
    if name not in FORMATS:
        raise unknown_name("format", str(name), FORMATS)
    return FORMATS[name]


def check(kind: Format, name: str, precision: str, batched: bool, title: str | None = None) -> None:
    """UsageError for a precision that a format has not, for a batched form where there is none, and for a title."""
    if title is not None and kind is not FORMATS["html"]:
        raise UsageError(f"--title {title!r} goes with --format html, not {name}; leave it out")
    if title is not None and not title.strip():
        raise UsageError("--title is empty; give the page a title, or leave it out")
    if precision not in kind.tolerances:
        raise UsageError(
            f"precision {precision!r}: {name} is written in {', '.join(kind.tolerances)}; give one of them"
        )
    if batched and not kind.batched:
        raise UsageError(
            f"--batched goes with {', '.join(n for n, each in FORMATS.items() if each.batched)}, not {name}"
        )


def module_of(kind: Format) -> FormatModule:
    """The module that writes and opens files of a format."""
    return cast(FormatModule, import_module(f"alexnet.export.{kind.module}"))
