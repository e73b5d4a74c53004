"""Data opened for a model: the part of each image as the model's run recorded it, classes paired by name."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.data.samples import normal_name
from alexnet.data.sources import Data, spec_of
from alexnet.data.store import Store, named_store
from alexnet.errors import DataError, UsageError, unknown_name
from alexnet.inference.classifier import Classifier
from alexnet.runs.folder import RunFolder

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class RunData:
    """What a run recorded of its data."""

    data: str  # its name or path
    fingerprint: str
    parts: dict[tuple[str, int], str]  # (an image's path, its occurrence among equal paths: 0, 1, ...) -> part


@dataclass(frozen=True)
class Labelled:
    """N stored images, the part of each, and its class as an output of a network."""

    store: Store
    parts: NDArray[np.str_]  # (N,) "train", "val", "test", or "" where neither the run nor the data says
    labels: NDArray[np.int64]  # (N,) index of the network's output for the image's class

    def best_part(self) -> str:
        """The default part to evaluate on: test if there is one, else val, else all."""
        return next((part for part in ("test", "val") if (self.parts == part).any()), "all")


def open_data(
    model: Path | None, data: Data, classifier: Classifier, progress: Callable[[int, int], None] | None = None
) -> Labelled:
    """Open data for a model: the parts are those of the model's run where `data` is what it was trained on.

    model: the run's folder or a weights file; None for a network without either. Other data has the parts that it gives
    itself. DataError for classes that the network does not know, before any image is read.
    """
    run = run_of(model) if model else None
    store = named_store(
        data,
        **vars(classifier.preprocessing.form),
        progress=progress,
        look=lambda source: class_map(source.class_names, classifier.class_names),
    )
    store.warn_of_extent(crop=False)
    labels = class_map(store.class_names, classifier.class_names)[store.labels]
    return Labelled(store, parts_of(store, data, run), labels)


def check_split(split: str | None) -> None:
    """UsageError for an unknown name of a part; None stands for the default part."""
    if split not in (None, *PARTS, "all"):
        raise unknown_name("split", str(split), [*PARTS, "all"])


def run_of(model: Path) -> RunData | None:
    """What the run that `model` belongs to recorded of its data; None for a weights file outside a run.

    The only reader of a run's files in inference. UsageError if they are damaged.
    """
    folder = model if model.is_dir() else model.absolute().parent.parent  # of <run>/weights/best.safetensors
    run = RunFolder(folder)
    if not run.is_run or not (folder / "split.csv").is_file():
        return None
    config, rows = run.read_config(), run.read_split()
    parts = dict(zip(_occurrences(row.path for row in rows), (row.split for row in rows), strict=True))
    return RunData(config.data, config.fingerprint, parts)


def _occurrences(paths: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Each path with its occurrence, 0 for the first: data may list a file twice, in different parts."""
    seen: Counter[str] = Counter()
    for path in paths:
        yield path, seen[path]
        seen[path] += 1


def place_in_run(model: Path | None, name: str) -> Path | None:
    """The folder of that name in a run's folder; None for a weights file and for a run that is read-only."""
    return model / name if model and model.is_dir() and os.access(model, os.W_OK) else None


def class_map(of_data: Sequence[str], of_network: Sequence[str]) -> NDArray[np.int64]:
    """int64 (K,): for each class of the data the index of the network's output with the same name.

    Names are the same if they are equal letter by letter, composed or decomposed: old weights keep either form.
    """
    alike = {normal_name(name): index for index, name in enumerate(of_network)}
    output = {**alike, **{name: index for index, name in enumerate(of_network)}}
    found = {name: output.get(name, alike.get(normal_name(name))) for name in of_data}
    if unknown := sorted(name for name, index in found.items() if index is None):
        raise DataError(
            f"the data has classes that the network does not know: {some(unknown)}; it knows {len(of_network)}: "
            f"{some(of_network)}; give data with the network's classes"
        )
    return np.array([found[name] for name in of_data], dtype=np.int64)


def some(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"


def parts_of(store: Store, data: Data, run: RunData | None) -> NDArray[np.str_]:
    """(N,) the part of each stored image, "" where it has none."""
    if run and (run.fingerprint == store.fingerprint or _same_data(run.data, data)):
        return np.array([run.parts.get(key, "") for key in _occurrences(store.paths)], dtype="<U5")
    if run is None and not any(store.splits):
        warnings.warn(  # not logged: without a handler, a caller in Python would never see it
            "the data has no train, val or test part and the model belongs to no run that recorded one; scores are too"
            " good if the model was trained on some of these images",
            stacklevel=4,  # the caller of `evaluate`
        )
    return np.array(store.splits, dtype="<U5")


def _same_data(recorded: str, given: Data) -> bool:
    """Whether two names or paths mean the same data; one folder has many paths."""
    if isinstance(given, tuple):  # arrays are the same only by their fingerprint
        return False
    one, other = Path(recorded), Path(spec_of(given))
    return recorded == given or (one.exists() and other.exists() and one.samefile(other))


def indices_of(parts: NDArray[np.str_], split: str) -> NDArray[np.int64]:
    """The indices of the images of one part, or of all. UsageError for a part without images."""
    if split == "all":
        return np.arange(len(parts))
    found = np.flatnonzero(parts == split)
    if not len(found):
        there = [part for part in PARTS if (parts == part).any()]
        raise UsageError(f"the data has no {split} part; it has {', '.join([*there, 'all'])}")
    return found
