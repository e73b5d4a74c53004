"""Which images of the data a model has seen: the part that its run kept aside, and whose classes are whose."""

import csv
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.data.store import Store, named_store
from alexnet.errors import DataError, UsageError, unknown_name
from alexnet.files import read_json
from alexnet.inference.classifier import Classifier

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class RunData:
    """What a run recorded of its data."""

    data: str  # as it was called
    fingerprint: str
    split_seed: int
    parts: dict[str, str]  # from an image's path to its part


@dataclass(frozen=True)
class Labelled:
    """Data in the terms of a network: N stored images, the part and the class of each."""

    store: Store
    parts: NDArray[np.str_]  # (N,) "train", "val", "test", or "" where nobody says
    labels: NDArray[np.int64]  # (N,) the network's output for the class

    def best_part(self) -> str:
        """The part to judge by where none is named: test where there is one, else val, else all."""
        return next((part for part in ("test", "val") if (self.parts == part).any()), "all")


def open_data(
    model: Path, data: str, classifier: Classifier, progress: Callable[[int, int], None] | None = None
) -> Labelled:
    """The data called `data` (as in `named_store`), with the parts that the model's run recorded.

    The parts are the run's where `data` is what it was trained on, else those that the data itself gives. DataError for
    classes that the network does not know, before any image is read.
    """
    run = run_of(model)
    store = named_store(
        data,
        size=classifier.preprocessing.store_size,
        progress=progress,
        look=lambda source: class_map(source.class_names, classifier.class_names),
    )
    labels = class_map(store.class_names, classifier.class_names)[store.labels]
    return Labelled(store, parts_of(store, data, run), labels)


def check_split(split: str | None) -> None:
    """UsageError for a part that there never is; None stands for the best one."""
    if split not in (None, *PARTS, "all"):
        raise unknown_name("split", str(split), [*PARTS, "all"])


def run_of(model: Path) -> RunData | None:
    """What the run that the model lies in recorded; None for a file on its own. UsageError for damaged records."""
    folder = model if model.is_dir() else model.absolute().parent.parent  # of <run>/weights/best.safetensors
    if not (folder / "config.json").is_file() or not (folder / "split.csv").is_file():
        return None
    try:
        config = read_json(folder / "config.json")
        with (folder / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            parts = {row["path"]: row["split"] for row in csv.DictReader(file)}
        return RunData(str(config["data"]), config["fingerprint"], int(config["recipe"]["split_seed"]), parts)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(
            f"the run {folder} has a damaged config.json or split.csv ({type(error).__name__}: {error}); put them back,"
            " or take a copy of its weights that lies elsewhere"
        ) from error


def place_in_run(model: Path, name: str) -> Path | None:
    """The folder of that name in a run's folder; None for a file, and for a run that only others may write to."""
    return model / name if model.is_dir() and os.access(model, os.W_OK) else None


def class_map(of_data: Sequence[str], of_network: Sequence[str]) -> NDArray[np.int64]:
    """For each class of the data, the network's output of the same name; the network may know more classes."""
    unknown = sorted(set(of_data) - set(of_network))
    if unknown:
        raise DataError(
            f"the data has classes that the network does not know: {some(unknown)}; it knows {len(of_network)}: "
            f"{some(of_network)}; give data with the network's classes"
        )
    output = {name: index for index, name in enumerate(of_network)}
    return np.array([output[name] for name in of_data], dtype=np.int64)


def some(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"


def parts_of(store: Store, data: str, run: RunData | None) -> NDArray[np.str_]:
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


def indices_of(parts: NDArray[np.str_], split: str) -> NDArray[np.int64]:
    """The places of the images of one part, or of all."""
    if split == "all":
        return np.arange(len(parts))
    found = np.flatnonzero(parts == split)
    if not len(found):
        there = [part for part in PARTS if (parts == part).any()]
        raise UsageError(f"the data has no {split} part; it has {', '.join([*there, 'all'])}")
    return found
