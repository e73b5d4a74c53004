"""The training loop: take a batch, take a step, maybe save, maybe evaluate, in the order in which it happens.

N images a batch, K classes.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alexnet.console import Report, say
from alexnet.data.loader import Batch, Loader
from alexnet.errors import Diverged, Interrupted
from alexnet.evaluation.metrics import metrics
from alexnet.evaluation.predict import probabilities
from alexnet.networks.layers import Network
from alexnet.runs.checkpoint import Progress, save_checkpoint
from alexnet.training.initial import training_mode
from alexnet.training.optimizer import learning_rate, set_learning_rate, update_average
from alexnet.training.settings import Recipe
from alexnet.training.working import WorkingWeights

SIZE_STEP = 16  # pixels
GROWN = 0.8  # share of the run after which the training size has reached its last value
NOT_LEARNING = 0.99  # a mean loss above this share of ln K is that of guessing


@dataclass
class Run:
    """Everything that a run works with; made from its recipe and its data alone."""

    recipe: Recipe
    loader: Loader
    parts: dict[str, NDArray[np.int64]]  # "train", "val", "test" -> rows of the store
    network: Network
    average: Network | None
    working: WorkingWeights
    optimizer: torch.optim.Optimizer
    device: torch.device
    dtype: torch.dtype
    class_weights: Tensor | None
    folder: Path = Path()  # where it writes
    initialised: list[str] = field(default_factory=list)  # the layers that were taken from another run

    @property
    def kept(self) -> Network:
        """The network whose weights are evaluated and kept: the moving average where there is one."""
        return self.average if self.average is not None else self.network

    @property
    def watched(self) -> str | None:
        """The part that is evaluated during training: validation, or else test, which then only is looked at."""
        return next((part for part in ("val", "test") if len(self.parts[part])), None)

    # What a step and an epoch are: pre-training has others.

    command = "train"  # the command that makes and resumes such runs
    counted = "accuracy"  # what the second number of a step is a sum of

    def begin(self, epoch: int) -> None:
        """Make ready for the steps of an epoch."""
        training_mode(self.network)

    def size(self, epoch: int) -> int:
        """Pixels a side of this epoch's images."""
        return train_size(self, epoch)

    def take(self, batch: Batch, epoch: int, step: int) -> tuple[float, float]:
        """Take one step: the batch's mean loss, and a sum over its images that a person is shown the mean of."""
        return train_step(self, batch, epoch, step)

    def row(self, progress: Progress, speed: float) -> dict[str, Any]:
        """The row of metrics.csv for the epoch whose steps are all taken."""
        return epoch_row(self, progress, speed)

    def warn(self, progress: Progress) -> None:
        """Say what is wrong with this run, if anything."""
        warn_if_not_learning(self, progress)


R = TypeVar("R", bound=Run)


def fit(
    run: R,
    progress: Progress,
    stopped: threading.Event,
    keep: Callable[[R, Progress], None],
    log: Callable[[R, Progress], None],
) -> None:
    """Train from `progress` to the recipe's last epoch, or to its training error where it has one.

    keep(run, progress) writes the kept weights; log(run, progress) writes the rows. Once `stopped` is set, a
    checkpoint is saved and Interrupted raised; a loss that is not finite raises Diverged and leaves the last
    checkpoint as it was.
    """
    recipe, steps = run.recipe, len(run.loader)
    with Report(recipe.epochs * steps, progress.epoch * steps + progress.step) as report:
        while not is_over(recipe, progress):
            began, first = time.monotonic(), progress.step
            train_epoch(run, progress, report, stopped)
            seconds = time.monotonic() - began
            row = run.row(progress, (steps - first) * recipe.batch_size / max(seconds, 1e-9))
            progress.epoch, progress.step, progress.loss_sum, progress.correct = progress.epoch + 1, 0, 0.0, 0.0
            last = progress.epoch == recipe.epochs or is_low_enough(recipe, row)
            if progress.epoch % recipe.evaluate_every == 0 or last:
                row |= evaluate(run)
                if is_best(progress, row):
                    progress.best_epoch, progress.best_score = progress.epoch, row.get("val_top1", -1.0)
                    keep(run, progress)
                report.evaluated(row)
            progress.seconds += time.monotonic() - began
            progress.rows.append(row)
            run.warn(progress)
            save_checkpoint(run.folder, progress, run.network, run.average, run.optimizer)
            log(run, progress)
            if stopped.is_set():
                raise _interrupted(run, progress)


def is_over(recipe: Recipe, progress: Progress) -> bool:
    """Whether all epochs are behind this run, or the training error that it was to stop at."""
    return progress.epoch >= recipe.epochs or (bool(progress.rows) and is_low_enough(recipe, progress.rows[-1]))


def is_low_enough(recipe: Recipe, row: dict[str, Any]) -> bool:
    """Whether the epoch of this row reached `stop_train_error`.

    The error is the share of the epoch's images that were named wrongly when they were trained on, as cuda-convnet
    reports it: a mean over the epoch, of weights that still changed.
    """
    return recipe.stop_train_error is not None and 1 - row["train_top1"] <= recipe.stop_train_error


def train_epoch(run: Run, progress: Progress, report: Report, stopped: threading.Event) -> None:
    """Take the steps of the epoch that are still to be taken."""
    recipe, steps = run.recipe, len(run.loader)
    began = saved = time.monotonic()
    run.begin(progress.epoch)
    mix = progress.epoch < recipe.mix_stop * recipe.epochs
    first = progress.step
    for batch in run.loader.batches(progress.epoch, first, run.size(progress.epoch), mix):
        loss, correct = run.take(batch, progress.epoch, progress.step)
        progress.step += 1
        progress.loss_sum += loss
        progress.correct += correct
        now, seen = time.monotonic(), progress.step * recipe.batch_size
        speed = (progress.step - first) * recipe.batch_size / (now - began)
        epoch = f"{progress.epoch + 1}/{recipe.epochs}"
        report.step(epoch, speed, progress.loss_sum / progress.step, progress.correct / seen, run.counted)
        due = now - saved > 60 * recipe.checkpoint_minutes
        if progress.step < steps and (due or stopped.is_set()):
            progress.seconds += now - began
            save_checkpoint(run.folder, progress, run.network, run.average, run.optimizer)
            progress.seconds -= now - began
            saved = now
            if stopped.is_set():
                raise _interrupted(run, progress)


def train_step(run: Run, batch: Batch, epoch: int, step: int) -> tuple[float, float]:
    """One step. Returns the batch's mean loss and the number of its images whose likeliest class was the target's."""
    recipe, taken = run.recipe, epoch * len(run.loader) + step
    torch.manual_seed(recipe.seed * 2**32 + taken)  # dropout is a function of (seed, step), resumed or not
    set_learning_rate(run.optimizer, learning_rate(recipe, taken / len(run.loader)))
    logits = run.working.logits(batch.images)
    loss = loss_value(recipe, logits, batch.targets, run.class_weights)
    value = loss.item()
    if not math.isfinite(value):
        raise Diverged(
            f"the loss is {value} at epoch {epoch + 1}, step {step + 1}; try a lower --lr (it is {recipe.lr:g}), "
            f"--precision float32, or look at the data with alexnet check; what was saved before is in {run.folder}"
        )
    run.working.backward(loss)
    run.working.step(run.optimizer)
    if run.average is not None:
        update_average(run.average, run.network, recipe.ema, taken)
    correct = (logits.argmax(1) == batch.targets.argmax(1)).sum().item()
    return value, correct


def loss_value(recipe: Recipe, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean loss of float32 logits (N, K) against targets (N, K) that sum to one by row.

    cross_entropy: -sum of target * log softmax. logistic: K independent units with cross-entropy, summed
    (Krizhevsky 2014, section 3).
    """
    if recipe.loss == "logistic":
        return F.binary_cross_entropy_with_logits(logits, targets, class_weights, reduction="sum") / len(logits)
    return F.cross_entropy(logits, targets, class_weights, label_smoothing=recipe.label_smoothing)


def train_size(run: Run, epoch: int) -> int:
    """Pixels a side in this epoch: from the recipe's first scale to its last, linearly (progressive resizing).

    Small images are cheap, and features found on them serve larger ones (Touvron et al. 2019, "Fixing the train-test
    resolution discrepancy": a network is best used on images larger than those it was trained on). Training sizes are
    multiples of SIZE_STEP, so that few shapes have to be planned for, but for the input size itself.
    """
    recipe, whole = run.recipe, run.loader.preprocessing.input_size
    share = min(1.0, epoch / max(GROWN * recipe.epochs, 1))
    scale = recipe.first_train_scale + (recipe.train_scale - recipe.first_train_scale) * share
    least = run.network.least_input
    return whole if scale == 1 else min(whole, max(least, round(scale * whole / SIZE_STEP) * SIZE_STEP))


def evaluate(run: Run) -> dict[str, float]:
    """How good the kept weights are on the watched part, one centre view, as columns of metrics.csv."""
    if run.watched is None:
        return {}
    rows = run.parts[run.watched]
    chances = part_probabilities(run, rows)
    labels = torch.from_numpy(run.loader.store.labels[rows])
    found = metrics(chances, labels, run.loader.store.class_names)
    loss = F.nll_loss(chances.clamp_min(1e-12).log(), labels).item()
    measured = {"loss": loss, **{key: found[key] for key in ("top1", "top5", "macro_f1")}}
    return {f"{run.watched}_{name}": value for name, value in measured.items()}


def part_probabilities(run: Run, rows: NDArray[np.int64]) -> Tensor:
    """The kept network's softmax outputs, float32 (len(rows), K), for rows of the store, one centre view."""
    preprocessing, store = run.loader.preprocessing, run.loader.store
    precision = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[run.dtype]
    return probabilities(run.kept, preprocessing, store, rows, device=str(run.device), precision=precision)


def epoch_row(run: Run, progress: Progress, speed: float) -> dict[str, Any]:
    """The row of metrics.csv for the epoch whose steps are all taken."""
    steps = len(run.loader)
    return {
        "epoch": progress.epoch + 1,
        "lr": learning_rate(run.recipe, progress.epoch + (steps - 1) / steps),
        "train_size": train_size(run, progress.epoch),
        "train_loss": progress.loss_sum / steps,
        "train_top1": progress.correct / (steps * run.recipe.batch_size),
        "images_per_second": speed,
    }


def is_best(progress: Progress, row: dict[str, Any]) -> bool:
    """Whether this epoch's weights are kept: the best on validation; without validation, always the latest.

    The test part never chooses.
    """
    return "val_top1" not in row or row["val_top1"] > progress.best_score


def warn_if_not_learning(run: Run, progress: Progress) -> None:
    """Say so, once, when the loss after a tenth of the run is still that of guessing, ln K."""
    guessing = math.log(len(run.loader.store.class_names))
    tenth = max(3, math.ceil(run.recipe.epochs / 10), math.ceil(run.recipe.warmup_epochs) + 1)
    if run.recipe.loss == "cross_entropy" and progress.epoch == tenth:
        loss = progress.rows[-1]["train_loss"]
        if loss > NOT_LEARNING * guessing:
            say(
                f"not learning: the loss is {loss:.3f} after {progress.epoch} epochs, that of guessing is "
                f"{guessing:.3f}; usually the learning rate is too high or too low (--lr is {run.recipe.lr:g}), or "
                f"the labels do not belong to the images (alexnet check)"
            )


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one acts as it would without this."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    kinds = [getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)]
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def stop(kind: int, frame: FrameType | None) -> None:
        stopped.set()
        say("stopping: saving a checkpoint first (a second signal stops at once)")
        for number in kinds:
            signal.signal(number, before[number])

    for number in kinds:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number in kinds:
            signal.signal(number, before[number])


def _interrupted(run: Run, progress: Progress) -> Interrupted:
    place = f"after {progress.epoch} of {run.recipe.epochs} epochs and {progress.step} steps"
    return Interrupted(f"interrupted {place} and saved; go on with: alexnet {run.command} --resume {run.folder}")
