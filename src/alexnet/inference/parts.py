"""Data opened for a model: the part of each image as the model's run recorded it, classes paired by name."""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.data.duplicates import Leaks, leaks
from alexnet.data.samples import normal_name
from alexnet.data.sources import Data, recorded_name, spec_of
from alexnet.data.sources.synsets import usual_name
from alexnet.data.splits import PARTS
from alexnet.data.store import Store, named_store
from alexnet.errors import DataError, UsageError, unknown_name
from alexnet.inference.answers import Answering
from alexnet.runs.folder import RunFolder

OWN = 0.9  # data of which a run divided at least this share of the images is the run's own

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunData:
    """What a run recorded of its data. A key is an image's path and its occurrence among equal paths: 0, 1, ..."""

    data: str  # its name or path
    fingerprint: str
    parts: dict[tuple[str, int], str]
    digests: dict[tuple[str, int], str]  # of the stored pixels; empty where an earlier version made the run

    def part_of_digest(self) -> dict[str, str]:
        """The part of each picture; train for one that the run trained on and held out."""
        ordered = sorted(self.digests, key=lambda key: self.parts[key] == "train")
        return {self.digests[key]: self.parts[key] for key in ordered}


@dataclass(frozen=True)
class Labelled:
    """N stored images, the part of each, and its class as an output of a network."""

    store: Store
    parts: NDArray[np.str_]  # (N,) "train", "val", "test", or "" where neither the run nor the data says
    labels: NDArray[np.int64]  # (N,) index of the network's output for the image's class
    trained: NDArray[np.bool_]  # (N,) whether the model's run trained on the image
    own: bool  # whether the run recorded the parts

    def best_part(self) -> str:
        """The default part to evaluate on: test if there is one, else val, else all."""
        return next((part for part in ("test", "val") if (self.parts == part).any()), "all")

    def rows(self, split: str | None, include_trained: bool = False) -> NDArray[np.int64]:
        """The images of one part, None for the best; says in a line which of them the model was trained on.

        Of other data than the run's own, and of all the images where no part was asked for, those that were trained on
        are left out, unless `include_trained`, or unless none would be left. UsageError for a part without images.
        """
        rows = indices_of(self.parts, split or self.best_part())
        if self.own and split == "train":  # on purpose
            return rows
        keep = include_trained or (self.own and split == "all")
        return _without_trained(rows, self.trained[rows], keep)

    def leaks(self) -> Leaks:
        """Equal pictures in several parts or under several labels."""
        return leaks(self.store.digests, self.labels, self.parts.tolist(), self.store.paths)


def _without_trained(rows: NDArray[np.int64], trained: NDArray[np.bool_], include_trained: bool) -> NDArray[np.int64]:
    count, told = int(trained.sum()), "the model was trained on %s of these %s images"
    if not count:
        return rows
    if include_trained or count == len(rows):
        logger.warning(f"{told}: scores say little about new ones", f"{count:,}", f"{len(rows):,}")
        return rows
    logger.warning(f"{told}: they are left out; --include-trained keeps them", f"{count:,}", f"{len(rows):,}")
    return rows[~trained]


def open_data(
    model: Path | None, data: Data, classifier: Answering, progress: Callable[[int, int], None] | None = None
) -> Labelled:
    """Open data for a model: the parts are those of the model's run where `data` is what it was trained on.

    model: the run's folder or a weights file; None for a network without either. The run's own images are known by
    their pixels, wherever they lie. Other data has the parts that it gives itself. DataError for classes that the
    network does not know, before any image is read.
    """
    run = run_of(model) if model else None
    store = named_store(
        data,
        **vars(classifier.form),
        progress=progress,
        look=lambda source: class_map(source.class_names, classifier.class_names),
    )
    store.warn_of_extent(crop=False)
    labels = class_map(store.class_names, classifier.class_names)[store.labels]
    known = parts_of(store, data, run)
    if known is None or not own_data(known, store, data, run):
        trained = np.zeros(len(store), bool) if known is None else known == "train"
        return Labelled(store, np.array(store.splits, dtype="<U5"), labels, trained, own=False)
    if strange := int((known == "").sum()):
        logger.info("%s of %s images are none that the run divided: they are in no part", strange, len(store))
    return Labelled(store, known, labels, known == "train", own=True)


def check_split(split: str | None) -> None:
    """UsageError for an unknown name of a part; None stands for the default part."""
    if split not in (None, *PARTS, "all"):
        raise unknown_name("split", str(split), [*PARTS, "all"])


def run_of(model: Path) -> RunData | None:
    """What the run that `model` belongs to recorded of its data; None for a weights file outside a run.

    The only reader of a run's files in inference. FileError if they are damaged.
    """
    folders = [model] if model.is_dir() else model.absolute().parents[:2]  # of <run>/weights/best.safetensors
    run = next((run for run in map(RunFolder, folders) if run.is_run and (run.path / "split.csv").is_file()), None)
    if run is None:
        return None
    config, rows = run.read_config(), run.read_split()
    keys = list(keys_of(row.path for row in rows))
    parts = {key: row.split for key, row in zip(keys, rows, strict=True)}
    digests = {key: row.digest for key, row in zip(keys, rows, strict=True) if row.digest}
    return RunData(config.data, config.fingerprint, parts, digests)


def keys_of(paths: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Each path with its occurrence, 0 for the first: data may list a file twice, in different parts."""
    seen: Counter[str] = Counter()
    for path in paths:
        yield path, seen[path]
        seen[path] += 1


def place_in_run(model: Path | None, name: str) -> Path | None:
    """The folder of that name in a run's folder; None for a weights file and for a run that is read-only."""
    return model / name if model and model.is_dir() and os.access(model, os.W_OK) else None


def no_place(model: Path | None, name: str) -> str:
    """Why `place_in_run` has no place, for messages. name: of the model."""
    if model is None:
        return f"{name} is no run's folder on this machine"
    return f"the run's folder {model} is not writable" if model.is_dir() else f"{model} is a file, not a run's folder"


def place_of(model: Path | None, name: str, in_run: str, here: str) -> Path:
    """Where a file is written if nobody says where: the run's folder, else the current one, which is told with why.

    model, name: the model's origin and its name. in_run, here: the file's name in the one and in the other.
    """
    place = place_in_run(model, in_run)
    if place is None:
        logger.info("%s goes to the current folder, for %s; --out names another place", here, no_place(model, name))
    return place or Path(here)


def class_map(of_data: Sequence[str], of_network: Sequence[str]) -> NDArray[np.int64]:
    """int64 (K,): for each class of the data the index of the network's output with the same name.

    Names are the same if they are equal letter by letter, composed or decomposed: old weights keep either form. A
    folder of ImageNet called by its synset's id is the class of that synset.
    """
    alike = {_alike(name): index for index, name in enumerate(of_network)}
    output = {**alike, **{name: index for index, name in enumerate(of_network)}}
    found = {name: output.get(name, alike.get(_alike(name))) for name in of_data}
    if unknown := sorted(name for name, index in found.items() if index is None):
        raise DataError(
            f"the data has classes that the network does not know: {some(unknown)}; it knows {len(of_network)}: "
            f"{some(of_network)}; give data with the network's classes"
        )
    return np.array([found[name] for name in of_data], dtype=np.int64)


def _alike(name: str) -> str:
    return normal_name(usual_name(name))


def some(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"


def parts_of(store: Store, data: Data, run: RunData | None) -> NDArray[np.str_] | None:
    """(N,) the part that the run gave each stored image, "" for others; None where nobody can know.

    By content where the run kept digests, else by the paths, if the data is the run's.
    """
    if run is None:
        if not any(store.splits):
            warnings.warn(  # not logged: without a handler, a caller in Python would never see it
                "the data has no train, val or test part and the model belongs to no run that recorded one; scores are"
                " too good if the model was trained on some of these images",
                stacklevel=4,  # the caller of `evaluate`
            )
        return None
    by_path = np.array([run.parts.get(key, "") for key in keys_of(store.paths)], dtype="<U5")
    if run.digests:
        found = _by_content(store, run)
        if (found != "").any() or not (by_path != "").any():
            return found
        if run.fingerprint == store.fingerprint:  # the same files, which this version decodes to other pixels
            return by_path
        logger.warning(
            "the images have names that the run's have, but other pixels, and are taken for new ones; "
            "scores are too good if they are the run's, saved anew"
        )
        return found
    if _same_data(run, store, data):
        return by_path
    logger.warning("the run kept no digests of its images; scores are too good if it was trained on some of these")
    return None


def _by_content(store: Store, run: RunData) -> NDArray[np.str_]:
    """The parts by pixels; of equal pictures in several parts, the path tells them apart."""
    of_digest, found = run.part_of_digest(), []
    for key, digest in zip(keys_of(store.paths), store.digests, strict=True):
        same_place = run.digests.get(key) == digest
        found.append(run.parts[key] if same_place else of_digest.get(digest, ""))
    return np.array(found, dtype="<U5")


def own_data(known: NDArray[np.str_], store: Store, data: Data, run: RunData | None) -> bool:
    """Whether the data is what the run divided: at the same place, or nearly all of it images of the run."""
    if run is None or not (known != "").any():
        return False
    return bool((known != "").mean() >= OWN) or _same_data(run, store, data)


def _same_data(run: RunData, store: Store, given: Data) -> bool:
    """Whether the files' state, or the place, is the same. One folder has many paths; a name may mean another copy."""
    if run.fingerprint == store.fingerprint:
        return True
    if isinstance(given, tuple):  # arrays are the same only by their fingerprint
        return False
    one, other = Path(run.data), Path(spec_of(given))
    if one.exists() and other.exists():
        return one.samefile(other)
    return run.data in (spec_of(given), recorded_name(given)) and {path for path, _ in run.parts} <= set(store.paths)


def indices_of(parts: NDArray[np.str_], split: str) -> NDArray[np.int64]:
    """The indices of the images of one part, or of all. UsageError for a part without images."""
    if split == "all":
        return np.arange(len(parts))
    found = np.flatnonzero(parts == split)
    if not len(found):
        there = [part for part in PARTS if (parts == part).any()]
        raise UsageError(f"the data has no {split} part; it has {', '.join([*there, 'all'])}")
    return found
