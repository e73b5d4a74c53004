"""alexnet evaluate"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alexnet.cli.options import (
    AnyModel,
    AsJson,
    Coverage,
    DataOrStore,
    Device,
    IncludeTrained,
    LabelColumn,
    Merge,
    PartsFolder,
    Precision,
    ShardText,
    Views,
    division,
    with_column,
)
from alexnet.cli.output import print_json, print_part
from alexnet.console import bar, print_lines, table
from alexnet.processes.place import this_process

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(
    model: AnyModel,
    data: DataOrStore,
    views: Views = 1,
    split: Annotated[
        str | None,
        typer.Option(help="Images to evaluate: train, val, test or all.", show_default="test, else val, else all"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for metrics.json, confusion.png and predictions.csv.",
            show_default="evaluation-<split>-<views> in a run's folder",
        ),
    ] = None,
    include_trained: IncludeTrained = False,
    unknown: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|NAME",
            help="Images of none of the classes: how many are called unknown, and how many of DATA's.",
            show_default=False,
        ),
    ] = None,
    coverage: Coverage = None,
    batch_size: Annotated[int | None, typer.Option(help="Views per batch.", show_default="64, on a GPU 512")] = None,
    label_column: LabelColumn = None,
    device: Device = "auto",
    precision: Precision = "float32",
    shard: ShardText = None,
    merge: Merge = False,
    parts: PartsFolder = None,
    as_json: AsJson = False,
) -> int:
    """Measure a trained network on DATA; on the data it was trained on, wherever it lies, the held-out part is used."""
    from alexnet.evaluation.predict import USUAL_BATCH
    from alexnet.inference.divided.evaluate import Asked, evaluate_part, evaluate_whole
    from alexnet.inference.evaluate import evaluate as measure
    from alexnet.processes.together import meeting

    divided, data = division(shard, merge, parts), with_column(data, label_column)
    batch = USUAL_BATCH if batch_size is None else batch_size
    asked = Asked(views, split, batch, precision, include_trained, unknown, coverage)
    if divided and divided.shard:
        with bar("evaluating") as progress:
            kept = evaluate_part(model, data, asked, divided, divided.shard, device, progress)
        print_part(kept, as_json)
        return 0
    if divided:
        measured = evaluate_whole(model, data, asked, divided, out)
    else:
        with meeting(this_process(), device) as together, bar("evaluating") as progress:
            wanted = (views, split, out, batch_size, device, precision, progress, include_trained, unknown, coverage)
            measured = measure(model, data, *wanted, together)
    scores = measured.to_json()
    if as_json:
        print_json(scores)
    else:
        print_scores(scores)
    return 0


def print_scores(scores: dict[str, Any]) -> None:
    """Print an evaluation as a table of classes, of many classes the pairs most often confused, and three lines."""
    from alexnet.evaluation.metrics import MANY_CLASSES, top5_told

    scored = table("class", "images", "precision", "recall", "F1")
    for row in scores["per_class"]:
        shares = (f"{row[key]:.1%}" if row["images"] else "-" for key in ("precision", "recall", "f1"))
        scored.add_row(row["label"], str(row["images"]), *shares)
    low, high = scores["interval"]
    views = "1 view" if scores["views"] == 1 else f"{scores['views']} views"
    pairs = scores["most_confused"] if len(scores["per_class"]) > MANY_CLASSES else []
    print_lines(
        scored,
        *(("", _confused(pairs), "") if pairs else ()),
        f"{scores['images']} images ({scores['split']}), {views} of each",
        f"top-1 {scores['top1']:.2%} (95 % interval {low:.2%} to {high:.2%}){top5_told(scores)}",
        f"macro-F1 {scores['macro_f1']:.2%}, expected calibration error {scores['ece']:.2%}",
        *_known(scores),
        *(scores["files"] or ["give --out FOLDER to write the metrics, the confusion matrix and the predictions"]),
    )


def _known(scores: dict[str, Any]) -> list[str]:
    """Lines on images that are called unknown, and on sets of classes, where these were measured."""
    lines = []
    for key, said in (("own_unknown", "lost"), ("foreign_unknown", "caught")):
        if found := scores.get(key):
            low, high = found["interval"]
            unread = f"; {found['unreadable']} could not be read" if found["unreadable"] else ""
            lines.append(
                f"{found['data']}: {found['unknown']} of {found['images']} called unknown, "
                f"{said}: {found['share']:.2%} (95 % interval {low:.2%} to {high:.2%}){unread}"
            )
    if found := scores.get("sets"):
        low, high = found["interval"]
        lines.append(
            f"sets for a coverage of {found['asked']:.1%}: {found['covered']:.2%} hold the right class (95 % interval "
            f"{low:.2%} to {high:.2%}); {found['classes']:.2f} classes on average, {found['one']:.1%} of one class"
        )
    return lines


def _confused(pairs: list[dict[str, Any]]) -> "Table":
    confused = table("most often confused", "images")
    for pair in pairs:
        confused.add_row(f"{pair['label']}, taken for {pair['prediction']}", str(pair["images"]))
    return confused
