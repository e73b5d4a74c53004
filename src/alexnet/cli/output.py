"""What commands print: answers on standard output, everything else on standard error."""

import json
import sys
from typing import TYPE_CHECKING

import typer

from alexnet.errors import AlexNetError

if TYPE_CHECKING:
    from alexnet.processes.parts import Kept

INTERRUPTED = 130  # exit code after Ctrl-C
BAD_DATA = 3  # exit code of commands that report bad data and still answer the rest; that of DataError


def explained(error: Exception) -> tuple[str, int]:
    """The message, of one line, and the exit code of an error."""
    if isinstance(error, AlexNetError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        context, message = getattr(error, "ctx", None), f"{error.format_message().rstrip('.')}{_received(error)}"
        return f"{message}; see {context.command_path if context else 'alexnet'} --help", error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", 1
    if (torch := sys.modules.get("torch")) and isinstance(error, torch.OutOfMemoryError):
        return "the GPU's memory is full; take a smaller --batch-size, or --device cpu", 1
    return f"unexpected {type(error).__name__}: {error}; run with --debug for the traceback", 1


def _received(error: Exception) -> str:
    """The value of the wrong type, which typer leaves out of its message; empty for other errors."""
    errors = getattr(error.__cause__, "errors", None)  # of pydantic's ValidationError: it checks types for typer
    return f", but got {errors()[0]['input']!r}" if errors else ""


def print_message(message: object) -> None:
    """Print one line to standard error."""
    print("alexnet:", " ".join(str(message).split()), file=sys.stderr)


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Replaces `warnings.showwarning`: one line, without the source line."""
    print_message(f"warning: {message}")


def print_json(answer: object) -> None:
    """Print one JSON value to standard output."""
    print(json.dumps(answer))


def print_part(kept: "Kept", as_json: bool) -> None:
    """Print where a part of divided work is kept."""
    if as_json:
        print_json(kept.to_json())
    else:
        print(f"part {kept.shard}: {kept.images} images, {'' if kept.made else 'done before, '}in {kept.folder}")


def printable(text: str) -> str:
    """Escape line breaks and bytes that are not text: file names may hold both."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
