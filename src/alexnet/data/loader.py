"""The order of samples and the batches that a training step takes, resumable at any step.

N images a batch, K classes. Everything is a function of (seed, epoch, step): nothing depends on the number of threads
or on what was loaded before.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.augment import Augmentation, SampleRandom, augment
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store.reader import Store
from alexnet.errors import UsageError


@dataclass(frozen=True)
class Batch:
    """What one training step takes."""

    images: Tensor  # (N, 3, size, size), channels last, normalized
    targets: Tensor  # float32 (N, K), rows summing to one
    labels: Tensor  # int64 (N,), before mixing


@dataclass(frozen=True)
class Loader:
    """Training batches of one store.

    indices: rows of the store that are trained on. An epoch visits each once in a new order (or, balanced, as many
    images drawn so that every class is as likely); what does not fill a batch is left for another epoch.
    """

    store: Store
    indices: NDArray[np.int64]
    batch_size: int
    preprocessing: Preprocessing
    augmentation: Augmentation
    seed: int = 0
    balanced: bool = False
    workers: int = 0
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a torch.device cannot be changed
    dtype: torch.dtype = torch.float32  # of the images

    def __post_init__(self) -> None:
        check_batch(len(self.indices), self.batch_size)

    def __len__(self) -> int:
        """Steps an epoch."""
        return len(self.indices) // self.batch_size

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of the store in the order in which this epoch visits them."""
        random = np.random.default_rng([self.seed, epoch])
        if not self.balanced:
            return self.indices[random.permutation(len(self.indices))]
        labels = self.store.labels[self.indices]
        chance = 1.0 / np.bincount(labels)[labels]
        return random.choice(self.indices, size=len(self.indices), p=chance / chance.sum())

    def batch(self, rows: NDArray[np.int64], epoch: int, position: int, size: int, mix: bool = True) -> Batch:
        """The batch of these rows of the store; position: that of its first row within the epoch."""
        images = self.store.mapped(rows)
        labels = torch.from_numpy(self.store.labels[rows]).to(self.device)
        targets = F.one_hot(labels, len(self.store.class_names)).float()
        # A balanced epoch can visit an image twice: its place in the epoch tells the visits apart.
        streams = position + np.arange(len(rows)) if self.balanced else rows
        random = SampleRandom(self.seed, epoch, streams)
        settings = (self.augmentation, self.preprocessing, size, mix, self.dtype, self.device)
        return Batch(*augment(images, targets, random, *settings), labels)

    def batches(self, epoch: int, start: int = 0, size: int | None = None, mix: bool = True) -> Iterator[Batch]:
        """The epoch's batches from step `start` on, prepared ahead by `workers` threads; by none, each when it is due.

        size: pixels a side, the preprocessing's input size unless given; mix: whether mixup and cutmix apply.
        """
        order, size = self.order(epoch), size or self.preprocessing.input_size
        firsts = range(start * self.batch_size, len(self) * self.batch_size, self.batch_size)
        jobs = ((order[first : first + self.batch_size], epoch, first, size, mix) for first in firsts)
        return self._ahead(jobs) if self.workers else (self.batch(*job) for job in jobs)

    def _ahead(self, jobs: Iterable[tuple[NDArray[np.int64], int, int, int, bool]]) -> Iterator[Batch]:
        ahead: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for job in jobs:
                    ahead.append(pool.submit(self.batch, *job))
                    if len(ahead) > self.workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()


def check_batch(images: int, batch_size: int) -> None:
    """UsageError where there are fewer training images than a batch takes."""
    if batch_size > images:
        raise UsageError(
            f"batch size {batch_size} is larger than the {images} training images; take --batch-size {images} or less"
        )
