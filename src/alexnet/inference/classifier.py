"""A trained network in use: images in; class probabilities or feature vectors out."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.images import ImageSource, Pixels
from alexnet.data.preprocess import Preprocessing, check_views
from alexnet.device import pick_device, pick_precision
from alexnet.errors import ImageError, UsageError
from alexnet.evaluation import features
from alexnet.evaluation.features import check_layers, hidden_layer
from alexnet.evaluation.predict import of_images
from alexnet.inference.inputs import ImageInput, ImageInputs, as_path, check_count, each_image, path_of, pixels_of
from alexnet.networks.layers import Network
from alexnet.networks.prepared import Prepared
from alexnet.weights.card import Card
from alexnet.weights.card import save as save_weights
from alexnet.weights.named import load as load_weights
from alexnet.weights.pretrained import is_name

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
class _Decoded:
    """One image of the caller in the stored form, or the reason why there is none."""

    path: str | None
    pixels: Pixels | None = None  # uint8 (S, S, 3)
    error: str | None = None
    note: str | None = None


class Classifier:
    """A network with its card: its class names and the preprocessing that it was trained with."""

    def __init__(
        self,
        network: Network,
        card: Card,
        device: str | torch.device = "auto",
        precision: str = "float32",
        origin: Path | None = None,
    ):
        """Move the network to the device and switch it to evaluation mode.

        device: "auto", "cpu", "cuda", "cuda:1", "mps". precision: "float32", "bfloat16", or "auto", the faster one on
        this device; in float32 the answers are the same on every machine up to rounding.
        origin: the run's folder or file that it was loaded from, by which `evaluate` knows what it was trained on; None
        for one that has neither, as published weights.
        """
        self.card = card
        self.class_names = card.class_names
        self.preprocessing = Preprocessing.from_json(card.preprocessing)
        self.device = pick_device(str(device))
        self.precision = pick_precision(str(precision), self.device)
        self.origin = origin
        moved = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: Network = moved.eval()
        self.prepared = Prepared(self.network, self.device, self.precision)

    @property
    def name(self) -> str:
        """What it was loaded from: "runs/mine", "imagenet:bvlc"; else its network."""
        return str(self.origin or self.card.training.get("published") or self.card.network)

    def __repr__(self) -> str:
        """ "<Classifier modern at 160 px, 17 classes, cpu, float32>"."""
        network = f"{self.card.network} at {self.preprocessing.input_size} px, {len(self.class_names)} classes"
        return f"<Classifier {network}, {self.device}, {str(self.precision).removeprefix('torch.')}>"

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
        check_views(views)
        answers: list[Prediction] = []
        for batch in self._batches(images, max(1, BATCH // views)):
            stored = [image.pixels for image in batch if image.pixels is not None]
            guesses = iter(self._guess(stored, top_k, views) if stored else ())
            answers += [
                Prediction(image.path, error=image.error)
                if image.pixels is None
                else Prediction(image.path, next(guesses), note=image.note)
                for image in batch
            ]
        return answers

    def embed(self, images: ImageInputs, layer: str | None = None, pool: str = "average") -> NDArray[np.float32]:
        """A feature vector of each image: float32 (N, D), from its centre view.

        images: as for `predict`. layer: the stage whose output is taken; None: the last hidden dense layer after its
        ReLU (fc7 in the published networks), or the last maps where there is none. pool: "average" takes the mean of
        each map over its places, "none" flattens maps, (C, H, W) in this order.
        Raises ImageError for a file that cannot be read, UsageError as `predict` does and for an unknown layer or pool.
        """
        layer = hidden_layer(self.network) if layer is None else layer
        check_layers(self.network, [layer], pool)
        vectors = []
        for batch in self._batches(images, BATCH):
            if unread := next((image for image in batch if image.pixels is None), None):
                raise ImageError(f"{unread.path or 'an image'}: {unread.error}")
            vectors.append(self._vectors([image.pixels for image in batch if image.pixels is not None], layer, pool))
        if not vectors:
            side = self.preprocessing.store_size
            return self._vectors([np.zeros((side, side, 3), np.uint8)], layer, pool).numpy()[:0]
        return torch.cat(vectors).numpy()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .safetensors file with weights (float32) and card, from which `load` gives an equal classifier.

        The file appears whole or not at all. UsageError for another suffix.
        """
        path = as_path("the file to save to", path)
        if path.suffix != ".safetensors":
            raise UsageError(f"{path} does not end in .safetensors, the one format of weights; rename it")
        save_weights(path, self.network, self.card)

    def _batches(self, images: ImageInputs, size: int) -> Iterator[list[_Decoded]]:
        """The images in batches of at most `size`, decoded by several threads while they are asked for."""
        waiting = iter(each_image(images))
        with ThreadPoolExecutor() as readers:
            while batch := list(islice(waiting, size)):
                yield list(readers.map(self._decode, batch))

    def _decode(self, image: ImageInput) -> _Decoded:
        """The image in its stored form, by the steps that packed the training images."""
        remarks: list[str] = []

        def read(source: ImageSource) -> Pixels:
            packed = self.preprocessing.form.pack(source)
            remarks.extend(packed.remarks())
            return packed.pixels

        try:
            return _Decoded(path_of(image), pixels_of(image, read), note="; ".join(remarks) or None)
        except ImageError as error:
            return _Decoded(path_of(image), error=str(error))

    def _guess(self, stored: list[Pixels], top_k: int, views: int) -> list[list[Guess]]:
        """N of uint8 (S, S, 3) -> for each image its best classes."""
        answers = of_images(self.prepared, self.preprocessing, stored, views)
        best = answers.topk(min(top_k, len(self.class_names)), dim=1)
        return [
            [Guess(self.class_names[index], probability) for index, probability in zip(*row, strict=True)]
            for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _vectors(self, stored: list[Pixels], layer: str, pool: str) -> Tensor:
        """N of uint8 (S, S, 3) -> what this stage gives, float32 (N, D) on the processor."""
        return features.of_images(self.prepared, self.preprocessing, stored, [layer], pool)[layer]


def load(path: str | os.PathLike[str], device: str | torch.device = "auto", precision: str = "float32") -> Classifier:
    """The classifier in a run's folder (its weights/best.safetensors), in a weights file, or published.

    path: a run's folder; a .safetensors file or one of another program (`alexnet.weights.convert`); or the name of
    published weights such as "imagenet:bvlc", fetched into the cache where they are not on this machine.
    device, precision: as for `Classifier`. UsageError for a path that is none of these, WeightsError for a file that is
    damaged or no weights file.
    """
    network, card = load_weights(path)
    return Classifier(network, card, device, precision, None if is_name(path) else Path(path))
