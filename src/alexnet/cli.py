"""The command `alexnet`: parse, call, print.

Whatever is heavy is imported inside the command that needs it, so that `alexnet --help` is instant. A command returns
its exit code; `main` turns every error into one line (`alexnet.errors` says which code it carries). Answers go to
standard output; progress, warnings and errors go to standard error.
"""

import csv
import dataclasses
import inspect
import io
import json
import os
import shlex
import signal
import sys
import threading
import traceback
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alexnet import __version__
from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.files import read_json
from alexnet.memory import reuse_memory
from alexnet.pretraining.settings import Settings
from alexnet.training.recipes import RECIPES, recipe
from alexnet.training.settings import Recipe

if TYPE_CHECKING:
    from rich.table import Table

    from alexnet.data.store import Store
    from alexnet.inference.classifier import Prediction

BAD_DATA = 3  # the exit code of DataError, for commands that report bad data and still answer the rest
INTERRUPTED = 130

app = typer.Typer(
    help="Train, understand and use AlexNet.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON alone on standard output.")]
Views = Annotated[
    int,
    typer.Option(
        help="1: the centre; 10: corners, centre and their mirror images, averaged; 9: a grid of 3 x 3, as for "
        "cuda-convnet's networks."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Workers = Annotated[int | None, typer.Option(help="Threads that read images.", show_default="one a core")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Errors become one line on standard error; --debug adds the traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in arguments
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold bytes that are no text
    try:
        with _sigterm_as_ctrl_c():
            code = app([word for word in arguments if word != "--debug"], prog_name="alexnet", standalone_mode=False)
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = _explain(error)
        _say(message)
        return code
    if code == INTERRUPTED:  # typer turns KeyboardInterrupt into this code
        _say("interrupted")
    return int(code or 0)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM, which `kill` and batch systems send, ends a command as Ctrl-C does: nothing half-written is left."""
    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _explain(error: Exception) -> tuple[str, int]:
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


def _say(message: object) -> None:
    print("alexnet:", " ".join(str(message).split()), file=sys.stderr)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {message}")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"alexnet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error; goes with any command.")
    ] = False,
) -> None:
    """`main` takes --debug out of the arguments before they are parsed; it stands here to be shown by --help."""
    reuse_memory()


@app.command()
def summary(
    network: Annotated[
        str | None, typer.Argument(metavar="[NETWORK]", help="Its name.", show_default="the names are listed")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.", show_default="the network's own")] = None,
    input_size: Annotated[
        int | None,
        typer.Option(help="Pixels a side, 63 or more; cifar networks: 8 or more.", show_default="the network's own"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print a network's layers, parameters and multiply-accumulates; without a name, the networks that there are."""
    if network is None:
        return _list_networks(as_json)
    from alexnet.networks.summary import notes, summarize, table

    answer = summarize(network, classes, input_size)
    if as_json:
        _print_json(answer.to_json())
    else:
        _print_lines(table(answer), *notes(answer))
    return 0


def _list_networks(as_json: bool) -> int:
    from alexnet.networks import describe_networks

    described = describe_networks()
    if as_json:
        _print_json(list(described))
    else:
        width = max(map(len, described))
        print(*(f"{name:<{width}}  {description}" for name, description in described.items()), sep="\n")
    return 0


@app.command()
def check(
    data: Data,
    workers: Workers = None,
    as_json: AsJson = False,
) -> int:
    """Read every image as training would, and report what is wrong with the data; changes nothing."""
    from alexnet.data.check import check as check_source
    from alexnet.data.check import render
    from alexnet.data.sources import open_source
    from alexnet.data.store import is_store

    if is_store(data):
        raise UsageError(
            f"{data} is a packed store; check the images it was made from, or: alexnet pack {data} --verify"
        )
    with _progress("reading") as progress:
        report = check_source(open_source(data), workers=workers, progress=progress)
    if as_json:
        _print_json(report.to_json())
    else:
        _print_lines(*render(report))
    for reason in report.fatal:
        _say(reason)
    return BAD_DATA if report.fatal else 0


@app.command()
def pack(
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The store's folder, which train and evaluate take as DATA.",
            show_default="in the cache, where train and evaluate look for it",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Pixels a side; train looks for the default, or --store-size.", show_default="256; 64 for tiny images"
        ),
    ] = None,
    max_bad: Annotated[float, typer.Option(help="Largest share of unreadable images that is skipped over.")] = 0.01,
    workers: Workers = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Only check every checksum of DATA's store; DATA may be a store's folder here."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Decode every image once into a store that training reads at full speed."""
    from alexnet.data import store as stores
    from alexnet.data.sources import open_source

    if verify:
        store = stores.open_store(out, verify=True) if out else stores.verified(data, size)
    else:
        source = open_source(data)
        with _progress("packing") as progress:
            if out is None:
                store = stores.packed(source, size, max_bad, workers, progress)
            else:
                store = stores.pack(source, out, size or source.store_size, max_bad, workers, progress)
    if as_json:
        _print_json({**_store_facts(store), **({"sound": True} if verify else {})})
    else:
        images = f"{len(store)} images of {len(store.class_names)} classes, {store.size} px a side"
        skipped = f", {len(store.skipped)} skipped" if store.skipped else ""
        sound = "; sound: every checksum is right" if verify else ""
        print(f"{images}{skipped}, in {store.folder}{sound}")
    return 0


def _store_facts(store: "Store") -> dict[str, Any]:
    return {
        "folder": str(store.folder),
        "images": len(store),
        "classes": len(store.class_names),
        "size": store.size,
        "skipped": [{"path": path, "reason": reason} for path, reason in store.skipped],
    }


def _with_settings(
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
    """One recipe field as an option; not given means None, 'as the recipe has it'. Choices and tuples are text."""
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
    """A setting's default as --help has it; False where there is nothing to show."""
    if default in (None, "", ()):
        return False
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ",".join(f"{part:g}" for part in default) if isinstance(default, tuple) else str(default)


@app.command()
@_with_settings(Recipe, RECIPES["modern"]())
def train(
    data: Annotated[str | None, *typing.get_args(DataOrStore)[1:]] = None,
    recipe_name: Annotated[
        str | None, typer.Option("--recipe", help=f"{', '.join(RECIPES)}.", show_default="modern")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML or TOML file of settings; options win over it.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="the next in runs/")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with an interrupted run; of the settings it takes --device and --workers.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    **settings: Any,
) -> int:
    """Train a network on DATA, or go on with an interrupted run."""
    changes = {name: value for name, value in settings.items() if value is not None}
    if resume is None:
        if data is None:
            raise UsageError("train needs DATA: a folder, a CSV or a name such as digits; or --resume RUN")
        chosen = recipe(recipe_name or "modern", config, **changes)
    elif data or recipe_name or config or out or changes.keys() - {"device", "workers"}:
        raise UsageError(
            f"--resume takes the run's own data and settings; give: alexnet train --resume {resume}, "
            "with no more than --device or --workers"
        )
    from alexnet.training import run

    folder = run.resume(resume, **changes) if resume else run.train(typing.cast(str, data), chosen, out)
    if as_json:
        _print_json({"run": str(folder), **read_json(folder / "metrics.json")})
    else:
        print(folder)
        shown = shlex.quote(str(folder))
        _say(f"next: alexnet predict {shown} IMAGE..., or alexnet explain {shown}")
    return 0


@app.command()
@_with_settings(Settings)
def pretrain(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="As for train; also a folder of images without class folders.", show_default=False
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="the next in runs/")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Go on with an interrupted run; takes --device and --workers.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    **settings: Any,
) -> int:
    """Train a network's convolutions on images without labels, for `train --init`; or go on with such a run."""
    changes = {name: value for name, value in settings.items() if value is not None}
    if resume is None and data is None:
        raise UsageError("pretrain needs DATA: a folder of images, a CSV or a name such as digits; or --resume RUN")
    if resume is not None and (data or out or changes.keys() - {"device", "workers"}):
        raise UsageError(
            f"--resume takes the run's own data and settings; give: alexnet pretrain --resume {resume}, "
            "with no more than --device or --workers"
        )
    chosen = Settings(**changes)
    from alexnet.pretraining import run

    folder = run.resume(resume, **changes) if resume else run.pretrain(typing.cast(str, data), chosen, out)
    if as_json:
        _print_json({"run": str(folder), **read_json(folder / "metrics.json")})
    else:
        print(folder)
        _say(f"next: {_fine_tuning(folder)}")
    return 0


def _fine_tuning(folder: Path) -> str:
    """The command that trains on from a pre-training run: its network, its data, their division and sizes."""
    config, usual = read_json(folder / "config.json"), recipe()
    told = [f"alexnet train {shlex.quote(config['data'])} --init {shlex.quote(str(folder))}"]
    for name in ("network", "input_size", "resize", "store_size", "validation", "test", "split_seed"):
        if (value := config["pretraining"][name]) not in (None, getattr(usual, name)):
            told.append(f"--{name.replace('_', '-')} {value}")
    return " ".join([*told, *([] if config["pretraining"]["given_splits"] else ["--no-given-splits"])])


@app.command()
def evaluate(
    model: Model,
    data: DataOrStore,
    views: Views = 1,
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all.", show_default="test, else val, else all")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for metrics.json, confusion.png and predictions.csv.",
            show_default="evaluation-<split>-<views> in a run's folder",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Views at once.")] = 64,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16, or auto: the faster one.")] = "float32",
    as_json: AsJson = False,
) -> int:
    """Measure a trained network on data; on the data of its own run, on the part that the run kept for it."""
    from alexnet.inference.evaluate import evaluate as measure

    with _progress("evaluating") as progress:
        scores = measure(model, data, views, split, out, batch_size, device, precision, progress).to_json()
    if as_json:
        _print_json(scores)
    else:
        _print_scores(scores)
    return 0


@app.command()
def predict(
    model: Model,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE|FOLDER...", help="Folders give their images.", show_default=False)
    ],
    top: Annotated[int, typer.Option(help="Names an image.", min=1)] = 5,
    views: Views = 1,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer with CSV alone on standard output.")] = False,
) -> int:
    """Name what is in images, in the order given. Exit code 3 if any could not be read."""
    if as_json and as_csv:
        raise UsageError("--json and --csv were both given; choose one")
    from alexnet.inference import classifier

    asked = list(_expand(images))
    guessed = iter(classifier.load(model, device).predict((path for path, error in asked if not error), top, views))
    answers = [classifier.Prediction(str(path), error=error) if error else next(guessed) for path, error in asked]
    if as_json:
        _print_json([answer.to_json() for answer in answers])
    elif as_csv:
        _print_csv(answers)
    else:
        _print_answers(answers)
    failed = [answer for answer in answers if answer.error]
    for answer in failed:
        _say(f"{answer.path}: {answer.error}")
    return BAD_DATA if failed else 0


@app.command()
def explain(
    model: Model,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE|FOLDER...]", help="At most 16 images.", show_default="eight images of the data"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="As for evaluate.", show_default="what the run was trained on"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all.", show_default="test, else val, else all")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="The class whose evidence is looked for.", show_default="each image's most probable"),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Whose units' favourite images are shown; may be repeated.", show_default="the last maps"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The pictures' folder.", show_default="explain in a run's folder")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Look inside a trained network: filters, maps, what excites it, why it answers so; pictures and one page."""
    from alexnet.inference.explain import explain as look_inside

    asked = list(_expand(images or []))
    for path, error in asked:
        if error:
            raise DataError(f"{path}: {error}")
    with _progress("looking") as progress:
        answer = look_inside(model, [path for path, _ in asked], data, split, label, out, layer or [], device, progress)
    for row in answer["left_out"]:
        _say(f"not shown: {row['title']}: {row['reason']}")
    if as_json:
        _print_json(answer)
    else:
        _print_lines(answer["page"], *(row["file"] for row in answer["pictures"]))
    return 0


@app.command()
def benchmark(
    subject: Annotated[
        str, typer.Argument(metavar="[SUBJECT]", help="ops, train, data, evaluate, predict or all.")
    ] = "all",
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    repeats: Annotated[int, typer.Option(help="Rounds in which every contender is timed once.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only see that it runs: small batches, once; such figures mean nothing."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Measure our speed beside this machine's ceilings and stock frameworks; all of it takes half an hour.

    Each row is printed as soon as it is measured. Ctrl-C ends with the rows measured so far, with --json too.
    """
    from alexnet.bench import run
    from alexnet.bench.measure import Options
    from alexnet.bench.table import Row, table

    options = Options.quick(device) if quick else Options(batch_size, repeats, device)
    rows: list[Row] = []
    code = 0
    try:
        for row in run.benchmark(subject, options):
            if not as_json:
                _print_lines(table([row], above=rows[-1] if rows else None))
            rows.append(row)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if as_json:
        _print_json(run.to_json(rows, options, complete=code == 0))
    return code


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(metavar="NAME|list", help="Its name, or list.", show_default=False)],
    quick: Annotated[bool, typer.Option("--quick", help="Smaller and shorter: an answer within ten minutes.")] = False,
    seeds: Annotated[int | None, typer.Option(help="Runs of every arm.", show_default="3; 1 or 2 with --quick")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Its folder.", show_default="runs/experiment-NAME, with -quick for --quick")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Try a claim of the paper or the article; the same command goes on where it was stopped."""
    from alexnet.experiments import catalog

    if name == "list":
        return _list_experiments(catalog.listed(), as_json)
    chosen = catalog.experiment(name, quick)
    from alexnet.experiments.run import run

    flags = [*(["--quick"] if quick else []), *(["--seeds", str(seeds)] if seeds else [])]
    command = " ".join(["alexnet experiment", name, *flags, *(["--out", shlex.quote(str(out))] if out else [])])
    place = out or Path("runs") / f"experiment-{name}{'-quick' if quick else ''}"
    results = run(chosen, place, chosen.seeds if seeds is None else seeds, command, quick)
    if as_json:
        _print_json({"folder": str(place), **results})
    else:
        print(*(study["sentence"] for study in results["studies"]), f"Published: {results['published']}", sep="\n")
        print(place / "report.html")
    return 0


def _list_experiments(listed: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        _print_json(listed)
    else:
        from alexnet.experiments.experiment import duration

        for each in listed:
            whole, quick = (
                f"{each[f'{kind}runs']} runs, {duration(60 * each[f'{kind}minutes'])}" for kind in ("", "quick_")
            )
            print(f"{each['name']}: {each['question']}")
            print(f"    {', '.join(each['data'])}; {whole}; --quick: {quick}")
        print("Times are about those on one core of a server processor.")
    return 0


def _expand(paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """The paths, a folder replaced by its images, each with None or with why nothing can be read there."""
    for path in paths:
        yield from list(_below(path)) or [(path, "a folder without images")]


def _below(path: Path) -> Iterator[tuple[Path, str | None]]:
    """A folder's images and its sub-folders', naturally sorted, dot-names left out; what is no folder, itself."""
    from alexnet.data.images import IMAGE_SUFFIXES
    from alexnet.data.samples import natural_key

    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: natural_key(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        yield path, None  # a file, or what its reader will say is missing
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


def _print_json(answer: object) -> None:
    print(json.dumps(answer))


def _print_csv(answers: Iterable["Prediction"]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["path", "rank", "label", "probability", "error"])
    for answer in answers:
        if answer.error:
            table.writerow([answer.path, "", "", "", answer.error])
        for rank, guess in enumerate(answer.predictions, 1):
            table.writerow([answer.path, rank, guess.label, f"{guess.probability:.6f}", ""])


def _print_answers(answers: Iterable["Prediction"]) -> None:
    for answer in answers:
        if not answer.error:
            print(answer.path)
        for guess in answer.predictions:
            print(f"  {guess.probability:7.2%}  {guess.label}")


def _print_scores(scores: dict[str, Any]) -> None:
    from alexnet.evaluation.metrics import top5_told

    table = _table("class", "images", "precision", "recall", "F1")
    for row in scores["per_class"]:
        shares = (f"{row[key]:.1%}" for key in ("precision", "recall", "f1"))
        table.add_row(row["label"], str(row["images"]), *shares)
    low, high = scores["interval"]
    views = "1 view" if scores["views"] == 1 else f"{scores['views']} views"
    _print_lines(
        table,
        f"{scores['images']} images ({scores['split']}), {views} of each",
        f"top-1 {scores['top1']:.2%} (95 % interval {low:.2%} to {high:.2%}){top5_told(scores)}",
        f"macro-F1 {scores['macro_f1']:.2%}, expected calibration error {scores['ece']:.2%}",
        *(scores["files"] or ["the measures, their picture and the predictions are written where --out FOLDER says"]),
    )


def _table(label: str, *numbers: str) -> "Table":
    """A table of one column of text, which folds, and columns of numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(label, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print_lines(*lines: "str | Table") -> None:
    """To standard output, for people; where that is no terminal, wide enough for every table."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, str))


def _progress(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal; gives the function that moves it: (done, total)."""
    from alexnet.console import bar

    return bar(title)


if __name__ == "__main__":
    sys.exit(main())
