"""alexnet predict"""

import csv
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet.cli.options import (
    AnyModel,
    AsJson,
    Coverage,
    Device,
    Merge,
    PartsFolder,
    ShardText,
    Views,
    division,
    expand,
)
from alexnet.cli.output import BAD_DATA, print_json, print_message, print_part, printable
from alexnet.errors import UsageError
from alexnet.processes.place import this_process
from alexnet.processes.shards import Division, Shard

if TYPE_CHECKING:
    from alexnet.inference.answers import Prediction
    from alexnet.processes.parts import Kept

FEW = 16  # images up to which an export is opened for few


def predict(
    model: AnyModel,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE|FOLDER...", help="Image files, or folders of images.", show_default=False),
    ],
    top: Annotated[int, typer.Option(help="Number of most probable classes to print for each image.", min=1)] = 5,
    views: Views = 1,
    coverage: Coverage = None,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, and nothing else, to standard output.")] = False,
    shard: ShardText = None,
    merge: Merge = False,
    parts: PartsFolder = None,
) -> int:
    """Classify images, in the order given. Exit code 3 if any cannot be read."""
    if as_json and as_csv:
        raise UsageError("--json and --csv were both given; choose one")
    divided = division(shard, merge, parts)
    from alexnet.inference.answers import Prediction

    asked = list(expand(images))
    readable = [path for path, error in asked if not error]
    wanted = (readable, top, views, coverage)
    if divided and divided.shard:
        print_part(kept_part(model, *wanted, device, divided, divided.shard), as_json)
        return 0
    guessed = iter(put_together(model, *wanted, divided) if divided else predicted(model, *wanted, device))
    answers = [Prediction(str(path), error=error) if error else next(guessed) for path, error in asked]
    if as_json:
        print_json([answer.to_json() for answer in answers])
    elif as_csv:
        _print_csv(answers)
    else:
        print_answers(answers)
    failed = [answer for answer in answers if answer.error]
    for answer in failed if this_process().first else ():
        print_message(f"{printable(str(answer.path))}: {answer.error}")
    return BAD_DATA if failed else 0


def predicted(
    model: Path, images: Sequence[Path], top: int, views: int, coverage: float | None, device: str
) -> "list[Prediction]":
    """The answers to all images; of several processes each computes its part of them, of whole batches."""
    from alexnet.inference.answers import BATCH, Guess, Prediction
    from alexnet.inference.loading import load

    opened = partial(load, model, device, brief=len(images) <= FEW)
    if this_process().ranks == 1:
        return opened().predict(images, top, views, coverage)
    from alexnet.processes.shards import ends_of_parts
    from alexnet.processes.together import led, meeting

    with meeting(this_process(), device) as together:
        loaded = led(together, opened, lambda _: opened())
        ends = ends_of_parts(len(images), max(1, BATCH // views), together.ranks)
        mine = loaded.predict(images[ends[together.rank] : ends[together.rank + 1]], top, views, coverage)
        told = together.told([answer.to_json() for answer in mine])
    guesses = [[Guess(**guess) for guess in each.pop("predictions")] for part in told for each in part]
    rest = [each for part in told for each in part]
    return [Prediction(predictions=guess, **each) for guess, each in zip(guesses, rest, strict=True)]


def kept_part(
    model: Path,
    images: Sequence[Path],
    top: int,
    views: int,
    coverage: float | None,
    device: str,
    divided: Division,
    shard: Shard,
) -> "Kept":
    """Answer one part of the images and keep it, unless it is there."""
    from alexnet.inference.divided.predict import predict_part
    from alexnet.inference.loading import load

    loaded = load(model, device, brief=len(images) <= FEW)
    return predict_part(loaded, images, top, views, coverage, divided, shard)


def put_together(
    model: Path, images: Sequence[Path], top: int, views: int, coverage: float | None, divided: Division
) -> "list[Prediction]":
    """The answers to all images, from the parts."""
    from alexnet.inference.divided.predict import predict_whole
    from alexnet.inference.loading import load

    return predict_whole(load(model, "cpu", brief=True), images, top, views, coverage, divided)


def _print_csv(answers: Iterable["Prediction"]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    answers = list(answers)
    tells, sets = (any(getattr(each, name) is not None for each in answers) for name in ("unknown_score", "classes"))
    more = [*(["unknown", "unknown_score"] if tells else []), *(["in_set"] if sets else [])]
    table.writerow(["path", "rank", "label", "probability", "error", *more])
    for answer in answers:
        if answer.error:
            table.writerow([answer.path, "", "", "", answer.error, *[""] * len(more)])
        for rank, guess in enumerate(answer.predictions, 1):
            told = [int(answer.unknown or False), f"{answer.unknown_score or 0:.6f}"] if tells else []
            held = [int(guess.label in (answer.classes or ()))] if sets else []
            table.writerow([answer.path, rank, guess.label, f"{guess.probability:.6f}", "", *told, *held])


def print_answers(answers: Iterable["Prediction"]) -> None:
    """Print each image with its most probable classes; images that cannot be read are left out."""
    for answer in answers:
        if not answer.error:
            print(printable(str(answer.path)), *([f"({answer.note})"] if answer.note else []))
        if answer.unknown:
            print(f"  unknown (nearest: {printable(answer.predictions[0].label)})")
        for guess in answer.predictions:
            print(f"  {guess.probability:7.2%}  {guess.label}")
        if answer.classes is not None:
            print(f"  set: {printable(', '.join(answer.classes))}")
