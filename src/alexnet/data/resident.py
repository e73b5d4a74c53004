"""The training images in a GPU's memory, where they fit.

3 bytes a pixel: 1,360 photos of 256 px take .3 GB, 100,000 take 20 GB, ImageNet 252 GB. N images of S x S pixels.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.store.reader import Store

SHARE = 0.5  # of the free memory; the rest is for the maps of a step
TOGETHER = 1024  # images sent at once

logger = logging.getLogger(__name__)


class Resident:
    """Some images of a store on a device."""

    def __init__(self, store: Store, rows: NDArray[np.int64], device: torch.device) -> None:
        """rows: of the store, in any order, each once or more often."""
        self._rows = np.unique(rows)
        self.images = torch.empty(len(self._rows), store.size, store.size, 3, dtype=torch.uint8, device=device)
        for first in range(0, len(self._rows), TOGETHER):
            part = self._rows[first : first + TOGETHER]
            self.images[first : first + len(part)].copy_(torch.from_numpy(store.images(part)))

    def places(self, rows: NDArray[np.int64]) -> Tensor:
        """int64 (N,), on the processor: where rows of the store lie in `images`; KeyError for one that is not there."""
        places = np.searchsorted(self._rows, rows)
        if not (self._rows[places.clip(max=len(self._rows) - 1)] == rows).all():
            raise KeyError("a row of the store is not among those on the device")
        return torch.from_numpy(places.astype(np.int64))


def resident(store: Store, rows: NDArray[np.int64], device: torch.device) -> Resident | None:
    """The images on the GPU, or None where they take more than half of its free memory; says which, once."""
    free, _ = torch.cuda.mem_get_info(device)
    needed = len(np.unique(rows)) * 3 * store.size**2
    if needed > SHARE * free:
        logger.info(
            "%s: the %.1f GB of training images are sent to %s batch by batch; %.1f GB of its memory are free",
            *(store.name, needed / 1e9, device, free / 1e9),
        )
        return None
    logger.info("%s: the %.2f GB of training images are kept on %s", store.name, needed / 1e9, device)
    return Resident(store, rows, device)
