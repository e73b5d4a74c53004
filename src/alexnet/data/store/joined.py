"""Concatenation of stores, for users that need images without labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import Pixels
from alexnet.data.store.reader import Store
from alexnet.errors import DataError


@dataclass(eq=False)
class Joined(Store):
    """A view of several stores as one."""

    stores: tuple[Store, ...] = ()

    @cached_property
    def digests(self) -> list[str]:
        """As `Store.digests`."""
        return [each for store in self.stores for each in store.digests]

    def images(self, indices: NDArray[Any] | slice) -> Pixels:
        """As `Store.images`."""
        rows = np.arange(len(self))[indices]
        return np.stack(self.mapped(rows)) if len(rows) else np.empty((0, self.size, self.size, 3), np.uint8)

    def mapped(self, indices: NDArray[np.int64]) -> Sequence[Pixels]:
        """As `Store.mapped`."""
        rows = np.arange(len(self))[indices]
        firsts = np.cumsum([0, *(len(store) for store in self.stores)])
        numbers = np.searchsorted(firsts, rows, side="right") - 1
        images: list[Pixels] = [np.empty(0, np.uint8)] * len(rows)
        for number, store in enumerate(self.stores):
            here = np.flatnonzero(numbers == number)
            for place, image in zip(here, store.mapped(rows[here] - firsts[number]), strict=True):
                images[place] = image
        return images


def join(stores: Sequence[Store]) -> Store:
    """Concatenate stores: all images of one class, given splits kept.

    Raises DataError if their images differ in form.
    """
    first = stores[0]
    for store in stores:
        if store.size != first.size:
            raise DataError(
                f"{store.name} has images of {store.size} px a side, {first.name} of {first.size}; give --store-size"
            )
        if store.form != first.form:
            raise DataError(f"{store.name} has images of {store.form}, {first.name} of {first.form}; pack them alike")
    return Joined(
        folder=first.folder,
        name=" + ".join(store.name for store in stores),
        fingerprint=" + ".join(store.fingerprint for store in stores),
        size=first.size,
        class_names=["image"],
        fractions=first.fractions,
        paths=[path for store in stores for path in store.paths],
        labels=np.zeros(sum(map(len, stores)), np.int64),
        splits=np.concatenate([store.splits for store in stores]),
        skipped=[skip for store in stores for skip in store.skipped],
        shard_rows=first.shard_rows,
        content=" + ".join(store.content for store in stores),
        fit=first.fit,
        value_range=first.value_range,
        exact=first.exact,
        stores=tuple(stores),
    )


def without_twins(store: Store, rows: NDArray[np.int64], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows whose images equal, pixel for pixel, none of the images of the rows `kept`."""
    if not len(rows) or not len(kept):
        return rows
    digests = store.digests
    aside = {digests[row] for row in kept}
    return rows[[digests[row] not in aside for row in rows]]
