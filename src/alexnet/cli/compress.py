"""alexnet compress"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet.cli.options import AsJson, Device, LabelColumn, Model, with_column
from alexnet.cli.output import print_json, print_message
from alexnet.console import bar, print_lines, table

if TYPE_CHECKING:
    from alexnet.compression.run import Compressed


def compress(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="Where the run's images lie now, or other labelled photos of its classes.",
            show_default="where the run's images lay",
        ),
    ] = None,
    bits: Annotated[int, typer.Option(help="Before entropy coding, 2 to 8: a layer has 2^bits values.")] = 4,
    prune: Annotated[
        float,
        typer.Option(
            help="Share of the weights of dense layers that becomes 0, of other layers less; the run is then trained "
            "again, as a run of its own."
        ),
    ] = 0.0,
    epochs: Annotated[
        int | None, typer.Option(help="Of training again after pruning.", show_default="two fifths of the run's")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write.",
            show_default="compressed.safetensors in the run's folder, compressed-3bit.safetensors with --bits 3",
        ),
    ] = None,
    label_column: LabelColumn = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Make a model many times smaller: few values for all weights, entropy coded; measured on photos held out."""
    from alexnet.compression.run import compress as make

    named = None if data is None else with_column(data, label_column)
    if prune:
        made = make(model, named, bits, prune, epochs, out, device)  # training has a bar of its own
    else:
        with bar("sharing weights") as progress:
            made = make(model, named, bits, prune, epochs, out, device, progress)
    if as_json:
        print_json(made.to_json())
        return 0
    _print(made)
    print_message(f"it is a MODEL: alexnet predict {shlex.quote(made.path)} IMAGE...")
    return 0


def _print(made: "Compressed") -> None:
    sizes = table("weights", "zeros", "values", "bits a weight")
    for layer in made.layers:
        sizes.add_row(f"{layer.name}, {layer.weights:,}", f"{layer.zeros:.0%}", str(layer.values), f"{layer.bits:.2f}")
    beside = table("", "model", "compressed")
    beside.add_row("size", f"{made.model_size / 1e6:.2f} MB", f"{made.size / 1e6:.3f} MB ({made.ratio:.1f} x smaller)")
    told = []
    if made.accuracy is not None and made.seconds is not None and made.model_seconds is not None:
        found = made.accuracy
        low, high = (f"{100 * edge:+.2f}" for edge in found.interval)
        beside.add_row("top-1", f"{found.first_top1:.2%}", f"{found.second_top1:.2%}")
        beside.add_row("one photo", *(f"{1e3 * seconds:.1f} ms" for seconds in (made.model_seconds, made.seconds)))
        told = [
            f"{made.images}: {found.lost} rightly answered by the model alone, {found.won} by the compressed one alone;"
            f" {100 * found.difference:+.2f} points (95 % interval {low} to {high}, McNemar p {found.p_value:.2f})"
        ]
    print_lines(made.path, *told, sizes, beside)
