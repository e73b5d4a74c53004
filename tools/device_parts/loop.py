"""Whole loops: epochs of training from the packed store, batches alone, evaluation, prediction from pixels to names."""

import itertools
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.bench.evaluate import evaluation
from alexnet.bench.pictures import PHOTO, noise_store
from alexnet.bench.train import PAPER, epochs, prepared, step
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.inference.classifier import Classifier
from alexnet.networks import create
from alexnet.weights.card import Card
from device_parts.record import Record, forget, in_rounds

IMAGES, CLASSES, BATCH = 4096, 1000, 128
LEAST_SHARE = 90  # per cent
SECONDS, ROUNDS = 0.5, 3
TRAINED = (
    ("bvlc, the paper's augmentation", "bvlc", {"augment": PAPER}),
    ("bvlc, no augmentation", "bvlc", {"augment": ""}),
    ("recipe modern, as it begins, 96 px", "modern", {}),
)


def run(record: Record) -> None:
    """Training's loader takes its images from the file system's cache after the first epoch."""
    images, classes, batch = (8, 4, 4) if record.small else (IMAGES, CLASSES, BATCH)
    predictions(record)
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), images, classes)
        for batch_size in (batch,) if record.small else (64, 256):
            work = evaluation("bvlc", store, batch_size, _seconds(record), record.device)
            _rate(record, f"evaluation of bvlc, batch {batch_size}", work)
        for title, name, changes in TRAINED:
            shared = {"batch_size": batch, "precision": "bfloat16", **changes}
            trained(record, store, name, shared, f"batch {batch}: {title}")
            _rate(record, f"batches alone, on the device: {title}", fed(store, name, shared, record.device))


def trained(record: Record, store: str, name: str, changes: dict[str, Any], title: str) -> None:
    """Whole epochs of training, and beside them its steps alone, always of the same batch."""
    works = {
        "loop": epochs(store, name, changes, record.device),
        "step": step(store, name, {**changes, "workers": 0}, _seconds(record), record.device),
    }
    found = in_rounds(works, 1 if record.small else ROUNDS)
    record.add(f"training from the store, {title}", "images/s", *(1 / each for each in found["loop"]))
    shares = [100 * alone / loop for loop, alone in zip(found["loop"], found["step"], strict=True)]
    mark = LEAST_SHARE if name == "bvlc" and not record.small else None
    record.add(f"training from the store, {title}: share of its steps alone", "%", *shares, at_least=mark)
    works.clear()
    forget()


def fed(store: str, name: str, changes: dict[str, Any], device: str) -> Work:
    """Batches of whole epochs, as the steps take them, without steps. Unit: image."""
    task, numbers = prepared(store, name, changes, device), itertools.count()
    loader, size = task.state.loader, task.image_size(0)

    def epoch() -> float:
        for batch in loader.batches(next(numbers), size=size):
            last = batch.images
        last[-1, 0, 0, 0].item()  # waits until it is there
        return float(len(loader) * loader.batch_size)

    epoch()
    return epoch


def predictions(record: Record) -> None:
    """Photos of 500 x 375 px that are in memory already."""
    photo = np.zeros((PHOTO[1], PHOTO[0], 3), np.uint8)
    model = classifier("bvlc", record.device)
    for count in (1, 4) if record.small else (1, 64):
        work = repeated(partial(model.predict, [photo] * count), 1, _seconds(record), record.device)
        found = in_rounds({"": work}, _rounds(record))[""]
        record.add(f"prediction of bvlc, images at once: {count}", "ms", *(1e3 * each for each in found))


def classifier(network: str, device: str) -> Classifier:
    """A network with new weights, ready to name pictures."""
    net = create(network)
    preprocessing = Preprocessing(net.input_size, net.resize, net.mean, net.std)
    names = [str(number) for number in range(net.num_classes)]
    card = Card(network, net.num_classes, net.input_size, {}, names, preprocessing.to_json())
    return Classifier(net, card, device)


def _rate(record: Record, what: str, work: Work) -> None:
    found = in_rounds({what: work}, _rounds(record))[what]
    record.add(what, "images/s", *(1 / each for each in found))
    if not record.small:
        forget()


def _seconds(record: Record) -> float:
    return 0.0 if record.small else SECONDS


def _rounds(record: Record) -> int:
    return 1 if record.small else ROUNDS
