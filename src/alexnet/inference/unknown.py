"""How well a model tells 'none of these': own images that it loses, foreign ones that it catches; sets of classes."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import ImageSource, Pixels
from alexnet.data.sources import Data, open_images
from alexnet.data.splits import evenly_spaced
from alexnet.data.store import Store
from alexnet.errors import DataError, UsageError
from alexnet.evaluation.metrics import wilson_interval
from alexnet.inference.answers import BATCH, Answering

CALIBRATE = "calibrate its run, which needs held-out images: alexnet calibrate RUN"
MOST = 2000  # foreign images that are looked at, evenly spaced: an interval of 4.4 points at most

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Called:
    """How many of some images are taken for none of the classes."""

    data: str
    images: int
    unknown: int
    unreadable: int = 0  # images that are not among them

    @property
    def share(self) -> float:
        """Of the images, 0..1."""
        return self.unknown / self.images

    def to_json(self) -> dict[str, Any]:
        """The fields with the share and its 95 % confidence interval (Wilson)."""
        return {**vars(self), "share": self.share, "interval": list(wilson_interval(self.unknown, self.images))}


def of_own(
    model: Answering, data: str, store: Store, rows: NDArray[np.int64], progress: Progress | None = None
) -> Called:
    """The images of the classes, rows of a store, that are taken for none of them. UsageError for no calibration."""
    scores = []
    for start in range(0, len(rows), BATCH):
        scores.append(_scores(model, store.mapped(rows[start : start + BATCH])))
        if progress:
            progress(min(start + BATCH, len(rows)), len(rows))
    return Called(data, len(rows), int((np.concatenate(scores) > 1).sum()))


def of_foreign(model: Answering, data: Data, progress: Progress | None = None) -> Called:
    """The images of another data set, at most MOST of them, that are taken for none of the classes.

    data: as for `alexnet.data.sources.open_images`; labels have no part in it. Images that cannot be read are counted.
    DataError where none can be read, UsageError for a model without a calibration.
    """
    check_tells(model)
    source = open_images(data)
    rows = evenly_spaced(len(source.samples), MOST)
    if len(rows) < len(source.samples):
        logger.info(
            "%s: %d of %s images, evenly spaced, are looked at", source.name, len(rows), f"{len(source.samples):,}"
        )
    scores, unreadable = list[NDArray[np.float32]](), 0
    for start in range(0, len(rows), BATCH):
        batch = next(model.batches(_read(source.read, rows[start : start + BATCH]), BATCH))
        stored = [image.pixels for image in batch if image.pixels is not None]
        unreadable += len(batch) - len(stored)
        scores += [_scores(model, stored)] if stored else []
        if progress:
            progress(min(start + BATCH, len(rows)), len(rows))
    if not scores:
        raise DataError(f"{source.name}: none of its {unreadable} images can be read; give other ones")
    found = np.concatenate(scores)
    return Called(source.name, len(found), int((found > 1).sum()), unreadable)


def check_tells(model: Answering) -> None:
    """UsageError for a model that cannot tell 'none of these', found by an image of zeros."""
    _scores(model, [np.zeros((model.form.size, model.form.size, 3), np.uint8)])


def _read(read: Callable[[int], ImageSource], rows: NDArray[np.int64]) -> Iterator[Any]:
    return (read(int(row)) for row in rows)


def _scores(model: Answering, stored: Sequence[Pixels]) -> NDArray[np.float32]:
    found = model.answers(stored).unknown
    if found is None:
        raise UsageError(f"{model.name} is not calibrated to tell 'none of these'; {CALIBRATE}")
    return found


def of_sets(held: NDArray[np.bool_], labels: NDArray[np.int64], coverage: float) -> dict[str, Any]:
    """How sets of classes, bool (N, K), do on images of known classes, (N,): shares are 0..1.

    Keys: asked; covered, the share of sets with the right class; interval, its 95 % confidence interval; classes, their
    mean number; one, the share of sets of one class.
    """
    covered, sizes = held[np.arange(len(labels)), labels], held.sum(1)
    return {
        "asked": coverage,
        "covered": float(covered.mean()),
        "interval": list(wilson_interval(int(covered.sum()), len(labels))),
        "classes": float(sizes.mean()),
        "one": float((sizes == 1).mean()),
    }
