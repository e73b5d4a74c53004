"""alexnet export"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet.cli.options import AsJson, Model
from alexnet.cli.output import print_json
from alexnet.console import bar, print_lines, table
from alexnet.export.formats import described, precisions

if TYPE_CHECKING:
    from alexnet.export.run import Exported
    from alexnet.export.verify import Proof


def export(
    model: Model,
    format: Annotated[str, typer.Option(metavar="FORMAT", help=described())] = "onnx",
    precision: Annotated[
        str | None, typer.Option(help=f"Of the weights. {precisions()}", show_default="the first")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file or folder to write.", show_default="model.onnx, model.html ... in the run's folder"
        ),
    ] = None,
    batched: Annotated[
        bool,
        typer.Option(
            "--batched",
            help="Take normalised images, float32 (N, 3, S, S); else one picture, uint8 (H, W, 3), of any size.",
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Photos on which the export is proven: a folder, a table or a name.",
            show_default="those that the run held out",
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Of a page (html).", show_default="how many classes it knows, and the first"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a model as a file for another engine; kept only if it answers photos as the model does."""
    from alexnet.export.run import export as write

    with bar("answering photos") as progress:
        written = write(model, format, precision, out, batched, data, progress, title)
    if as_json:
        print_json(written.to_json())
    else:
        _print(written)
    return 0


def _print(written: "Exported") -> None:
    """The proof as a few lines and a table of two columns: the model's figures and the export's."""
    proof = written.proof
    beside = table("", "model", written.engine)
    beside.add_row("size", _size(written.model_size), _size(written.size))
    beside.add_row("one photo", *(f"{1e3 * seconds:.1f} ms" for seconds in (proof.model_seconds, proof.seconds)))
    print_lines(
        written.path,
        f"{written.photos}: {proof.agree} of {proof.photos} get the same class,"
        f" a probability differs by {proof.difference:.2g} at most",
        *_unknown(proof),
        beside,
    )


def _unknown(proof: "Proof") -> list[str]:
    if proof.unknown_agree is None:
        return []
    return [
        f"{proof.unknown_agree} of {proof.photos} are told or not told as 'none of these' alike,"
        f" the score differs by {proof.unknown_difference:.2g} at most"
    ]


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB"
