"""What one kind of training is: the protocol that the loop works by, and what all kinds share.

`alexnet.training.supervised` and `alexnet.pretraining.task` implement it. N images a batch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.augment import Augmentation
from alexnet.data.form import Form
from alexnet.data.loader import Batch, Loader
from alexnet.data.preprocess import Preprocessing
from alexnet.data.splits import PARTS
from alexnet.data.store import Store
from alexnet.data.workers import cores
from alexnet.networks.layers import Network
from alexnet.processes.together import Together
from alexnet.runs.checkpoint import Progress
from alexnet.runs.folder import RunFolder, SplitRow
from alexnet.training.saving import Saver
from alexnet.training.settings import Recipe
from alexnet.training.working import WorkingWeights

SHOWN = 16  # images in samples.png
MOST_WORKERS = 8  # threads that prepare batches for a GPU


@dataclass(kw_only=True)
class State:
    """What every kind of training works with; made from its settings and its data alone."""

    recipe: Recipe
    loader: Loader
    parts: dict[str, NDArray[np.int64]]  # "train", "val", "test" -> rows of the store
    network: Network
    average: Network | None  # moving average of the weights
    working: WorkingWeights
    optimizer: torch.optim.Optimizer
    device: torch.device
    dtype: torch.dtype
    path: Path = Path()  # the run's folder
    together: Together = field(default_factory=Together)  # the processes that train it

    @property
    def folder(self) -> RunFolder:
        """The run's files."""
        return RunFolder(self.path)


class Task(Protocol):
    """One kind of training. The loop calls the methods in the order in which they stand here."""

    command: ClassVar[str]  # the command that makes and resumes such runs
    score_name: ClassVar[str]  # name of a step's second number in the progress bar
    state: State

    def begin(self) -> None:
        """Write what stands before the first step: split.csv, samples.png."""

    def begin_epoch(self, epoch: int) -> None:
        """Get ready for the steps of an epoch, counted from 0."""

    def image_size(self, epoch: int) -> int:
        """Pixels a side of this epoch's images."""

    def step(self, batch: Batch, epoch: int, step: int) -> Tensor:
        """Take one step. Returns its numbers, which `told` understands, on the device and not waited for."""

    def told(self, numbers: Sequence[float], epoch: int, step: int) -> tuple[float, float]:
        """The step's mean loss, and its score summed over the images; Diverged where they are not finite."""

    def row(self, progress: Progress, speed: float) -> dict[str, Any]:
        """The row of metrics.csv for the epoch, once its steps are taken. speed: images/s."""

    def evaluate(self) -> dict[str, float]:
        """Further columns of the row, measured every `evaluate_every` epochs and in the last one."""

    def keep(self, progress: Progress, row: Mapping[str, Any], saver: Saver) -> None:
        """Hand the weights that the run is known by to `saver`, if this epoch's are better than those kept."""

    def log(self, progress: Progress) -> None:
        """Write metrics.csv and whatever else follows an epoch."""

    def finish(self, progress: Progress) -> None:
        """Evaluate what the run came to; write metrics.json and the pictures."""


def build_loader(
    store: Store, rows: NDArray[np.int64], network: Network, recipe: Recipe, device: torch.device, dtype: torch.dtype
) -> Loader:
    """The recipe's batches of these rows of the store."""
    return Loader(
        store,
        rows,
        recipe.batch_size,
        preprocessing_of(network, recipe, store.form),
        augmentation_of(recipe),
        seed=recipe.seed,
        balanced=recipe.balance == "sampling",
        workers=workers_of(recipe, device),
        device=device,
        dtype=dtype,
    )


def preprocessing_of(network: Network, recipe: Recipe, form: Form) -> Preprocessing:
    """The network's own constants at the recipe's sizes; without a resize, in the network's own proportion.

    form: of the stored images.
    """
    size = network.input_size
    resize = recipe.resize or round(size * network.resize / type(network).input_size)
    return Preprocessing(size, resize, network.mean, network.std, form.size, form.fit, form.value_range, form.exact)


def augmentation_of(recipe: Recipe) -> Augmentation:
    """The recipe's augmentation settings."""
    settings = {each.name: getattr(recipe, each.name) for each in dataclasses.fields(Augmentation)[1:]}
    return Augmentation(recipe.augmentations, **settings)


def workers_of(recipe: Recipe, device: torch.device) -> int:
    """Threads that prepare batches: beside a GPU one a core; beside the processor they would take cores from the step.

    Each holds a batch in memory, so that there are MOST_WORKERS at most.
    """
    if recipe.workers is not None:
        return recipe.workers
    return max(1, min(MOST_WORKERS, cores())) if device.type == "cuda" else 0


def write_split(state: State, labels: Sequence[str] | None) -> None:
    """Write split.csv. labels: the class name of each row of the store; None where labels are not read."""
    part_of = {int(row): part for part in PARTS for row in state.parts[part]}
    paths, digests = state.loader.store.paths, state.loader.store.digests
    names = [""] * len(paths) if labels is None else labels
    rows = (SplitRow(paths[row], names[row], part_of[row], digests[row]) for row in sorted(part_of))
    state.folder.write_split(rows, labelled=labels is not None)


def draw_samples(state: State, batch: Batch, titles: list[str] | None) -> None:
    """Write samples.png: images of the batch as the network sees them."""
    from alexnet.plots import pictures  # matplotlib takes half a second to import

    preprocessing, images = state.loader.preprocessing, batch.images[:SHOWN].float().cpu()
    pictures.samples(images, preprocessing.mean, preprocessing.std, titles, state.path / "samples.png")
