"""alexnet calibrate"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from alexnet.cli.options import AsJson, Device, LabelColumn, with_column
from alexnet.cli.output import print_json, print_message
from alexnet.console import bar


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="Where the run's images lie now, or other labelled photos of its classes, in the place of its "
            "validation part.",
            show_default="where the run's images lay",
        ),
    ] = None,
    false_alarms: Annotated[
        float, typer.Option(help="Share of photos of the classes that may be called unknown, above 0 and below 1.")
    ] = 0.05,
    label_column: LabelColumn = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Make a run's probabilities honest, and let it tell 'unknown', by photos that it was not trained on."""
    from alexnet.inference.calibrate import calibrate as find
    from alexnet.inference.calibrate import told

    with bar("calibrating") as progress:
        found = find(run, None if data is None else with_column(data, label_column), false_alarms, device, progress)
    if as_json:
        print_json(told(found))
        return 0
    measured = found.measured
    print(f"temperature {found.temperature:.3f}, from {measured['images']['val']} images that were held out")
    print(f"expected calibration error of these {measured['ece_before']:.2%} before, {measured['ece_after']:.2%} after")
    if found.known is not None:
        print(f"'unknown' is told; {measured['false_alarms']:.1%} of photos of the classes will be called so")
        print_message(f"to see what it catches: alexnet evaluate {shlex.quote(str(run))} DATA --unknown FOLDER")
    return 0
