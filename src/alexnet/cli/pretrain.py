"""alexnet pretrain"""

import shlex
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from alexnet.cli.options import AsJson, with_settings
from alexnet.cli.output import print_json, print_message
from alexnet.errors import UsageError
from alexnet.pretraining.settings import Settings
from alexnet.training.recipes import recipe


@with_settings(Settings)
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
    from alexnet.runs.folder import RunFolder

    folder = run.resume(resume, **changes) if resume else run.pretrain(typing.cast(str, data), chosen, out)
    if as_json:
        print_json({"run": str(folder), **RunFolder(folder).read_metrics()})
    else:
        print(folder)
        print_message(f"next: {_fine_tuning(folder)}")
    return 0


def _fine_tuning(folder: Path) -> str:
    """The command that trains on from a pre-training run: its network, its data, their division and sizes."""
    from alexnet.runs.folder import RunFolder

    config, usual = RunFolder(folder).read_config(), recipe()
    told = [f"alexnet train {shlex.quote(config.data)} --init {shlex.quote(str(folder))}"]
    for name in ("network", "input_size", "resize", "store_size", "validation", "test", "split_seed"):
        if (value := config.pretraining[name]) not in (None, getattr(usual, name)):
            told.append(f"--{name.replace('_', '-')} {value}")
    return " ".join([*told, *([] if config.pretraining["given_splits"] else ["--no-given-splits"])])
