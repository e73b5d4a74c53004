"""alexnet train"""

import shlex
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from alexnet.cli.options import AsJson, DataOrStore, LabelColumn, only_one, with_column, with_settings
from alexnet.cli.output import print_json, print_message
from alexnet.errors import UsageError
from alexnet.training.recipes import RECIPES, recipe
from alexnet.training.settings import Recipe


@with_settings(Recipe, RECIPES["modern"]())
def train(
    data: Annotated[str | None, *typing.get_args(DataOrStore)[1:]] = None,
    recipe_name: Annotated[
        str | None, typer.Option("--recipe", help=f"{', '.join(RECIPES)}.", show_default="modern")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML or TOML file of settings; options override it.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="the next in runs/")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Resume an interrupted run; takes no settings but --data, --device and --workers.",
            show_default=False,
        ),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="resume: where the run's images lie now.", show_default=False),
    ] = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
    **settings: Any,
) -> int:
    """Train a network on DATA, or resume an interrupted run."""
    changes = {name: value for name, value in settings.items() if value is not None}
    data = only_one(data, place)
    data = None if data is None else with_column(data, label_column)
    if resume is None:
        if data is None:
            raise UsageError("train needs DATA: a folder, a CSV or a name such as digits; or --resume RUN")
        chosen = recipe(recipe_name or "modern", config, **changes)
    elif recipe_name or config or out or (label_column and data is None) or changes.keys() - {"device", "workers"}:
        raise UsageError(
            f"--resume takes the run's own data and settings; give: alexnet train --resume {resume}, "
            "with no more than --data (where its images lie now), --device or --workers"
        )
    from alexnet.runs.folder import RunFolder
    from alexnet.training import run

    folder = run.resume(resume, **changes, data=data) if resume else run.train(typing.cast(str, data), chosen, out)
    if as_json:
        print_json({"run": str(folder), **RunFolder(folder).read_metrics()})
    else:
        print(folder)
        shown = shlex.quote(str(folder))
        print_message(f"next: alexnet explain {shown}")
        print_message(f"to name images: alexnet predict {shown} IMAGE...")
    return 0
