"""The data of an interrupted run found again: by the pixels of its images, whatever their place, names and times."""

import dataclasses
import logging
import re
import shlex
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alexnet.data.sources import IMAGENET, Data, recorded_name
from alexnet.data.splits import PARTS
from alexnet.data.store import Store
from alexnet.data.store.selected import select
from alexnet.errors import DataError
from alexnet.runs.folder import Config, RunFolder, SplitRow
from alexnet.training.task import State

logger = logging.getLogger(__name__)


def moved(error: DataError, config: Config, folder: Path) -> DataError:
    """The error of opening a run's data, with what to do where the data is no longer at its place."""
    place = Path(re.split(r",|:(?![\\/])", config.data.removeprefix(IMAGENET))[0])  # tables: "a.csv,b.csv:column"
    if not place.is_absolute() or place.exists():  # a known name has no place
        return error
    command = f"alexnet {config.kind} --resume {shlex.quote(str(folder))} --data FOLDER"
    return DataError(f"{error}; if the data has moved, say where it lies now: {command}")


def recorded_rows(folder: Path) -> list[SplitRow]:
    """The rows of split.csv; none if the run did not get as far, or if an earlier version wrote no digests."""
    run = RunFolder(folder)
    rows = run.read_split() if (run.path / "split.csv").is_file() else []
    return rows if all(row.digest for row in rows) else []


def same_images(store: Store, config: Config, folder: Path) -> Store:
    """The run's own images among those of a store, in the run's order: a view where there are others or other names.

    Images are known by pixels and label; runs of earlier versions know them by the files' state alone. DataError where
    one is missing.
    """
    rows = recorded_rows(folder)
    found, missing = _places(store, rows)
    if rows and not missing:
        return store if config.recipe.get("train_images") is not None else _selected(store, rows, found)
    if store.fingerprint == config.fingerprint:
        if missing:
            logger.warning("this version reads %d of the run's images as other pixels than the run began with", missing)
        return store
    raise changed(config, folder, missing, len(rows))


def changed(config: Config, folder: Path, missing: int = 0, count: int = 0) -> DataError:
    """The error for data that is not what the run began with."""
    which = f": {missing:,} of its {count:,} images are missing or have other pixels or labels" if missing else ""
    return DataError(
        f"the data {config.data} has changed since the run {folder} began{which}; "
        "put it back as it was, say with --data where the unchanged images lie, or start anew"
    )


def check_same_parts(state: State, config: Config, folder: Path) -> None:
    """DataError where the data divides into other images, or into other parts, than the run recorded."""
    digests = state.loader.store.digests
    part_of = {int(row): part for part in PARTS for row in state.parts[part]}
    now = [(digests[row], part_of[row]) for row in sorted(part_of)]
    rows = recorded_rows(folder)
    if state.loader.store.fingerprint != config.fingerprint and now != [(row.digest, row.split) for row in rows]:
        raise changed(config, folder)


def keep_place(config: Config, data: Data | None, store: Store, folder: Path) -> None:
    """Write into config.json where the run's data lies now, if that is new."""
    place = config.data if data is None else recorded_name(data)
    if (place, store.fingerprint) != (config.data, config.fingerprint):
        logger.info("the run's images are those of %s, known by their pixels", place)
        RunFolder(folder).write_config(dataclasses.replace(config, data=place, fingerprint=store.fingerprint))


def _places(store: Store, rows: Sequence[SplitRow]) -> tuple[list[int], int]:
    """The store's row for each recorded image, and how many have none; of equal ones that of the same path first."""
    here: defaultdict[tuple[str, str], deque[int]] = defaultdict(deque)
    for row, digest in enumerate(store.digests if rows else []):
        here[digest, store.class_names[store.labels[row]]].append(row)
    found, missing = [], 0
    for each in rows:
        equal = here[each.digest, each.label]
        same = next((row for row in equal if store.paths[row] == each.path), equal[0] if equal else None)
        if same is None:
            missing += 1
        else:
            equal.remove(same)
            found.append(same)
    return found, missing


def _selected(store: Store, rows: Sequence[SplitRow], found: Sequence[int]) -> Store:
    names = {row.label for row in rows}
    if len(found) < len(store):
        logger.info("%s images are new since the run began: they are left out", f"{len(store) - len(found):,}")
    return select(store, np.array(found), [name for name in store.class_names if name in names])
