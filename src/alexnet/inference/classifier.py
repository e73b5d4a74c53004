"""From pictures to names: a trained network with the preprocessing and the class names that belong to it."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image

from alexnet.data.images import Pixels, decode, square
from alexnet.data.preprocess import Preprocessing, check_views
from alexnet.device import held_weights, pick_device, pick_precision
from alexnet.errors import ImageError, UsageError
from alexnet.evaluation.predict import of_images
from alexnet.networks.layers import Network
from alexnet.weights.card import Card, model_file
from alexnet.weights.card import load as load_weights

Picture = str | Path | Image.Image | Pixels

BATCH = 64  # views through the network at once
_PIL_LOADING = Lock()


@dataclass(frozen=True)
class Guess:
    """One answer: a class name and its probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answers for one image, the most probable first; or why it could not be read."""

    path: str | None  # None for an image that came without a file
    predictions: list[Guess] = field(default_factory=list)
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """{"path", "predictions": [{"label", "probability"}], "error"}."""
        return asdict(self)


class Classifier:
    """A network with its card, ready to name pictures."""

    def __init__(self, network: Network, card: Card, device: str | torch.device = "auto", precision: str = "auto"):
        """device: "auto", "cpu", "cuda", "cuda:1", "mps". precision: "auto", "float32", "bfloat16"."""
        self.card = card
        self.class_names = card.class_names
        self.preprocessing = Preprocessing.from_json(card.preprocessing)
        self.device = pick_device(str(device))
        self.precision = pick_precision(precision, self.device)
        moved = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: Network = moved.eval()
        self._weights = held_weights(self.network, self.precision)

    def __repr__(self) -> str:
        """ "<Classifier modern at 160 px, 17 classes, cpu, bfloat16>"."""
        network = f"{self.card.network} at {self.preprocessing.input_size} px, {len(self.class_names)} classes"
        return f"<Classifier {network}, {self.device}, {str(self.precision).removeprefix('torch.')}>"

    def predict(self, images: Iterable[Picture], top_k: int = 5, views: int = 1) -> list[Prediction]:
        """The `top_k` most probable classes of each image, in the order given.

        images: paths, PIL images or uint8 arrays (H, W, 3) or (H, W), mixed as you like. An image that cannot be read
        gets a Prediction with `error`; the others get their answers. top_k: at least 1, at most all classes are given.
        views: 1 (the centre), 10 (the paper's: corners, centre and their mirror images, averaged) or 9.
        """
        if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise UsageError("predict takes a list of images; put the one image into a list: predict([image])")
        if top_k < 1:
            raise UsageError(f"top_k is {top_k}; ask for at least 1 answer an image")
        check_views(views)
        answers: list[Prediction] = []
        with ThreadPoolExecutor() as readers:
            for batch in _batches(images, max(1, BATCH // views)):
                answers += self._answer(batch, list(readers.map(self._read, batch)), top_k, views)
        return answers

    def _read(self, image: Picture) -> Pixels | str:
        """The image in its stored form, uint8 (S, S, 3), by the steps that packed the training images; or why not."""
        # The same PIL image may be given twice, and its lazy loading is not safe in two threads at once.
        try:
            with _PIL_LOADING if isinstance(image, Image.Image) else nullcontext():
                return square(decode(image), self.preprocessing.store_size)
        except ImageError as error:
            return str(error)

    def _answer(self, batch: list[Picture], read: list[Pixels | str], top_k: int, views: int) -> list[Prediction]:
        """The predictions of one batch; only what could be read goes through the network."""
        stored = [image for image in read if not isinstance(image, str)]
        guesses = iter(self._guess(np.stack(stored), top_k, views) if stored else ())
        return [
            Prediction(_path(image), error=result)
            if isinstance(result, str)
            else Prediction(_path(image), next(guesses))
            for image, result in zip(batch, read, strict=True)
        ]

    def _guess(self, stored: Pixels, top_k: int, views: int) -> list[list[Guess]]:
        """uint8 (N, S, S, 3) -> for each image its best classes."""
        network = (self.network, self._weights, self.preprocessing)
        answers = of_images(*network, list(stored), views, self.device, self.precision)
        best = answers.topk(min(top_k, len(self.class_names)), dim=1)
        return [
            [Guess(self.class_names[index], probability) for index, probability in zip(*row, strict=True)]
            for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]


def load(path: str | Path, device: str | torch.device = "auto", precision: str = "auto") -> Classifier:
    """The classifier in a run's folder (its weights/best.safetensors) or in a .safetensors file.

    UsageError for a path that is neither, WeightsError for a file that is damaged or no weights file.
    """
    network, card = load_weights(model_file(path))
    return Classifier(network, card, device, precision)


def _batches(images: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    waiting = iter(images)
    while batch := list(islice(waiting, size)):
        yield batch


def _path(image: Picture) -> str | None:
    """The path as it was given; a PIL image opened from a file knows its own."""
    if isinstance(image, Image.Image):
        return getattr(image, "filename", None) or None
    return str(image) if isinstance(image, (str, Path)) else None
