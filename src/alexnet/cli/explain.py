"""alexnet explain"""

from pathlib import Path
from typing import Annotated

import typer

from alexnet.cli.options import AsJson, Device, IncludeTrained, Model, expand
from alexnet.cli.output import print_json, print_message
from alexnet.console import bar, print_lines
from alexnet.errors import DataError


def explain(
    model: Model,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGE|FOLDER...]",
            help="At most 16 image files, or folders of images.",
            show_default="eight images of the data",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="As for evaluate.", show_default="what the run was trained on"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Images to choose from: train, val, test or all.", show_default="test, else val, else all"),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Class to explain.", show_default="the most probable one of each image"),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer whose most exciting images to show; may be repeated.", show_default="the last maps"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the page and its pictures.", show_default="explain in a run's folder"),
    ] = None,
    include_trained: IncludeTrained = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Show what a trained network learned as one page: filters, feature maps, exciting images, attributions."""
    from alexnet.inference.explain import explain as look_inside

    asked = list(expand(images or []))
    for path, error in asked:
        if error:
            raise DataError(f"{path}: {error}")
    with bar("looking") as progress:
        paths = [path for path, _ in asked]
        answer = look_inside(
            model, paths, data, split, label, out, layer or [], device, progress, include_trained=include_trained
        )
    for row in answer["left_out"]:
        print_message(f"not shown: {row['title']}: {row['reason']}")
    if as_json:
        print_json(answer)
    else:
        print_lines(answer["page"], *(row["file"] for row in answer["pictures"]))
    return 0
