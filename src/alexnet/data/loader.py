"""The order of samples and the batches that a training step takes, resumable at any step.

N images a batch, K classes. Everything is a function of (seed, epoch, step): nothing depends on the number of threads
or of processes, or on what was loaded before.

Mixup and CutMix: the epoch's order is a random permutation, a function of (seed, epoch). Step s takes its positions
s * B ... s * B + B - 1, B being the batch size over all processes, and position s * B + n is mixed with position
s * B + B - 1 - n: a pairing of random images. Of K processes each takes whole pairs, so that every image is mixed with
the same partner as in one process, and none is rendered twice.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.augment import Augmentation, SampleRandom, augment, draw, mix_targets
from alexnet.data.carrying import GpuCarrier, carried
from alexnet.data.preprocess import Preprocessing
from alexnet.data.resident import Resident, resident
from alexnet.data.store.reader import Store
from alexnet.errors import UsageError
from alexnet.ops import native
from alexnet.ops.gpu_views import Orders, gathered, over_tensors, pinned, renders
from alexnet.ops.views import check_parts, rendered_by_processor

B = TypeVar("B")
S = TypeVar("S")
TOGETHER = 1024
"""Images whose views are drawn and sent together where a GPU holds the images: Python asks once for each group."""


@dataclass(frozen=True)
class Batch:
    """What one training step takes."""

    images: Tensor  # (N, 3, size, size), channels last, normalized
    targets: Tensor  # float32 (N, K), rows summing to one
    labels: Tensor  # int64 (N,), before mixing


@dataclass(frozen=True)
class Ordered:
    """Batches that a GPU is to render, N images in all, one batch after the other."""

    orders: Orders
    images: Tensor | None  # uint8 (N, S, S, 3), unless the GPU holds them
    places: Tensor  # int64 (N,): of each view's image in `images`, or in what the GPU holds
    labels: Tensor  # as in Batch
    visible: Tensor | None  # float32 (N,): of each mixed image the fraction that it is itself; None where none is mixed


@dataclass(frozen=True)
class Loader:
    """Training batches of one store.

    indices: rows of the store that are trained on. An epoch visits each once in a new order (or, balanced, as many
    images drawn so that every class is as likely); images left over after the last whole batch are left out.
    batch_size: images a step over all processes; with several processes a multiple of twice their number.
    """

    store: Store
    indices: NDArray[np.int64]
    batch_size: int
    preprocessing: Preprocessing
    augmentation: Augmentation
    seed: int = 0
    balanced: bool = False
    workers: int = 0  # threads that prepare batches ahead; 0: each batch is prepared when it is due
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a torch.device cannot be changed
    dtype: torch.dtype = torch.float32  # of the images
    rank: int = 0  # of this process, 0 ... ranks - 1
    ranks: int = 1  # processes that train together

    def __post_init__(self) -> None:
        check_batch(len(self.indices), self.batch_size, self.ranks)

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

    def positions(self, step: int) -> NDArray[np.int64]:
        """The positions in the epoch's order of this process's images, batch_size / ranks of them.

        Image n of the batch and image N - 1 - n, its partner in mixing, are the same distance from either end of the
        step's positions.
        """
        return step * self.batch_size + places(self.batch_size, self.rank, self.ranks)

    def batches(self, epoch: int, start: int = 0, size: int | None = None, mix: bool = True) -> Iterator[Batch]:
        """The epoch's batches from step `start` on.

        size: pixels a side, the preprocessing's input size unless given; mix: whether mixup and CutMix apply.
        """
        size = size or self.preprocessing.input_size
        given: dict[str, Any] = {"epoch": epoch, "order": self.order(epoch), "size": size, "mix": mix}
        steps = range(start, len(self))
        if self.renders_there:
            together = 1 if self.resident is None else max(1, TOGETHER // self.batch_size)
            # Beside a thread that draws, one that asks the GPU for a step waits for Python's lock: one is enough.
            threads = self.workers if self.resident is None else min(self.workers, 1)
            ordered = self._prepared(partial(self._ordered, **given), groups_of(steps, together), threads)
            return self._all_rendered(carried(ordered, GpuCarrier(self.device)))
        prepared = self._prepared(partial(self._batch, **given), steps, self.workers)
        return carried(prepared, GpuCarrier(self.device)) if self.carries else prepared

    def _prepared(self, make: Callable[[S], B], steps: Iterable[S], threads: int) -> Generator[B]:
        """What is made of these steps, or groups of them, by threads where there are some."""
        return self._ahead(make, steps, threads) if threads else (make(step) for step in steps)

    @property
    def renders_there(self) -> bool:
        """Whether a GPU renders the batches, of stored images that it holds or is sent."""
        return renders(self.device, self.dtype)

    @cached_property
    def resident(self) -> Resident | None:
        """The images in the memory of the GPU that renders them; None where they do not fit."""
        return resident(self.store, self.indices, self.device)

    @property
    def carries(self) -> bool:
        """Whether a GPU's batches are prepared in the processor's memory and then copied."""
        return self.device.type == "cuda" and (self.renders_there or rendered_by_processor(self.device, self.dtype))

    def _batch(self, step: int, *, epoch: int, order: NDArray[np.int64], size: int, mix: bool) -> Batch:
        positions = self.positions(step)
        rows = order[positions]
        where = torch.device("cpu") if self.carries else self.device
        labels = torch.from_numpy(self.store.labels[rows]).to(where)
        images, targets = augment(
            self.store.mapped(rows),
            F.one_hot(labels, len(self.store.class_names)).float(),
            # A balanced epoch can visit an image twice: its position in the epoch tells the visits apart.
            SampleRandom(self.seed, epoch, positions if self.balanced else rows),
            self.augmentation,
            self.preprocessing,
            size=size,
            mix=mix,
            dtype=self.dtype,
            device=where,
            pinned=self.carries,
        )
        return Batch(images, *(each.pin_memory() if self.carries else each for each in (targets, labels)))

    def _ordered(self, steps: range, *, epoch: int, order: NDArray[np.int64], size: int, mix: bool) -> "Ordered":
        """The batches of these steps as a GPU is sent them: what `_batch` renders is to be rendered there."""
        positions = np.concatenate([self.positions(step) for step in steps])
        rows = order[positions]
        if self.reads_ahead:
            self.store.expect(order[self.positions(min(steps[-1] + self.workers, len(self) - 1))])
        random = SampleRandom(self.seed, epoch, positions if self.balanced else rows)
        drawn = draw(self.store.size, random, self.augmentation, self.preprocessing, size, mix)
        check_parts(drawn.shown, self.store.size)
        labels = torch.from_numpy(self.store.labels[rows])
        visible = None if drawn.how is None else drawn.how.visible(size)
        images = gathered(self.store.mapped(rows)) if self.resident is None else None
        places = torch.arange(len(rows)) if self.resident is None else self.resident.places(rows)
        orders = Orders.of(drawn.shown, drawn.colors, size, drawn.noise, drawn.how)
        return over_tensors(Ordered(orders, images, places, labels, visible), pinned)

    def _all_rendered(self, ordered: Generator["Ordered"]) -> Generator[Batch]:
        """The batches; what is left of them is let go at once where nobody takes it."""
        with closing(ordered):
            for each in ordered:
                for first in range(0, len(each.places), self.batch_size // self.ranks):
                    yield self._rendered(each, first)

    def _rendered(self, ordered: "Ordered", first: int = 0) -> Batch:
        """The batch whose images begin with number `first` of these, on the device where they lie."""
        end = first + self.batch_size // self.ranks
        own = over_tensors(replace(ordered, images=None), lambda each: each[first:end])
        images = ordered.images if self.resident is None else self.resident.images
        assert images is not None
        targets = F.one_hot(own.labels, len(self.store.class_names)).float()
        if own.visible is not None:
            targets = mix_targets(targets, own.visible)
        return Batch(own.orders.render(images, own.places, self.dtype), targets, own.labels)

    @cached_property
    def reads_ahead(self) -> bool:
        """Whether the images come from a disk: there are threads to wait for it, and more bytes than memory keeps."""
        return self.workers > 0 and self.resident is None and not self.store.fits_in_memory()

    def _ahead(self, make: Callable[[S], B], steps: Iterable[S], threads: int) -> Generator[B]:
        """What is made of these steps, in order, prepared by `threads` threads that share the cores."""
        ahead: deque[Future[B]] = deque()
        share = max(1, torch.get_num_threads() // threads)
        with ThreadPoolExecutor(threads, initializer=native.limit_threads, initargs=(share,)) as pool:
            try:
                for step in steps:
                    ahead.append(pool.submit(make, step))
                    if len(ahead) > threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()


def groups_of(steps: range, most: int) -> Iterator[range]:
    """The steps in groups of up to `most`, the first of one, so that it is soon there, each next twice as large."""
    size = 1
    while steps:
        yield steps[:size]
        steps, size = steps[size:], min(2 * size, most)


def places(batch_size: int, rank: int, ranks: int) -> NDArray[np.int64]:
    """The places within a batch of the images that process `rank` of `ranks` takes, in its order."""
    if ranks == 1:
        return np.arange(batch_size)
    pairs = batch_size // (2 * ranks)
    ahead = np.arange(rank * pairs, (rank + 1) * pairs)
    return np.concatenate([ahead, batch_size - 1 - ahead[::-1]])


def check_batch(images: int, batch_size: int, ranks: int = 1) -> None:
    """UsageError for a batch size above the number of training images, or that several processes cannot share."""
    if batch_size > images:
        raise UsageError(
            f"batch size {batch_size} is larger than the {images} training images; take --batch-size {images} or less"
        )
    pairs = 2 * ranks
    if ranks > 1 and batch_size % pairs:
        raise UsageError(
            f"batch size {batch_size} with {ranks} processes; a multiple of {pairs} is needed, so that each process "
            f"takes as many whole pairs of images: take --batch-size {max(pairs, batch_size // pairs * pairs)}"
        )
