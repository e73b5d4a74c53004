"""Some rows of a store, in an order of their own, read as a store."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import Pixels
from alexnet.data.store.reader import Store


@dataclass(eq=False, kw_only=True)
class Selected(Store):
    """A view of some rows of a store."""

    base: Store
    rows: NDArray[np.int64]  # of the base

    @cached_property
    def digests(self) -> list[str]:
        """As `Store.digests`."""
        return [self.base.digests[row] for row in self.rows]

    def images(self, indices: NDArray[Any] | slice) -> Pixels:
        """As `Store.images`."""
        return self.base.images(self.rows[indices])

    def mapped(self, indices: NDArray[np.int64]) -> Sequence[Pixels]:
        """As `Store.mapped`."""
        return self.base.mapped(self.rows[indices])

    def expect(self, indices: NDArray[np.int64]) -> None:
        """As `Store.expect`."""
        self.base.expect(self.rows[indices])


def select(store: Store, rows: NDArray[np.int64], class_names: Sequence[str] | None = None) -> Store:
    """The rows of a store, in this order; the store itself if that is all of it as it is.

    class_names: those that are kept, among them every class of the rows; None for all.
    """
    names = list(store.class_names if class_names is None else class_names)
    if np.array_equal(rows, np.arange(len(store))) and names == store.class_names:
        return store
    label_of = {name: label for label, name in enumerate(names)}
    same = {each.name: getattr(store, each.name) for each in fields(Store)}
    changed = {
        "class_names": names,
        "paths": [store.paths[row] for row in rows],
        "labels": np.array([label_of[store.class_names[store.labels[row]]] for row in rows], np.int64),
        "splits": store.splits[rows],
    }
    return Selected(**{**same, **changed}, base=store, rows=rows)
