"""alexnet demo: train on scikit-learn's 1,797 handwritten digits, evaluate, and classify a few."""

import csv
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from alexnet.cli.evaluate import print_scores
from alexnet.cli.options import AsJson
from alexnet.cli.output import print_json, print_message
from alexnet.cli.predict import print_answers
from alexnet.console import bar
from alexnet.training.recipes import recipe

# A mirrored digit is no digit, and a mix of two teaches nothing about either: one augmentation of the recipe is kept.
SETTINGS = {
    "init": "none",  # weights of photos know nothing of digits
    "input_size": 64,
    "epochs": 12,
    "augment": "resized_crop",
    "crop_scale": 0.6,
    "mixup": 0.0,
    "cutmix": 0.0,
    "evaluate_every": 3,
}
QUICK = {"epochs": 1, "train_images": 16}  # of each class
SHOWN = 8  # held-out digits that are predicted
SIDE = 128  # pixels a side of their pictures; the digits have 8


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Check only that it runs: one epoch on a few images.")] = False,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="the next in runs/")] = None,
    as_json: AsJson = False,
) -> int:
    """Train on handwritten digits, evaluate, and classify a few; takes a minute or two and downloads nothing."""
    from alexnet.inference.classifier import load
    from alexnet.inference.evaluate import evaluate
    from alexnet.training.run import train

    settings: dict[str, Any] = {**SETTINGS, **(QUICK if quick else {})}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", f"{value}")]
    show = _hide if as_json else _show
    show("train", "digits", *options, *(["--out", str(out)] if out else []))
    run = train("digits", recipe("modern", None, **settings), out)
    show("evaluate", str(run), "digits")
    with bar("evaluating") as progress:
        scores = evaluate(run, "digits", progress=progress).to_json()
    if not as_json:
        print_scores(scores)
    pictures = _write_held_out_digits(run)
    show("predict", str(run), *map(str, pictures), "--top", "1")
    answers = list(load(run).predict(pictures, 1))
    if as_json:
        print_json({"run": str(run), "evaluation": scores, "predictions": [answer.to_json() for answer in answers]})
    else:
        print_answers(answers)
        print_message(f"the run, with its weights, curves and every prediction, is in {run}")
        print_message(f"next: alexnet explain {shlex.quote(str(run))}")
    return 0


def _show(*words: str) -> None:
    """Print the command that does the same as what follows."""
    print(f"\n$ alexnet {shlex.join(words)}", flush=True)


def _hide(*words: str) -> None:
    pass


def _write_held_out_digits(run: Path) -> list[Path]:
    """Write a few digits that the run did not train on as run/digits/<label>-<row>.png."""
    from PIL import Image

    from alexnet.data.images import decode, square
    from alexnet.data.sources import open_source

    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        held_out = {row["path"]: row["label"] for row in csv.DictReader(file) if row["split"] == "test"}
    source = open_source("digits")
    rows = [row for row, sample in enumerate(source.samples) if sample.path in held_out][:SHOWN]
    folder = run / "digits"
    folder.mkdir(exist_ok=True)
    files = []
    for row in rows:
        files.append(folder / f"{held_out[source.samples[row].path]}-{row}.png")
        Image.fromarray(square(decode(source.read(row)), SIDE)).save(files[-1])
    return files
