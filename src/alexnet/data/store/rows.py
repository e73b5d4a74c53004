"""Images that are rows of arrays, handed on without a view of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import Pixels


@dataclass(frozen=True, eq=False)
class Rows(Sequence[Pixels]):
    """N images, uint8 (S, S, 3); `alexnet.ops.views.render` takes them by their addresses."""

    arrays: Sequence[Pixels]  # each uint8 (R, S, S, 3), contiguous
    which: NDArray[np.int64]  # (N,): of the arrays
    row: NDArray[np.int64]  # (N,): of that array, from 0 to R - 1

    def __len__(self) -> int:
        return len(self.row)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> "Pixels | Rows":
        """A view of one image, or some of the images."""
        if isinstance(index, slice):
            return Rows(self.arrays, self.which[index], self.row[index])
        image: Pixels = self.arrays[self.which[index]][self.row[index]]
        return image

    def shapes(self) -> set[tuple[int, ...]]:
        """Of all images."""
        return {array.shape[1:] for array in self.arrays}

    def addresses(self) -> NDArray[np.uint64]:
        """uint64 (N,): where each image begins in memory."""
        starts = np.array([array.ctypes.data for array in self.arrays], np.uint64)
        steps = np.array([array.strides[0] for array in self.arrays], np.int64)
        return starts[self.which] + (steps[self.which] * self.row).astype(np.uint64)
