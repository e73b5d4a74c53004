"""The training loop, in the order in which things happen: take a batch, take a step, maybe save, maybe evaluate.

The loop knows nothing of losses or labels: what a step and an epoch are is the `Task`'s.
"""

import logging
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from alexnet.console import TrainingBar
from alexnet.device import deterministic
from alexnet.errors import Interrupted
from alexnet.files import held
from alexnet.memory import reuse_memory
from alexnet.runs.checkpoint import Progress, load_checkpoint, take_snapshot, write_snapshot
from alexnet.training.readings import Readings, interval
from alexnet.training.saving import Saver
from alexnet.training.settings import Recipe
from alexnet.training.task import State, Task

logger = logging.getLogger(__name__)


def train_in(folder: Path, task: Task) -> Path:
    """Train in `folder`, from its checkpoint where there is one, and finish.

    Interrupted after SIGINT or SIGTERM, with a checkpoint saved; Diverged for a loss that is not finite, with the last
    checkpoint left as it was.
    """
    reuse_memory()
    state = task.state
    state.path = folder
    together = state.together
    with (
        held(folder) if together.first else nullcontext(),
        deterministic(state.recipe.deterministic and state.device.type == "cuda"),
        stop_signal() as stopped,
    ):
        together.wait()  # until all have joined
        progress = load_checkpoint(folder, state.network, state.average, state.optimizer)
        state.working.refresh()
        if progress is None:
            if together.first:
                task.begin()
            progress = Progress()
        else:
            log_resumed(state, progress)
        fit(task, progress, stopped)
        together.wait()  # the weights are on disk
        task.finish(progress)
        if stopped.is_set():
            raise Interrupted(f"interrupted, but the run is finished: {folder}")
    return folder


def log_resumed(state: State, progress: Progress) -> None:
    """Say from where the run continues, and which epochs it takes again because their checkpoint was not written."""
    if is_over(state.recipe, progress):
        logger.info("all %d epochs are finished; the final evaluation and the pictures are made again", progress.epoch)
        return
    place = f"{progress.epoch} of {state.recipe.epochs} epochs and {progress.step} steps"
    lost = len(state.folder.read_epochs()) - progress.epoch if (state.path / "metrics.csv").is_file() else 0
    again = f"; {lost} later epochs, after the last checkpoint, are taken again" if lost > 0 else ""
    logger.info("resuming after %s%s", place, again)


def fit(task: Task, progress: Progress, stopped: threading.Event) -> None:
    """Train from `progress` to the recipe's last epoch, or to its training error where it has one.

    Once `stopped` is set, a checkpoint is saved and Interrupted raised.
    """
    recipe, steps = task.state.recipe, len(task.state.loader)
    pixels = [_pixels(task, epoch) for epoch in range(recipe.epochs)]
    done = steps * sum(pixels[: progress.epoch]) + progress.step * _pixels(task, progress.epoch)
    with (
        TrainingBar(steps * sum(pixels), done) as report,
        Saver(recipe.checkpoint_minutes, checkpoint_bytes(task.state), task.state.together.first) as saver,
    ):
        while not is_over(recipe, progress):
            began, first = time.monotonic(), progress.step
            train_epoch(task, progress, report, stopped, saver)
            seconds = time.monotonic() - began
            row = task.row(progress, (steps - first) * recipe.batch_size / max(seconds, 1e-9))
            progress.epoch, progress.step, progress.loss_sum, progress.score_sum = progress.epoch + 1, 0, 0.0, 0.0
            last = progress.epoch == recipe.epochs or reached_target(recipe, row)
            task.state.working.gather()
            if progress.epoch % recipe.evaluate_every == 0 or last:
                row |= task.evaluate()
                report.evaluated(row)
            task.keep(progress, row, saver)
            progress.seconds += time.monotonic() - began
            progress.rows.append(row)
            if task.state.together.first:
                task.log(progress)
            stopping, due = task.state.together.agreed(stopped.is_set(), saver.due(epoch_ended=True))
            if last or stopping or due:
                save(task.state, progress, saver)
            if stopping:
                saver.wait()
                raise _interrupted(task, progress)


def train_epoch(task: Task, progress: Progress, report: TrainingBar, stopped: threading.Event, saver: Saver) -> None:
    """Take the steps of the epoch that are still to be taken.

    Diverged names the step whose loss is not finite; all losses are read before anything is saved.
    """
    state, first, began = task.state, progress.step, time.monotonic()
    task.begin_epoch(progress.epoch)
    mix = progress.epoch < state.recipe.mix_stop * state.recipe.epochs
    readings, read = Readings(task.told, interval(state.device)), first
    for batch in state.loader.batches(progress.epoch, first, task.image_size(progress.epoch), mix):
        found = readings.add(task.step(batch, progress.epoch, progress.step), progress.epoch, progress.step)
        progress.step += 1
        ended = progress.step == len(state.loader)
        stopping, due = _asked(state, stopped, saver, progress.step)
        saving = not ended and (stopping or due)
        found += readings.read() if ended or saving else []
        for loss, score in found:
            progress.loss_sum += loss
            progress.score_sum += score
        read += len(found)
        seconds = time.monotonic() - began
        _show(task, progress, report, read, (progress.step - first) / max(seconds, 1e-9))
        if saving:
            progress.seconds += seconds
            save(state, progress, saver)
            progress.seconds -= seconds
            if stopping:
                saver.wait()
                raise _interrupted(task, progress)


def _asked(state: State, stopped: threading.Event, saver: Saver, step: int) -> tuple[bool, ...]:
    """Whether to stop, and whether a checkpoint is due: if any of the processes says so.

    Several processes with GPUs ask each other as rarely as they read their losses, for it takes a good part of a step.
    """
    if state.together.ranks > 1 and step % interval(state.device):
        return False, False
    return state.together.agreed(stopped.is_set(), saver.due(epoch_ended=False))


def _show(task: Task, progress: Progress, report: TrainingBar, read: int, speed: float) -> None:
    """Show the step. read: steps of the epoch whose numbers are known. speed: steps/s."""
    recipe = task.state.recipe
    epoch, seen = f"{progress.epoch + 1}/{recipe.epochs}", max(1, read)
    loss, score = progress.loss_sum / seen, progress.score_sum / (seen * recipe.batch_size)
    report.step(epoch, speed * recipe.batch_size, loss, score, task.score_name, _pixels(task, progress.epoch))


def _pixels(task: Task, epoch: int) -> int:
    """Of an image of this epoch; a step takes about as long in proportion."""
    return task.image_size(epoch) ** 2


def save(state: State, progress: Progress, saver: Saver) -> None:
    """Save a checkpoint of this moment, whole, by the first of the processes that train."""
    state.working.gather(optimizer=True)
    if state.together.first:
        snapshot = take_snapshot(progress, state.network, state.average, state.optimizer)
        saver.save(lambda: write_snapshot(state.path, snapshot))
    state.working.release()


def checkpoint_bytes(state: State) -> int:
    """About the size of a checkpoint: weights, their average, and two tensors of optimizer state for each weight."""
    weights = sum(parameter.nbytes for parameter in state.network.parameters())
    return weights * (3 if state.average is None else 4)


def is_over(recipe: Recipe, progress: Progress) -> bool:
    """Whether the run has taken all its epochs, or reached its target training error."""
    return progress.epoch >= recipe.epochs or (bool(progress.rows) and reached_target(recipe, progress.rows[-1]))


def reached_target(recipe: Recipe, row: dict[str, Any]) -> bool:
    """Whether the epoch of this row reached `stop_train_error`.

    The error is the share of the epoch's images that were misclassified while they were trained on, as cuda-convnet
    reports it: a mean over the epoch, under changing weights.
    """
    return recipe.stop_train_error is not None and 1 - row["train_top1"] <= recipe.stop_train_error


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
        logger.warning("stopping: saving a checkpoint first (a second signal stops at once)")
        for number in kinds:
            signal.signal(number, before[number])

    for number in kinds:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number in kinds:
            signal.signal(number, before[number])


def _interrupted(task: Task, progress: Progress) -> Interrupted:
    place = f"after {progress.epoch} of {task.state.recipe.epochs} epochs and {progress.step} steps"
    run = shlex.quote(str(task.state.path))
    return Interrupted(f"interrupted {place} and saved; go on with: alexnet {task.command} --resume {run}")
