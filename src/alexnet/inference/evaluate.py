"""How good a trained network is on data: on its own run's data, on the part that the run kept for it."""

import csv
import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.packed import Store, named_store
from alexnet.data.preprocess import check_views
from alexnet.errors import DataError, UsageError, unknown_name
from alexnet.evaluation.metrics import metrics
from alexnet.evaluation.predict import probabilities
from alexnet.evaluation.table import write_predictions
from alexnet.explain import pictures
from alexnet.inference.classifier import load

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class RunData:
    """What a run recorded of its data."""

    data: str  # as it was called
    fingerprint: str
    split_seed: int
    parts: dict[str, str]  # from an image's path to its part


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

    model: a run's folder or a .safetensors file. data: as in `named_store`. views: 1 or 10. split: "train", "val",
    "test" or "all"; None: test where there is one, else val, else all. out: a folder for confusion.png and
    predictions.csv; None: evaluation-<split>-<views>/ in the run's folder, or none for a file on its own. The parts are
    those that the run recorded where `data` is what it was trained on, else those that the data itself gives.
    UsageError for a part that there is not, DataError for classes that the network does not know.
    """
    _check_choices(views, split, batch_size)
    classifier = load(model, device, precision)
    run = _run_of(model)
    store = named_store(
        data,
        run.split_seed if run else 0,
        classifier.preprocessing.store_size,
        progress,
        look=lambda source: _class_map(source.class_names, classifier.class_names),
    )
    parts = _parts(store, data, run)
    split = split or next((part for part in ("test", "val") if (parts == part).any()), "all")
    indices = _indices(parts, split)
    answers = probabilities(
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
    labels = _class_map(store.class_names, classifier.class_names)[store.labels[indices]]
    scores = metrics(answers, labels, classifier.class_names)
    files = []
    if out := out or _place_in_run(model, f"evaluation-{split}-{views}"):
        files = [str(out / "confusion.png"), str(out / "predictions.csv")]
        pictures.confusion(scores["confusion"], classifier.class_names, files[0])
        write_predictions(files[1], [store.paths[i] for i in indices], labels, answers, classifier.class_names)
    return {"model": str(model), "data": data, "split": split, "views": views, **scores, "files": files}


def _check_choices(views: int, split: str | None, batch_size: int) -> None:
    """What can be refused before anything is loaded."""
    check_views(views)
    if split not in (None, *PARTS, "all"):
        raise unknown_name("split", str(split), [*PARTS, "all"])
    if batch_size < 1:
        raise UsageError(f"batch size is {batch_size}; take 1 or more")


def _run_of(model: Path) -> RunData | None:
    """What the run that the model lies in recorded; None for a file on its own. UsageError for damaged records."""
    folder = model if model.is_dir() else model.absolute().parent.parent  # of <run>/weights/best.safetensors
    if not (folder / "config.json").is_file() or not (folder / "split.csv").is_file():
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with (folder / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            parts = {row["path"]: row["split"] for row in csv.DictReader(file)}
        return RunData(str(config["data"]), config["fingerprint"], int(config["recipe"]["split_seed"]), parts)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(
            f"the run {folder} has a damaged config.json or split.csv ({type(error).__name__}: {error}); put them back,"
            " or evaluate a copy of its weights that lies elsewhere"
        ) from error


def _place_in_run(model: Path, name: str) -> Path | None:
    """The folder of that name in a run's folder; None for a file, and for a run that only others may write to."""
    return model / name if model.is_dir() and os.access(model, os.W_OK) else None


def _class_map(of_data: Sequence[str], of_network: Sequence[str]) -> NDArray[np.int64]:
    """For each class of the data, the network's output of the same name; the network may know more classes."""
    unknown = sorted(set(of_data) - set(of_network))
    if unknown:
        raise DataError(
            f"the data has classes that the network does not know: {_some(unknown)}; it knows {len(of_network)}: "
            f"{_some(of_network)}; give data with the network's classes"
        )
    output = {name: index for index, name in enumerate(of_network)}
    return np.array([output[name] for name in of_data], dtype=np.int64)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"


def _parts(store: Store, data: str, run: RunData | None) -> NDArray[np.str_]:
    """The part of each stored image, "" where it has none."""
    if run and (run.fingerprint == store.fingerprint or _same_data(run.data, data)):
        return np.array([run.parts.get(path, "") for path in store.paths], dtype="<U5")
    if run is None and not any(store.splits):
        warnings.warn(
            "the data has no parts of its own and no run is at hand that recorded which images were trained on;"
            " scores are too good if some were",
            stacklevel=2,
        )
    return np.array(store.splits, dtype="<U5")


def _same_data(recorded: str, given: str) -> bool:
    """Whether two specifications mean the same; a folder may be written in many ways."""
    one, other = Path(recorded), Path(given)
    return recorded == given or (one.exists() and other.exists() and one.samefile(other))


def _indices(parts: NDArray[np.str_], split: str) -> NDArray[np.int64]:
    """The places of the images of one part, or of all."""
    if split == "all":
        return np.arange(len(parts))
    found = np.flatnonzero(parts == split)
    if not len(found):
        there = [part for part in PARTS if (parts == part).any()]
        raise UsageError(f"the data has no {split} part; it has {', '.join([*there, 'all'])}")
    return found
