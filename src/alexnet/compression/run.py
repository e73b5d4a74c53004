"""alexnet compress from its first line to its last: refuse, prune and retrain, share weights, write, measure."""

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.compression.network import LOOKED_AT, Shared, shared
from alexnet.data.sources import Data
from alexnet.errors import DataError, UsageError
from alexnet.evaluation.paired import Paired, paired
from alexnet.evaluation.predict import probabilities
from alexnet.inference.classifier import Classifier, load
from alexnet.inference.inputs import as_path, check_count
from alexnet.inference.parts import Labelled, open_data, place_of, run_of
from alexnet.runs.folder import RunFolder
from alexnet.training.run import train_on
from alexnet.training.settings import from_json
from alexnet.weights.card import tensors_of
from alexnet.weights.coded import Coded
from alexnet.weights.compressed import codes_of, write
from alexnet.weights.entropy import entropy
from alexnet.weights.named import file_of

BITS = (2, 8)  # the fewest and the most
NAME = "compressed.safetensors"
USUAL_BITS = 4
RETRAINING = 0.4  # epochs of retraining, as a share of the run's
GENTLER = 0.2  # factor on the learning rate when a pruned run is trained again
TIMED = 20  # images that are timed, after WARM others
WARM = 3

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LayerSize:
    """How a layer's weights are stored."""

    name: str
    weights: int
    zeros: float  # share of weights that are 0
    values: int  # in the codebook
    bits: float  # a weight: the entropy of its codes


@dataclass(frozen=True)
class Compressed:
    """A compressed file that was written, read again and measured."""

    path: str
    bits: int
    prune: float
    run: str | None  # the run that was trained again; None where nothing was pruned
    size: int  # bytes
    model_size: int  # of float32 weights and the card
    layers: tuple[LayerSize, ...]
    images: str | None  # "340 images of flowers17, test"; None where none were at hand
    accuracy: Paired | None  # the model, then the compressed one
    seconds: float | None  # median for one image
    model_seconds: float | None
    load_seconds: float  # to read the file

    @property
    def ratio(self) -> float:
        """How many times smaller it is."""
        return self.model_size / self.size

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and `ratio`."""
        accuracy = None if self.accuracy is None else self.accuracy.to_json()
        return {**asdict(self), "accuracy": accuracy, "ratio": self.ratio}


def compress(
    model: str | os.PathLike[str],
    data: Data | None = None,
    bits: int = USUAL_BITS,
    prune: float = 0.0,
    epochs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Compressed:
    """Write a model with shared weights in few bits as one file, which is a MODEL everywhere, and measure it.

    model: as for `load`, no export. data: labelled images of its classes; None: where the model's run found them. bits:
    2 to 8, the weights of a layer have 2^bits values, those of the first and the last layer four times as many. prune:
    the share of the weights of dense layers that becomes 0, of other layers less (`alexnet.training.pruning`); the
    run is then trained again, in a folder of its own, for `epochs`, None: two fifths of the run's. out: the file;
    None: `file_name` of the bits in the run's folder, that of the retrained run where there is one. device: for
    training and measuring. progress: called with (done, total).
    Errors are made good by the images that were trained on, accuracy is measured on those that were held out. Without
    any images every weight gets the nearest value and the file is written, and a warning says that it was not measured.
    UsageError for what makes no sense; AlexNetError for a place that cannot be written.
    """
    _check(bits, prune, epochs)
    path = None if out is None else as_path("out", out)
    if path is not None and path.suffix != ".safetensors":
        raise UsageError(f"--out {path} does not end in .safetensors, as weights files do; rename it")
    if codes_of(file_of(model)):
        raise UsageError(f"{model} is compressed already; give the run that it was made from")
    original = load(model, device)
    images = _images(original, data, bool(prune))
    run = _retrained(original, data, prune, epochs, device) if prune else None
    chosen = original if run is None else load(run, device)
    name = file_name(bits)
    path = path or place_of(chosen.origin, chosen.name, name, f"{_stem(chosen)}-{name}")
    made = shared(chosen.network, bits, None if images is None else _looked_at(chosen, images), progress)
    _write(path, chosen, made, bits, prune)
    return _measured(path, original, made.coded, images, device, (bits, prune, run))


def file_name(bits: int) -> str:
    """The file's name unless another is given: one for each number of bits, so that they can be compared."""
    return NAME if bits == USUAL_BITS else f"{Path(NAME).stem}-{bits}bit.safetensors"


def _check(bits: int, prune: float, epochs: int | None) -> None:
    least, most = BITS
    if isinstance(bits, bool) or not isinstance(bits, int) or not least <= bits <= most:
        raise UsageError(f"bits is {bits!r}; it takes a whole number from {least} to {most}")
    if not 0 <= prune < 1:
        raise UsageError(f"prune is {prune!r}; it takes a share of the weights, from 0 to below 1, such as 0.9")
    if epochs is not None and not prune:
        raise UsageError(f"epochs is {epochs}, but nothing is pruned, so nothing is trained again; give --prune, too")
    if epochs is not None:
        check_count("epochs", epochs)


def _images(classifier: Classifier, data: Data | None, needed: bool) -> Labelled | None:
    """The model's data; None where they are not at hand, which is said, or UsageError where they are needed."""
    run = run_of(classifier.origin) if classifier.origin else None
    if data is None and run is None:
        logger.warning(
            "%s belongs to no run, so no photos are at hand: every weight gets the nearest value, and the file is not "
            "measured; name DATA to measure it, its train part makes errors good",
            classifier.name,
        )
        return None
    try:
        return open_data(classifier.origin, run.data if data is None and run else data, classifier)  # type: ignore[arg-type]
    except DataError as error:
        if data is not None:
            raise
        if needed:
            raise UsageError(
                f"pruning trains {classifier.name} again, and its images are not at hand ({error}); name where they "
                f"lie now: alexnet compress {classifier.name} DATA --prune ..."
            ) from error
        logger.warning(
            "the run's images are not at hand (%s): every weight gets the nearest value, and the file is not measured; "
            "name DATA where they lie now",
            error,
        )
        return None


def _retrained(classifier: Classifier, data: Data | None, prune: float, epochs: int | None, device: str) -> Path:
    """The folder of the run, pruned and trained again."""
    folder = classifier.origin
    if folder is None or not RunFolder(folder).is_run:
        raise UsageError(f"pruning trains a run again, and {classifier.name} is no run's folder; give one")
    began = from_json(RunFolder(folder).read_config().recipe)
    count = epochs or max(1, round(RETRAINING * began.epochs))
    changes = {"prune": prune, "lr": GENTLER * began.lr, "device": device, "evaluate_every": max(1, count // 5)}
    return train_on(folder, count, folder.with_name(f"{folder.name}-pruned"), data, **changes)


def _stem(classifier: Classifier) -> str:
    return classifier.name.replace(":", "-") if classifier.origin is None else classifier.origin.stem


def _looked_at(classifier: Classifier, images: Labelled) -> Tensor | None:
    """float32 (N, 3, S, S): images that the model was trained on, evenly spaced, LOOKED_AT at most."""
    rows = np.flatnonzero(images.trained if images.trained.any() else images.parts == "train")
    if not len(rows):
        logger.warning(
            "every weight gets the nearest value, for %s was trained on none of the images: no errors are made good",
            classifier.name,
        )
        return None
    chosen = rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).astype(np.int64)]
    return classifier.preprocessing.views(images.store.mapped(chosen), 1, torch.float32, torch.device("cpu"))


def _write(path: Path, classifier: Classifier, made: Shared, bits: int, prune: float) -> None:
    card = classifier.card
    told = {"bits": bits, "prune": prune, "of": Path(classifier.name).name}
    card = replace(card, training={**card.training, "compressed": told})
    write(path, tensors_of(made.network, card), made.coded, card)


def _measured(
    path: Path,
    original: Classifier,
    coded: dict[str, Coded],
    images: Labelled | None,
    device: str,
    asked: tuple[int, float, Path | None],
) -> Compressed:
    bits, prune, run = asked
    began = perf_counter()
    found = load(path, device)
    load_seconds = perf_counter() - began
    told, accuracy = None, None
    seconds: tuple[float | None, float | None] = (None, None)
    if images is not None:
        rows = images.rows(None)
        told = f"{len(rows):,} images of {images.store.name}, {images.best_part()}"
        accuracy = paired(*(_right(each, images, rows) for each in (original, found)))
        seconds = _seconds((original, found), images, rows)
    sizes = (path.stat().st_size, file_of(_named(original)).stat().st_size)
    layers = tuple(_layer(name, each) for name, each in coded.items())
    where = (str(path), bits, prune, None if run is None else str(run))
    return Compressed(*where, *sizes, layers, told, accuracy, seconds[1], seconds[0], load_seconds)


def _named(classifier: Classifier) -> str | Path:
    return classifier.origin or classifier.name


def _layer(name: str, coded: Coded) -> LayerSize:
    counts = np.bincount(coded.codes.ravel(), minlength=len(coded.codebook))
    zeros = float(counts[coded.codebook == 0].sum() / counts.sum())
    return LayerSize(name, coded.codes.size, zeros, len(coded.codebook), entropy(counts))


def _right(classifier: Classifier, images: Labelled, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether each image is answered rightly."""
    asked = (classifier.network, classifier.preprocessing, images.store, rows)
    chances = probabilities(*asked, device=classifier.device, precision="float32")
    found: NDArray[np.bool_] = chances.numpy().argmax(1) == images.labels[rows]
    return found


def _seconds(models: tuple[Classifier, Classifier], images: Labelled, rows: NDArray[np.int64]) -> tuple[float, float]:
    """The median time of one stored image, by two models in turn."""
    times: list[list[float]] = [[] for _ in models]
    for row in np.resize(rows, WARM + TIMED):
        for own, classifier in zip(times, models, strict=True):
            stored = images.store.mapped(np.array([row]))
            began = perf_counter()
            classifier.probabilities(stored)
            own.append(perf_counter() - began)
    return median(times[0][WARM:]), median(times[1][WARM:])
