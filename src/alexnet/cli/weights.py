"""alexnet weights: published weights, and files of other programs"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alexnet.cli.options import AsJson
from alexnet.cli.output import print_json, print_message
from alexnet.console import print_lines, table
from alexnet.errors import UsageError

if TYPE_CHECKING:
    from alexnet.weights.card import Stored
    from alexnet.weights.pretrained import Published

app = typer.Typer(help="List, get, show and convert weights, published ones and files of other programs.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Published weights, such as imagenet:bvlc.", show_default=False)
]
Weights = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="Published weights, a run folder, or a file.", show_default=False)
]


@app.command("list")
def list_published(as_json: AsJson = False) -> int:
    """List the published weights: network, scores, licence, and whether the file is on this machine."""
    from alexnet.weights.pretrained import PUBLISHED, here

    if as_json:
        print_json([_facts(name, entry) for name, entry in PUBLISHED.items()])
        return 0
    listed = table("weights", "top-1", "top-5", "file", "here")
    for name, entry in PUBLISHED.items():
        there = "yes" if here(name) else ("to download" if entry.file.url else "no")
        listed.add_row(name, f"{entry.top1:.1%}", f"{entry.top5:.1%}", entry.file.filename, there)
    print_lines(
        listed,
        "scores, as published: validation images of ImageNet (tiny-imagenet:modern: of Tiny ImageNet), the centre view",
    )
    return 0


@app.command()
def show(weights: Weights, as_json: AsJson = False) -> int:
    """Show what is known of published weights, without a download, or the card of a run, file or model on a hub."""
    from alexnet.weights.pretrained import PUBLISHED, is_name, published

    if is_name(weights):
        facts = _facts(weights, published(weights))
        found = None if PUBLISHED[weights] and facts["here"] is None else weights
    else:
        facts, found = {}, weights
    if found is not None:
        from alexnet.weights.named import read_named

        facts |= _card(read_named(found))
    if as_json:
        print_json(facts)
    else:
        width = max(map(len, facts))
        print(*(f"{key.replace('_', ' '):<{width}}  {_told(value)}" for key, value in facts.items()), sep="\n")
    return 0


@app.command()
def get(name: Name, as_json: AsJson = False) -> int:
    """Download published weights, verify their checksum and print the file; one that is here already is verified."""
    from alexnet.weights.pretrained import fetch

    path = fetch(name)
    if as_json:
        print_json({"weights": name, "file": str(path)})
    else:
        print(path)
    return 0


@app.command()
def convert(
    weights: Weights,
    out: Annotated[Path, typer.Option(help="The file to write; .safetensors without --to.", show_default=False)],
    to: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Another program's format to write.", show_default="alexnet's own"),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="The network's name here, for files that do not tell it.", show_default=False),
    ] = None,
    mean: Annotated[
        Path | None,
        typer.Option(help="A mean image of Caffe: .binaryproto or .npy.", show_default="the network's own mean"),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="Class names in the order of the outputs: a text file, one a line; for cuda-convnet's ImageNet"
            " networks the development kit's meta.mat.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Convert a file of another program to a weights file with a card, or with --to the other way."""
    from alexnet.weights.named import convert_file

    if to is None and out.suffix != ".safetensors":
        raise UsageError(f"--out {out} does not end in .safetensors, alexnet's format; rename it, or say which: --to")
    stored = convert_file(weights, out, to, network, mean, classes)
    for note in stored.card.training.get("notes", []):
        print_message(note)
    if as_json:
        print_json({"file": str(out), **_card(stored)})
    else:
        print(out)
    return 0


def _facts(name: str, entry: "Published") -> dict[str, Any]:
    """What is published about weights."""
    from alexnet.weights.pretrained import here

    algorithm, digits = entry.file.checksum
    found = here(name)
    facts: dict[str, Any] = {"weights": name, "network": entry.network, "about": entry.about}
    facts |= {"top1": entry.top1, "top5": entry.top5, "licence": entry.licence, "where": entry.where}
    facts |= {"file": entry.file.filename, "url": entry.file.url or None, "size": entry.size}
    return {**facts, "checksum": f"{algorithm}:{digits}", "here": str(found) if found else None}


def _card(stored: "Stored") -> dict[str, Any]:
    """The card with the number of parameters."""
    values = sum(tensor.numel() for tensor in stored.tensors.values() if tensor.is_floating_point())
    return {**stored.card.to_json(), "values": values}


def _told(value: Any) -> str:
    """A value for people: a list shortened, fractions of scores as percent, nothing as a dash."""
    if value is None or value in ({}, [], ""):
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value[:4])) + (f" and {len(value) - 4:,} more" if len(value) > 4 else "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:.2%}" if 0 < value < 1 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
