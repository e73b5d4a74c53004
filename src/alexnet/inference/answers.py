"""Images in, the most probable classes of each out: what all models in use share, whatever computes them.

N images, stored as S x S pixels, K classes. This file imports no torch.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.form import Form
from alexnet.data.images import ImageSource, Pixels
from alexnet.data.places import check_views
from alexnet.errors import ImageError
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

    def to_json(self) -> dict[str, Any]:
        """{"path", "predictions": [{"label", "probability"}], "error", "note"}."""
        return asdict(self)


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

    def check_views(self, views: int) -> None:
        """UsageError for a number of views that there is not, or that this model cannot take."""
        check_views(views)

    def predict(self, images: ImageInputs, top_k: int = 5, views: int = 1) -> list[Prediction]:
        """The `top_k` most probable classes of each image, in the order given; one image gives a list of one.

        images: one or many paths, open binary files, Pillow images, uint8 arrays (H, W), (H, W, 1), (H, W, 3) or
        (H, W, 4), or uint8 tensors (3, H, W), also mixed or from a generator; an array (N, H, W, C) or a tensor
        (N, 3, H, W) is many. Alpha is laid over white. A file that cannot be read gets a Prediction with `error`; the
        others get their answers. top_k: at least 1; more than there are classes gives all.
        views: 1 (the centre), 10 (corners, centre and their mirror images, averaged) or 9 (a grid of 3 x 3, averaged).
        Raises UsageError for anything else, before an image is read; for an element of a generator, when it arrives.
        """
        check_count("top_k", top_k)
        self.check_views(views)
        answers: list[Prediction] = []
        for batch in self.batches(images, max(1, BATCH // views)):
            stored = [image.pixels for image in batch if image.pixels is not None]
            guesses = iter(self._guess(stored, top_k, views) if stored else ())
            answers += [
                Prediction(image.path, error=image.error)
                if image.pixels is None
                else Prediction(image.path, next(guesses), note=image.note)
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

    def _guess(self, stored: list[Pixels], top_k: int, views: int) -> list[list[Guess]]:
        """N of uint8 (S, S, 3) -> for each image its best classes; of equal ones the first."""
        chances = self.probabilities(stored, views)
        best = np.argsort(-chances, axis=1, kind="stable")[:, :top_k]
        return [
            [Guess(self.class_names[index], float(row[index])) for index in places]
            for row, places in zip(chances, best, strict=True)
        ]
