"""alexnet predict"""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet.cli.options import AsJson, Device, Model, Views, expand
from alexnet.cli.output import BAD_DATA, print_json, print_message, printable
from alexnet.errors import UsageError
from alexnet.processes.place import this_process

if TYPE_CHECKING:
    from alexnet.inference.classifier import Prediction


def predict(
    model: Model,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE|FOLDER...", help="Image files, or folders of images.", show_default=False),
    ],
    top: Annotated[int, typer.Option(help="Number of most probable classes to print for each image.", min=1)] = 5,
    views: Views = 1,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, and nothing else, to standard output.")] = False,
) -> int:
    """Classify images, in the order given. Exit code 3 if any cannot be read."""
    if as_json and as_csv:
        raise UsageError("--json and --csv were both given; choose one")
    from alexnet.inference import classifier

    asked = list(expand(images))
    readable = [path for path, error in asked if not error]
    guessed = iter(predicted(model, readable, top, views, device))
    answers = [classifier.Prediction(str(path), error=error) if error else next(guessed) for path, error in asked]
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


def predicted(model: Path, images: Sequence[Path], top: int, views: int, device: str) -> "list[Prediction]":
    """The answers to all images; of several processes each computes its part of them, of whole batches."""
    from alexnet.inference import classifier

    if this_process().ranks == 1:
        return classifier.load(model, device).predict(images, top, views)
    from alexnet.processes.together import ends_of_parts, led, meeting

    with meeting(this_process(), device) as together:
        loaded = led(together, lambda: classifier.load(model, device), lambda _: classifier.load(model, device))
        ends = ends_of_parts(len(images), max(1, classifier.BATCH // views), together.ranks)
        mine = loaded.predict(images[ends[together.rank] : ends[together.rank + 1]], top, views)
        told = together.told([answer.to_json() for answer in mine])
    guesses = [[classifier.Guess(**guess) for guess in each.pop("predictions")] for part in told for each in part]
    rest = [each for part in told for each in part]
    return [classifier.Prediction(predictions=guess, **each) for guess, each in zip(guesses, rest, strict=True)]


def _print_csv(answers: Iterable["Prediction"]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["path", "rank", "label", "probability", "error"])
    for answer in answers:
        if answer.error:
            table.writerow([answer.path, "", "", "", answer.error])
        for rank, guess in enumerate(answer.predictions, 1):
            table.writerow([answer.path, rank, guess.label, f"{guess.probability:.6f}", ""])


def print_answers(answers: Iterable["Prediction"]) -> None:
    """Print each image with its most probable classes; images that cannot be read are left out."""
    for answer in answers:
        if not answer.error:
            print(printable(str(answer.path)), *([f"({answer.note})"] if answer.note else []))
        for guess in answer.predictions:
            print(f"  {guess.probability:7.2%}  {guess.label}")
