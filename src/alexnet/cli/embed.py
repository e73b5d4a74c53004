"""alexnet embed"""

from pathlib import Path
from typing import Annotated

import typer

from alexnet.cli.options import (
    AsJson,
    DataOrStore,
    Device,
    LabelColumn,
    Merge,
    Model,
    PartsFolder,
    Precision,
    ShardText,
    division,
    with_column,
)
from alexnet.cli.output import print_json, print_part
from alexnet.console import bar, print_lines


def embed(
    model: Model,
    data: DataOrStore,
    out: Annotated[Path, typer.Option(metavar="OUT.npz", help="The file to write.", show_default=False)],
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="A stage whose outputs are taken, such as conv3 (see alexnet summary); may be repeated.",
            show_default="the last hidden values, of fc7 where there is one",
        ),
    ] = None,
    pool: Annotated[
        str, typer.Option(help="Maps: average, the mean of each over its places; or none, all places flattened.")
    ] = "average",
    label_column: LabelColumn = None,
    device: Device = "auto",
    precision: Precision = "float32",
    shard: ShardText = None,
    merge: Merge = False,
    parts: PartsFolder = None,
    as_json: AsJson = False,
) -> int:
    """Write a feature vector of every image of DATA, with paths and labels, as a file for numpy.load."""
    from alexnet.inference import embed as features
    from alexnet.inference.classifier import load
    from alexnet.inference.divided.embed import embed_part, embed_whole

    divided, data = division(shard, merge, parts), with_column(data, label_column)
    layers = layer or ()
    with bar("packing") as packing, bar("embedding") as progress:
        if divided and divided.shard:
            asked = (layers, pool, divided, divided.shard, packing, progress)
            print_part(embed_part(load(model, device, precision), data, *asked), as_json)
            return 0
        if divided:
            done = embed_whole(load(model, "cpu", precision), data, out, layers, pool, divided, packing)
        else:
            done = features.embed(load(model, device, precision), data, out, layers, pool, packing, progress)
    if as_json:
        print_json(done)
    else:
        shapes = (f"{name}: {done['images']} x {width}" for name, width in done["layers"].items())
        print_lines(*shapes, f"with paths, labels, splits and class_names in {done['file']}")
    return 0
