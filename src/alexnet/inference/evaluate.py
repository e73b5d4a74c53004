"""A trained network measured on data: on its own run's data, on the part that the run held out."""

import logging
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.places import check_views
from alexnet.data.sources import Data, spec_of
from alexnet.data.store import Store
from alexnet.evaluation.metrics import metrics, top5_told
from alexnet.evaluation.predict import probabilities, usual_batch
from alexnet.evaluation.table import write_predictions
from alexnet.files import write_json
from alexnet.inference.answers import Answering
from alexnet.inference.classifier import Classifier
from alexnet.inference.inputs import as_path, check_count
from alexnet.inference.loading import load
from alexnet.inference.parts import Labelled, check_split, indices_of, no_place, open_data, place_in_run
from alexnet.inference.unknown import Progress, of_foreign, of_own, of_sets
from alexnet.processes.together import Together, led, shared_rows

MEASURED = ("own_unknown", "foreign_unknown", "sets")  # only where they were asked for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class; shares are fractions, 0.0 where the ratio is 0/0."""

    label: str
    images: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Confused:
    """The number of images of one class that were predicted as another."""

    label: str
    prediction: str
    images: int


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good a model is on one part of some data; the scores are explained in `alexnet.evaluation.metrics`.

    K classes in the order of the network's outputs; all shares are fractions, 0..1.
    """

    model: str
    data: str
    split: str  # "train", "val", "test" or "all"
    views: int  # of each image, averaged
    images: int
    top1: float
    top5: float
    macro_f1: float
    macro_precision: float
    macro_recall: float
    ece: float  # expected calibration error
    interval: tuple[float, float]  # 95 % confidence interval of top1
    per_class: tuple[ClassScores, ...]  # K rows
    confusion: tuple[tuple[int, ...], ...]  # K x K: [i][j] images of class i that were predicted as class j
    most_confused: tuple[Confused, ...]  # at most ten, most images first
    trained_on: int  # of the images, as far as the model's run tells
    left_out: int  # images of the part that the model was trained on and that were not measured
    leaks: dict[str, Any]  # equal pictures in the data: `alexnet.data.duplicates.Leaks.to_json`
    files: tuple[str, ...] = ()  # that were written
    own_unknown: dict[str, Any] | None = None  # `alexnet.inference.unknown.Called.to_json` of these images
    foreign_unknown: dict[str, Any] | None = None  # the same of foreign ones, where some were given
    sets: dict[str, Any] | None = None  # `alexnet.inference.unknown.of_sets`, where a coverage was asked for

    def __repr__(self) -> str:
        """ "<Evaluation of runs/x on flowers17, test, 136 images: top-1 94.12% (88.86% to 96.97%), top-5 99.26%>"."""
        low, high = self.interval
        subject = f"{self.model} on {self.data}, {self.split}, {self.images} images"
        return f"<Evaluation of {subject}: top-1 {self.top1:.2%} ({low:.2%} to {high:.2%}){top5_told(self.to_json())}>"

    def to_json(self) -> dict[str, Any]:
        """The fields by name as plain numbers, texts and lists; of the last three those that were measured."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        values["confusion"] = [list(row) for row in self.confusion]
        return {name: value for name, value in values.items() if name not in MEASURED or value is not None}


def evaluate(
    model: str | os.PathLike[str] | Answering,
    data: Data,
    views: int = 1,
    split: str | None = None,
    out: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    progress: Progress | None = None,
    include_trained: bool = False,
    unknown: Data | None = None,
    coverage: float | None = None,
    together: Together | None = None,
) -> Evaluation:
    """Measure a model on one part of some data.

    model: as for `load`, or what it gives, a Classifier or an Exported, which keeps its own device and precision.
    data: a name or path as for `named_store`, or arrays (images, labels). views: 1, 9 or 10. split: "train", "val",
    "test" or "all"; None: test where there is one, else val, else all. The parts are those that the model's run
    recorded where `data` is what it was trained on, wherever it lies now, else those that the data itself gives; of
    other data the images that the model was trained on are left out, unless `include_trained`.
    out: a folder for metrics.json, confusion.png and predictions.csv; None: evaluation-<split>-<views>/ in the run's
    folder, nothing for a weights file. batch_size: views per forward pass; None: 64, on a GPU 512. device, precision:
    as for `load`. progress: called with (images done, N).
    unknown: data of none of the classes, as for `alexnet.data.sources.open_images`, to tell how many of its images are
    taken for none of them, and how many of the measured ones. coverage: of sets of classes, above 0 and below 1, to
    tell how many hold the right one.
    together: the processes that share the images; the first one writes, and all get the same answer.
    Raises UsageError for a part that does not exist, DataError for classes that the network does not know.
    """
    check_views(views)
    check_split(split)
    if batch_size is not None:
        check_count("batch size", batch_size)
    named = None if out is None else as_path("out", out)
    name = "arrays" if isinstance(data, tuple) else spec_of(data)
    if together is None:  # open_data is called from here, so that its warnings name the caller's line
        classifier, together = model if isinstance(model, Answering) else load(model, device, precision), Together()
        classifier.check_views(views)
        measured = foreign(classifier, unknown, coverage, views, progress)
        found = open_data(classifier.origin, data, classifier, progress)
    else:
        both = partial(opened, model, data, device, precision, progress)
        classifier, found = led(together, both, lambda _: both())  # the first one packs
        classifier.check_views(views)
        foreigners = partial(foreign, classifier, unknown, coverage, views, progress)
        measured = led(together, foreigners, lambda told: told, lambda told: told)
    indices = found.rows(split, include_trained)
    batch_size = batch_size or usual_batch(device_of(classifier))
    answer = partial(chances_of, classifier, found.store, views=views, batch_size=batch_size, progress=progress)
    chances = shared_rows(indices, answer, together, max(1, batch_size // views))
    if unknown is not None:
        measured["own_unknown"] = of_own(classifier, name, found.store, indices, progress).to_json()
    asked = (name, views, split, coverage, named, together.first)
    return concluded(classifier, found, indices, chances, measured, *asked)


def concluded(
    classifier: Answering,
    found: Labelled,
    indices: NDArray[np.int64],
    chances: Tensor,
    measured: dict[str, Any],
    name: str,
    views: int,
    split: str | None,
    coverage: float | None,
    out: Path | None,
    writes: bool = True,
) -> Evaluation:
    """What the probabilities of the images `indices`, float32 (N, K), come to; its files are written.

    measured: what `foreign` gave, and own_unknown. name: of the data. writes: whether this process writes files;
    others as for `evaluate`.
    """
    store, split, labels = found.store, split or found.best_part(), found.labels[indices]
    if leaking := found.leaks():
        logger.warning("%s", leaking)
    if coverage is not None:
        measured["sets"] = of_sets(classifier.sets(chances.numpy(), coverage, views), labels, coverage)
    scores = metrics(chances, labels, classifier.class_names) | measured
    facts: dict[str, Any] = {"model": classifier.name, "data": name}
    facts |= {"split": split, "views": views, "trained_on": int(found.trained[indices].sum())}
    facts |= {"left_out": len(indices_of(found.parts, split)) - len(indices), "leaks": leaking.to_json()}
    folder = out or place_in_run(classifier.origin, f"evaluation-{split}-{views}")
    if folder is None and classifier.origin is not None and classifier.origin.is_dir():
        logger.info("no files are written, for %s", no_place(classifier.origin, classifier.name))
    if folder is None or not writes:
        return _evaluation(facts, scores, [])
    from alexnet.plots import pictures  # imports matplotlib, which takes half a second

    files = [folder / file for file in ("metrics.json", "confusion.png", "predictions.csv")]
    write_json(files[0], {**facts, **scores})
    pictures.confusion(scores["confusion"], classifier.class_names, files[1])
    write_predictions(files[2], [store.paths[i] for i in indices], labels, chances, classifier.class_names)
    return _evaluation(facts, scores, files)


def device_of(model: Answering) -> torch.device:
    """Where the model computes; an export in an engine on the processor."""
    return model.device if isinstance(model, Classifier) else torch.device("cpu")


def foreign(
    model: Answering, unknown: Data | None, coverage: float | None, views: int, progress: Progress | None
) -> dict[str, Any]:
    """What is measured on foreign images; UsageError where the model cannot tell them, or hold the coverage."""
    if coverage is not None:
        model.sets(np.full((1, len(model.class_names)), 1 / len(model.class_names), np.float32), coverage, views)
    return {} if unknown is None else {"foreign_unknown": of_foreign(model, unknown, progress).to_json()}


def chances_of(
    model: Answering,
    store: Store,
    indices: NDArray[np.int64],
    views: int,
    batch_size: int,
    progress: Progress | None,
) -> Tensor:
    """Class probabilities of stored images, float32 (N, K) on the processor, whatever the model computes with."""
    if isinstance(model, Classifier):
        asked = (store, indices, views, batch_size, model.device, str(model.precision).removeprefix("torch."), progress)
        return probabilities(model.network, model.preprocessing, *asked, model.temperature)
    step, found = max(1, batch_size // views), []
    for start in range(0, len(indices), step):
        found.append(model.probabilities(store.mapped(indices[start : start + step]), views))
        if progress:
            progress(min(start + step, len(indices)), len(indices))
    return torch.from_numpy(np.concatenate(found))


def opened(
    model: str | os.PathLike[str] | Answering, data: Data, device: str, precision: str, progress: Progress | None
) -> tuple[Answering, Labelled]:
    classifier = model if isinstance(model, Answering) else load(model, device, precision)
    return classifier, open_data(classifier.origin, data, classifier, progress)


def _evaluation(facts: dict[str, Any], scores: dict[str, Any], files: list[Path]) -> Evaluation:
    """The typed record of what `metrics` measured."""
    typed = {
        "interval": tuple(scores["interval"]),
        "per_class": tuple(ClassScores(**row) for row in scores["per_class"]),
        "confusion": tuple(map(tuple, scores["confusion"])),
        "most_confused": tuple(Confused(**pair) for pair in scores["most_confused"]),
    }
    return Evaluation(**{**facts, **scores, **typed, "files": tuple(map(str, files))})
