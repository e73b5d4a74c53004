"""alexnet train"""

import shlex
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from alexnet.cli.options import (
    AsJson,
    DataOrStore,
    LabelColumn,
    Out,
    Place,
    Resume,
    only_one,
    with_column,
    with_settings,
)
from alexnet.cli.output import print_json, print_message
from alexnet.errors import UsageError
from alexnet.training.recipes import RECIPES, recipe
from alexnet.training.settings import AUTOMATIC, Recipe

DEFAULTS = {**RECIPES["modern"](), **dict.fromkeys(AUTOMATIC, "by the number of images")}


@with_settings(Recipe, DEFAULTS)
def train(
    data: Annotated[str | None, *typing.get_args(DataOrStore)[1:]] = None,
    recipe_name: Annotated[
        str | None, typer.Option("--recipe", help=f"{', '.join(RECIPES)}.", show_default="modern")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML or TOML file of settings; options override it.", show_default=False)
    ] = None,
    out: Out = None,
    resume: Resume = None,
    place: Place = None,
    more: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="EPOCHS",
            help="Train a finished run on: a new run from its weights, with its settings and data; DATA is its folder.",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Cross-validation: so many runs, each tested on another part, then a model of all images.",
            show_default=False,
        ),
    ] = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
    **settings: Any,
) -> int:
    """Train a network on DATA, resume an interrupted run, or train a finished one on."""
    changes = {name: value for name, value in settings.items() if value is not None}
    data = only_one(data, place)
    data = None if data is None else with_column(data, label_column)
    if folds is not None and (more is not None or resume):
        raise UsageError(
            f"--folds begins new runs; give: alexnet train DATA --folds {folds}, without --more and --resume"
        )
    if more is not None:
        if data is None or recipe_name or config or resume or label_column or changes.keys() & {"epochs", "init"}:
            raise UsageError(
                f"--more takes a finished run and its settings; give: alexnet train --more {more} RUN, without "
                "--recipe, --config, --resume, --label-column, --epochs and --init"
            )
    elif resume is None:
        if data is None:
            raise UsageError("train needs DATA: a folder, a CSV or a name such as digits; or --resume RUN")
        chosen = recipe(recipe_name or "modern", config, **changes)
    elif recipe_name or config or out or (label_column and data is None) or changes.keys() - {"device", "workers"}:
        raise UsageError(
            f"--resume takes the run's own data and settings; give: alexnet train --resume {shlex.quote(str(resume))}, "
            "with no more than --data (where its images lie now), --device or --workers"
        )
    from alexnet.processes.place import this_process
    from alexnet.runs.folder import RunFolder
    from alexnet.training import run
    from alexnet.training.folds import cross_validate, is_folds, resume_folds

    if folds is not None or (resume is not None and is_folds(resume)):
        run.refuse_several(this_process(), "cross-validation")
    if folds is not None:
        folder = cross_validate(typing.cast(str, data), chosen, folds, out)
    elif more is not None:
        folder = run.train_on(Path(typing.cast(str, data)), more, out, **changes)
    elif resume:
        folder = (resume_folds if is_folds(resume) else run.resume)(resume, **changes, data=data)
    else:
        folder = run.train(typing.cast(str, data), chosen, out)
    if not this_process().first:
        return 0
    if as_json:
        print_json({"run": str(folder), **RunFolder(folder).read_metrics()})
    else:
        print(folder)
        shown = shlex.quote(str(folder))
        print_message(f"next: alexnet explain {shown}")
        print_message(f"to name images: alexnet predict {shown} IMAGE...")
    return 0
