"""alexnet pretrain"""

import shlex
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from alexnet.cli.options import AsJson, Out, Place, Resume, only_one, with_settings
from alexnet.cli.output import print_json, print_message
from alexnet.errors import AlexNetError, UsageError
from alexnet.pretraining.settings import Settings
from alexnet.training.recipes import recipe

# Settings of a pre-training that the training from it shares.
SHARED = (
    *("network", "input_size", "resize", "store_size", "fit", "value_range", "exact"),
    *("validation", "test", "given_splits", "split_seed"),
)


@with_settings(Settings)
def pretrain(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="As for train; also a folder of images without class folders.", show_default=False
        ),
    ] = None,
    out: Out = None,
    resume: Resume = None,
    place: Place = None,
    as_json: AsJson = False,
    **settings: Any,
) -> int:
    """Train a network's convolutions on unlabelled images, for `train --init`; or resume such a run."""
    changes = {name: value for name, value in settings.items() if value is not None}
    data = only_one(data, place)
    if resume is None and data is None:
        raise UsageError("pretrain needs DATA: a folder of images, a CSV or a name such as digits; or --resume RUN")
    if resume is not None and (out or changes.keys() - {"device", "workers"}):
        raise UsageError(
            "--resume takes the run's own data and settings; give: "
            f"alexnet pretrain --resume {shlex.quote(str(resume))}, with no more than --data (where its images lie "
            "now), --device or --workers"
        )
    chosen = Settings(**changes)
    from alexnet.pretraining import run
    from alexnet.runs.folder import RunFolder

    folder = run.resume(resume, **changes, data=data) if resume else run.pretrain(typing.cast(str, data), chosen, out)
    if as_json:
        print_json({"run": str(folder), **RunFolder(folder).read_metrics()})
    else:
        print(folder)
        print_message(_next(folder))
    return 0


def _next(folder: Path) -> str:
    """The line to print at the end: the command that fine-tunes the run on its own data, if that is labelled."""
    from alexnet.runs.folder import RunFolder

    config, init = RunFolder(folder).read_config(), shlex.quote(str(folder))
    try:
        changes = _changes(config.data, config.pretraining)
    except AlexNetError:  # usually images without classes
        return f"to train from it, give images with classes: alexnet train DATA --init {init}"
    options = (_option(name, value) for name, value in changes.items())
    return " ".join([f"next: alexnet train {shlex.quote(config.data)} --init {init}", *options])


def _changes(data: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that fine-tuning must set: those that differ from the default recipe, and a small batch that was given.

    A batch that was not given follows the number of training images by itself.
    """
    import numpy as np

    from alexnet.data.sources import find_source
    from alexnet.training.division import split

    usual = recipe()
    changes = {name: settings[name] for name in SHARED if settings[name] not in (None, getattr(usual, name))}
    source = find_source(data)
    labels = np.array([sample.label for sample in source.samples])
    given = np.array([sample.split for sample in source.samples])
    parts = split(labels, given, source.class_names, source.fractions, recipe(**changes))
    images = int((parts == "train").sum())
    if settings["batch_size"] and images < usual.batch_size:
        changes["batch_size"] = max(2, min(settings["batch_size"], images))
    return changes


def _option(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {shlex.quote(str(value))}"
