"""What commands print: answers on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import typer

from alexnet.errors import AlexNetError

if TYPE_CHECKING:
    from rich.table import Table

BAD_DATA = 3  # the exit code of DataError, for commands that report bad data and still answer the rest


def explained(error: Exception) -> tuple[str, int]:
    """The one line and the exit code of an error."""
    if isinstance(error, AlexNetError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        context, told = getattr(error, "ctx", None), f"{error.format_message().rstrip('.')}{_received(error)}"
        return f"{told}; see {context.command_path if context else 'alexnet'} --help", error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", 1
    if (torch := sys.modules.get("torch")) and isinstance(error, torch.OutOfMemoryError):
        return "the GPU's memory is full; take a smaller --batch-size, or --device cpu", 1
    return f"unexpected {type(error).__name__}: {error}; run with --debug for the traceback", 1


def _received(error: Exception) -> str:
    """The value that has the wrong type, which typer leaves out of its message; empty for other errors."""
    errors = getattr(error.__cause__, "errors", None)  # pydantic's ValidationError, which checks the types for typer
    return f", but got {errors()[0]['input']!r}" if errors else ""


def print_message(message: object) -> None:
    print("alexnet:", " ".join(str(message).split()), file=sys.stderr)


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print_message(f"warning: {message}")


def print_json(answer: object) -> None:
    print(json.dumps(answer))


def table(label: str, *numbers: str) -> "Table":
    """A table of one column of text, which folds, and columns of numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    made.add_column(label, overflow="fold")
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def print_lines(*lines: "str | Table") -> None:
    """To standard output, for people; where that is no terminal, wide enough for every table."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, str))


def progress_bar(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal; gives the function that moves it: (done, total)."""
    from alexnet.console import bar

    return bar(title)
