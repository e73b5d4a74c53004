"""The recipe `modern` on the 17 flowers, whole: seconds from the first step to the last, and accuracy.

Its evaluations on the way are made, its checkpoints and pictures are not.
"""

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.console import TrainingBar
from alexnet.data.store import pack
from alexnet.evaluation.metrics import top_k_accuracy
from alexnet.memory import reuse_memory
from alexnet.runs.checkpoint import Progress
from alexnet.training.loop import train_epoch
from alexnet.training.recipes import recipe
from alexnet.training.saving import Saver
from alexnet.training.supervised import Supervised, build
from device_parts.photos import LIST, carried
from device_parts.record import Record

PHOTOS = Path(__file__).parents[2] / "device-data" / "flowers17"
FRACTIONS = (0.0, 0.25)  # of alexnet.data.sources.known.flowers17
MOST_SECONDS = 60
SMALL = {"epochs": 1, "input_size": 64, "train_images": 8}


def run(record: Record) -> None:
    """Without a GPU one epoch of a few small images."""
    if not (PHOTOS / LIST).is_file():
        record.pass_over("device-data/flowers17 is missing; write it with: python tools/device.py --prepare flowers17")
        return
    reuse_memory()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        source = carried(PHOTOS, FRACTIONS)
        store = pack(source, Path(folder) / "store", source.store_size)
        record.add(f"packing of {len(store):,} photos", "s", time.monotonic() - began)
        settings = SMALL if record.small else {}
        train(record, build(store, recipe("modern", device=record.device, **settings)))


def train(record: Record, task: Supervised) -> None:
    """All epochs, with a row for each evaluation."""
    recipe, progress, report, saver = task.state.recipe, Progress(), TrainingBar(0), Saver(minutes=60, size=0)
    began = time.monotonic()
    while progress.epoch < recipe.epochs:
        train_epoch(task, progress, report, threading.Event(), saver)
        progress.epoch, progress.step, progress.loss_sum, progress.score_sum = progress.epoch + 1, 0, 0.0, 0.0
        if progress.epoch % recipe.evaluate_every == 0 or progress.epoch == recipe.epochs:
            top1 = accuracy(task, task.state.parts["test"])
            note = f"after {time.monotonic() - began:.1f} s of training"
            record.add(f"top-1 after {progress.epoch} epochs, centre view", "%", 100 * top1, note=note)
    what, seconds = f"training of {progress.epoch} epochs, evaluations with it", time.monotonic() - began
    record.add(what, "s", seconds, **({} if record.small else {"at_most": MOST_SECONDS}))


def accuracy(task: Supervised, rows: NDArray[np.int64]) -> float:
    """The share of these rows of the store that the kept weights name rightly."""
    labels = torch.from_numpy(task.store.labels[rows])
    return top_k_accuracy(task.probabilities(rows), labels, 1)
