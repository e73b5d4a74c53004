"""How good a trained network is on data: on its own run's data, on the part that the run kept for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet.data.preprocess import check_views
from alexnet.errors import UsageError
from alexnet.evaluation.metrics import metrics
from alexnet.evaluation.predict import probabilities
from alexnet.evaluation.table import write_predictions
from alexnet.files import write_json
from alexnet.inference.classifier import load
from alexnet.inference.parts import check_split, indices_of, open_data, place_in_run
from alexnet.plots import pictures


def evaluate(
    model: Path,
    data: str,
    views: int = 1,
    split: str | None = None,
    out: Path | None = None,
    batch_size: int = 64,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The measures of `alexnet.evaluation.metrics.metrics`, and model, data, split, views, and files (those written).

    model: a run's folder or a .safetensors file. data: as in `named_store`. views: 1, 9 or 10. split: "train", "val",
    "test" or "all"; None: test where there is one, else val, else all. out: a folder for metrics.json, confusion.png
    and predictions.csv; None: evaluation-<split>-<views>/ in the run's folder, or none for a file. The parts are
    those that the run recorded where `data` is what it was trained on, else those that the data itself gives.
    UsageError for a part that there is not, DataError for classes that the network does not know.
    """
    _check_choices(views, split, batch_size)
    classifier = load(model, device, precision)
    found = open_data(model, data, classifier, progress)
    store, split = found.store, split or found.best_part()
    indices = indices_of(found.parts, split)
    chances = probabilities(
        classifier.network,
        classifier.preprocessing,
        store,
        indices,
        views,
        batch_size,
        device=classifier.device,
        precision=precision,
        progress=progress,
    )
    labels = found.labels[indices]
    scores = metrics(chances, labels, classifier.class_names)
    answer = {"model": str(model), "data": data, "split": split, "views": views, **scores}
    if not (out := out or place_in_run(model, f"evaluation-{split}-{views}")):
        return {**answer, "files": []}
    files = [out / name for name in ("metrics.json", "confusion.png", "predictions.csv")]
    write_json(files[0], answer)
    pictures.confusion(scores["confusion"], classifier.class_names, files[1])
    write_predictions(files[2], [store.paths[i] for i in indices], labels, chances, classifier.class_names)
    return {**answer, "files": [str(file) for file in files]}


def _check_choices(views: int, split: str | None, batch_size: int) -> None:
    """What can be refused before anything is loaded."""
    check_views(views)
    check_split(split)
    if batch_size < 1:
        raise UsageError(f"batch size is {batch_size}; take 1 or more")
