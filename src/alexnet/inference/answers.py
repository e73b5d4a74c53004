"""Images in, the most probable classes of each out: what all models in use share, whatever computes them.

An image may be taken for none of the classes, and get a set of classes, where the model is calibrated for it.

N images, stored as S x S pixels, K classes. This file imports no torch.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.data.form import Form
from alexnet.data.images import ImageSource, Pixels
from alexnet.data.places import check_views
from alexnet.errors import ImageError, UsageError
from alexnet.files import sha256_of
from alexnet.inference.inputs import ImageInput, ImageInputs, check_count, each_image, path_of, pixels_of

BATCH = 64  # views through the network at once


@dataclass(frozen=True)
class Guess:
    """One answer: a class name and its probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first; or the reason why it could not be read."""

    path: str | None  # None for an image that has no file
    predictions: list[Guess] = field(default_factory=list)
    error: str | None = None
    note: str | None = None  # what is particular about how it is read: "several pages, the first used alone"
    unknown: bool | None = None  # whether it is taken for none of the classes; None where the model cannot tell
    unknown_score: float | None = None  # above 1 where it is; see `alexnet.weights.calibration`
    classes: list[str] | None = None  # the set of classes, where one of some coverage was asked for

    def to_json(self) -> dict[str, Any]:
        """{"path", "predictions": [{"label", "probability"}], "error", "note"}, and the other fields that are told."""
        told = {"unknown": self.unknown, "unknown_score": self.unknown_score, "classes": self.classes}
        values = {name: value for name, value in asdict(self).items() if name not in told}
        return values | {name: value for name, value in told.items() if value is not None}


class Answers(NamedTuple):
    """What a model says of N images."""

    probabilities: NDArray[np.float32]  # (N, K)
    unknown: NDArray[np.float32] | None  # (N,): above 1 for 'none of these'; None where the model does not tell


@dataclass(frozen=True)
class Decoded:
    """One image of the caller in the stored form, or the reason why there is none."""

    path: str | None
    pixels: Pixels | None = None  # uint8 (S, S, 3)
    error: str | None = None
    note: str | None = None


class Answering(ABC):
    """A model in use: it knows its classes and the stored form of its images."""

    class_names: list[str]  # K, in the order of the outputs
    form: Form
    origin: Path | None  # the run's folder or file that it was loaded from; None for one that has neither

    @property
    @abstractmethod
    def name(self) -> str:
        """What it was loaded from."""

    @abstractmethod
    def probabilities(self, stored: Sequence[Pixels], views: int = 1) -> NDArray[np.float32]:
        """N of uint8 (S, S, 3) -> float32 (N, K), averaged over the views of each."""

    @abstractmethod
    def answers(self, stored: Sequence[Pixels], views: int = 1) -> Answers:
        """N of uint8 (S, S, 3) -> the same probabilities, and the scores for 'none of these', of the centre views."""

    def check_views(self, views: int) -> None:
        """UsageError for a number of views that there is not, or that this model cannot take."""
        check_views(views)

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of what the model answers by, wherever it lies: here, of its file."""
        if self.origin is None or not self.origin.is_file():
            raise UsageError(f"{self.name} is no file that could be told from others; give a run or a weights file")
        return sha256_of(self.origin)

    @property
    def computed(self) -> str:
        """The device and the type that it computes with: answers are equal to the last digit for the same."""
        return "cpu"

    def sets(self, probabilities: NDArray[np.float32], coverage: float, views: int = 1) -> NDArray[np.bool_]:
        """float (N, K) -> bool (N, K): for each image a set of classes that holds the right one with this chance.

        coverage: above 0 and below 1. UsageError for another, and for a model that cannot tell.
        """
        raise UsageError(f"{self.name} keeps no scores for sets of classes; give the run that it was made from")

    def predict(
        self, images: ImageInputs, top_k: int = 5, views: int = 1, coverage: float | None = None
    ) -> list[Prediction]:
        """The `top_k` most probable classes of each image, in the order given; one image gives a list of one.

        images: one or many paths, open binary files, Pillow images, uint8 arrays (H, W), (H, W, 1), (H, W, 3) or
        (H, W, 4), or uint8 tensors (3, H, W), also mixed or from a generator; an array (N, H, W, C) or a tensor
        (N, 3, H, W) is many. Alpha is laid over white. A file that cannot be read gets a Prediction with `error`; the
        others get their answers. top_k: at least 1; more than there are classes gives all.
        views: 1 (the centre), 10 (corners, centre and their mirror images, averaged) or 9 (a grid of 3 x 3, averaged).
        coverage: to get sets of classes, too, that hold the right one with this chance, above 0 and below 1.
        Raises UsageError for anything else, before an image is read; for an element of a generator, when it arrives.
        """
        check_count("top_k", top_k)
        self.check_views(views)
        if coverage is not None:  # refused before an image is read
            self.sets(np.full((1, len(self.class_names)), 1 / len(self.class_names), np.float32), coverage, views)
        answers: list[Prediction] = []
        for batch in self.batches(images, max(1, BATCH // views)):
            stored = [image.pixels for image in batch if image.pixels is not None]
            told = iter(self.told(self.answers(stored, views), top_k, views, coverage) if stored else ())
            answers += [
                Prediction(image.path, error=image.error)
                if image.pixels is None
                else replace(next(told), path=image.path, note=image.note)
                for image in batch
            ]
        return answers

    def batches(self, images: ImageInputs, size: int) -> Iterator[list[Decoded]]:
        """The images in batches of at most `size`, decoded by several threads while they are asked for."""
        waiting = iter(each_image(images))
        with ThreadPoolExecutor() as readers:
            while batch := list(islice(waiting, size)):
                yield list(readers.map(self._decode, batch))

    def _decode(self, image: ImageInput) -> Decoded:
        """The image in its stored form, by the steps that packed the training images."""
        remarks: list[str] = []

        def read(source: ImageSource) -> Pixels:
            packed = self.form.pack(source)
            remarks.extend(packed.remarks())
            return packed.pixels

        try:
            return Decoded(path_of(image), pixels_of(image, read), note="; ".join(remarks) or None)
        except ImageError as error:
            return Decoded(path_of(image), error=str(error))

    def told(self, answers: Answers, top_k: int, views: int, coverage: float | None) -> list[Prediction]:
        """The answers to N images -> what is said of each; of equally probable classes the first is the better."""
        chances, scores = answers
        best = np.argsort(-chances, axis=1, kind="stable")[:, :top_k]
        held = None if coverage is None else self.sets(chances, coverage, views)
        return [
            Prediction(
                None,
                [Guess(self.class_names[index], float(row[index])) for index in best[place]],
                unknown=None if scores is None else bool(scores[place] > 1),
                unknown_score=None if scores is None else float(scores[place]),
                classes=None if held is None else self._named(row, held[place]),
            )
            for place, row in enumerate(chances)
        ]

    def _named(self, chances: NDArray[np.float32], held: NDArray[np.bool_]) -> list[str]:
        """The names of a set of classes, the most probable first."""
        return [self.class_names[index] for index in np.argsort(-chances, kind="stable") if held[index]]
