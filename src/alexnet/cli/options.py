"""Options and arguments that several commands share."""

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from alexnet.errors import UsageError

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of class folders, a CSV of path,label[,split], or a name: digits, flowers17, cifar10,"
        " tiny-imagenet, imagenet:/folder.",
        show_default=False,
    ),
]
DataOrStore = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help=f"{typing.get_args(Data)[1].help[:-1]}; or a packed store's folder.", show_default=False
    ),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A run folder or a .safetensors file.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, to standard output.")]
Views = Annotated[
    int,
    typer.Option(
        help="1: the centre; 10: corners, centre and their mirror images, averaged; 9: a grid of 3 x 3, as for "
        "cuda-convnet's networks."
    ),
]
IncludeTrained = Annotated[
    bool,
    typer.Option(
        "--include-trained", help="Keep images of other data that the model was trained on; else they are left out."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Workers = Annotated[int | None, typer.Option(help="Threads that read images.", show_default="one a core")]


def only_one(data: str | None, place: str | None) -> str | None:
    """DATA, given as an argument or as --data; UsageError for both."""
    if data is not None and place is not None:
        raise UsageError(f"DATA is given twice, as {data} and as --data {place}; give it once")
    return place if data is None else data


def with_settings(
    record: type, defaults: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorator: expand **settings into one option per field of a settings record.

    defaults: what --help shows instead of the fields' own defaults. No record is made, for that takes long.
    """

    def give(command: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(command)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        kinds, settings = typing.get_type_hints(record), dataclasses.fields(record)
        options = [_setting(f, kinds[f.name], defaults.get(f.name, f.default)) for f in settings if f.name != "name"]
        command.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        return command

    return give


def _setting(field: dataclasses.Field[Any], kind: Any, default: Any) -> inspect.Parameter:
    """The option for one field of a settings record. None: not given. Choices and tuples are parsed by the record."""
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (tuple, typing.Literal):
        kind = str
    option = typer.Option(
        help=field.metadata["help"], show_default=_shown(default), rich_help_panel="Settings of the recipe"
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _shown(default: Any) -> str | bool:
    """The default as text for --help; False: show none."""
    if default in (None, "", ()):
        return False
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ",".join(f"{part:g}" for part in default) if isinstance(default, tuple) else str(default)


def expand(paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """Yield (path, None) for each image, also those in folders, or (path, reason) where none can be read."""
    for path in paths:
        yield from list(_below(path)) or [(path, "a folder without images")]


def _below(path: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the images in a folder and its sub-folders, naturally sorted, without hidden ones; a file yields itself."""
    from alexnet.data.images import IMAGE_SUFFIXES
    from alexnet.data.samples import natural_key

    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: natural_key(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        yield path, None  # a file, or missing, which its reader reports
        return
    except OSError as error:
        yield path, f"cannot be read: {error.strerror}"
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path / entry.name)
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
            yield path / entry.name, None
