"""Options and arguments that several commands share."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import typer

from alexnet.data.value_range import Given, read_range
from alexnet.errors import UsageError
from alexnet.processes.place import this_process
from alexnet.processes.shards import Division, read_shard

ADDRESS = re.compile(r"(https?|ftp|s3|gs|file):/", re.IGNORECASE)  # a path joins the two slashes into one
DIVIDED = "Work divided among machines (docs/parallel.md)"

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
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A run folder, a weights file, published weights such as imagenet:bvlc (alexnet weights list), or a model"
        " on a hub, hub:OWNER/NAME[@REVISION].",
        show_default=False,
    ),
]
AnyModel = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help=f"{typing.get_args(Model)[1].help[:-1]}; or an export (alexnet export), which needs no torch.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, to standard output.")]
Views = Annotated[
    int,
    typer.Option(
        help="1: the centre; 10: corners, centre and their mirror images, averaged; 9: a grid of 3 x 3, as for "
        "cuda-convnet's networks."
    ),
]
Coverage = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Also a set of classes for each image that holds the right one with this chance, such as 0.95; the model "
        "must be calibrated (alexnet calibrate).",
        show_default=False,
    ),
]
IncludeTrained = Annotated[
    bool,
    typer.Option(
        "--include-trained", help="Keep images of other data that the model was trained on; else they are left out."
    ),
]
Out = Annotated[Path | None, typer.Option(help="The run's folder.", show_default="the next in runs/")]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Resume an interrupted run; takes no settings but --data, --device and --workers.",
        show_default=False,
    ),
]
Place = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="resume: where the run's images lie now.", show_default=False),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16, or auto: the faster one.")]
Fit = Annotated[
    str | None,
    typer.Option(
        help="How images that are not square are packed: crop, pad or warp, see train; or short.", show_default="crop"
    ),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        help="The files' values for black and white, such as 0,4095; or auto; see train.",
        show_default="by each file's format",
    ),
]
Exact = Annotated[
    bool | None,
    typer.Option(help="Decode large JPEG photos whole, not at a smaller scale; see train.", show_default="no"),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column of a CSV that holds the labels.", show_default="found by its name"),
]
Workers = Annotated[int | None, typer.Option(help="Threads that read images.", show_default="one a core")]
ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do part I of N alone, counted from 1, and keep it in --parts; a part that is there is not done again.",
        show_default=False,
        rich_help_panel=DIVIDED,
    ),
]
Merge = Annotated[bool, typer.Option("--merge", help="Put the parts in --parts together.", rich_help_panel=DIVIDED)]
PartsFolder = Annotated[
    Path | None,
    typer.Option(
        "--parts", metavar="FOLDER", help="Where parts are kept.", show_default=False, rich_help_panel=DIVIDED
    ),
]


def asked_range(text: str | None) -> Given | Literal["own"]:
    """`--value-range` as `alexnet.data.store.named_store` takes it; UsageError for what is no range."""
    return "own" if text is None else read_range(text)


def division(shard: str | None, merge: bool, parts: Path | None) -> Division | None:
    """What --shard, --merge and --parts ask for; None for none of them. UsageError for what does not go together."""
    if shard is not None and merge:
        raise UsageError(f"--shard {shard} and --merge were both given; run each shard, then --merge alone")
    if parts is None and (shard is not None or merge):
        asked = "--merge" if shard is None else f"--shard {shard}"
        raise UsageError(f"{asked} needs --parts FOLDER, where the parts are kept; name one that all machines see")
    if parts is None:
        return None
    if shard is None and not merge:
        raise UsageError(f"--parts {parts} goes with --shard I/N or with --merge; give one of them, or leave it out")
    if (ranks := this_process().ranks) > 1:
        raise UsageError(
            f"{ranks} processes were started that work together, and --shard and --merge are for one each; start them "
            "without torchrun and srun, by SLURM's --array for instance"
        )
    return Division(parts, None if shard is None else read_shard(shard))


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
    if typing.get_origin(kind) in (types.UnionType, typing.Union):  # the latter of a Literal
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


def with_column(data: str, label_column: str | None) -> str:
    """DATA as it names a table's column of labels, "photos.csv:species". UsageError for a column of no table."""
    from alexnet.data.sources.folders import TABLES

    if label_column is None:
        return data
    if Path(data).suffix.lower() not in TABLES:
        raise UsageError(f"--label-column {label_column} goes with a table of images such as photos.csv, not {data!r}")
    return f"{data}:{label_column}"


def expand(paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """Yield (path, None) for each image, also those in folders, or (path, reason) where none can be read.

    What folders hold beside images is logged. UsageError for standard input and addresses, before anything is read.
    """
    for path in paths:
        if (str(path) == "-" or ADDRESS.match(str(path))) and not path.exists():
            named = str(path).replace(":/", "://", 1)
            raise UsageError(f"{named!r}: standard input and addresses are not read; give image files or folders")
    for path in paths:
        yield from list(_below(path)) or [(path, "a folder without images")]


def _below(path: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the images in a folder and its sub-folders, in natural order, without litter; a file yields itself."""
    if path.is_file():
        yield path, None
        return
    from alexnet.data.sources.told import tell_passed_over
    from alexnet.data.sources.walk import Walk

    walk = Walk(path, strict=False)
    try:
        walk.entries()
    except (FileNotFoundError, NotADirectoryError):
        yield path, None  # missing, or no file, which its reader reports
        return
    except OSError:
        pass  # found again, and named, below
    found = list(walk.found())
    tell_passed_over(str(path), len(found), walk.others, walk.litter)
    for name, reason in found:
        yield path / name, reason or None
