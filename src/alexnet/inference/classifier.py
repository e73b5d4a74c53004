"""A trained network in use: images in; class probabilities or feature vectors out."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.device import pick_device, pick_precision
from alexnet.errors import ImageError, UsageError
from alexnet.evaluation import features
from alexnet.evaluation.calibrate import check_share
from alexnet.evaluation.features import check_layers, hidden_layer
from alexnet.evaluation.predict import of_images
from alexnet.inference.answers import BATCH, Answering, Answers
from alexnet.inference.inputs import ImageInputs, as_path
from alexnet.networks.layers import Network
from alexnet.networks.prepared import Prepared
from alexnet.weights.calibration import Known
from alexnet.weights.card import Card, checksum, tensors_of
from alexnet.weights.card import save as save_weights
from alexnet.weights.named import is_published
from alexnet.weights.named import load as load_weights


class Classifier(Answering):
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
        self.form = self.preprocessing.form
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
        for batch in self.batches(images, BATCH):
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

    @property
    def temperature(self) -> float:
        """By what logits are divided; 1 without a calibration."""
        return self.card.calibration.temperature if self.card.calibration else 1.0

    @property
    def known(self) -> Known | None:
        """What the score for 'none of these' needs; None where the model cannot tell."""
        return self.card.calibration.known if self.card.calibration else None

    def probabilities(self, stored: Sequence[Pixels], views: int = 1) -> NDArray[np.float32]:
        """N of uint8 (S, S, 3) -> float32 (N, K), averaged over the views."""
        return of_images(self.prepared, self.preprocessing, stored, views, self.temperature).numpy()

    def answers(self, stored: Sequence[Pixels], views: int = 1) -> Answers:
        """N of uint8 (S, S, 3) -> the same probabilities, and the scores for 'none of these', of the centre views."""
        if self.known is None or self.card.calibration is None:
            return Answers(self.probabilities(stored, views), None)
        last = list(self.network.stages())[-1][0]
        parts = (self.prepared, self.preprocessing, stored, [*self.known.layers, last], "average")
        found = {name: each.numpy() for name, each in features.of_images(*parts).items()}
        chances = self.card.calibration.probabilities(found.pop(last))
        return Answers(chances if views == 1 else self.probabilities(stored, views), self.known.unknown(chances, found))

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of weights and card, as a weights file has it."""
        return checksum(self.card, tensors_of(self.network, self.card))

    @property
    def computed(self) -> str:
        """ "cpu, float32"."""
        return f"{self.device.type}, {str(self.precision).removeprefix('torch.')}"

    def sets(self, probabilities: NDArray[np.float32], coverage: float, views: int = 1) -> NDArray[np.bool_]:
        """As `Answering.sets`; UsageError, too, for several views, for sets are measured on the centre view alone."""
        check_share("coverage", coverage)
        calibration = self.card.calibration
        if calibration is None or calibration.nonconformity is None:
            raise UsageError(f"{self.name} is not calibrated, so no coverage can be held; run alexnet calibrate first")
        if views != 1:
            raise UsageError(f"views is {views}, and coverage is held by the centre view alone; leave --views out")
        return calibration.sets(probabilities, coverage)

    def _vectors(self, stored: list[Pixels], layer: str, pool: str) -> Tensor:
        """N of uint8 (S, S, 3) -> what this stage gives, float32 (N, D) on the processor."""
        return features.of_images(self.prepared, self.preprocessing, stored, [layer], pool)[layer]


def load(path: str | os.PathLike[str], device: str | torch.device = "auto", precision: str = "float32") -> Classifier:
    """The classifier in a run's folder (its weights/best.safetensors), in a weights file, or published.

    path: a run's folder; a .safetensors file or one of another program (`alexnet.weights.convert`); or the name of
    published weights such as "imagenet:bvlc", or of a model on a hub, "hub:owner/name" or "hub:owner/name@revision";
    both are fetched into a cache where they are not on this machine.
    device, precision: as for `Classifier`. WeightsError for a path that is none of these, and for a file that is
    damaged or no weights file.
    """
    network, card = load_weights(path)
    return Classifier(network, card, device, precision, None if is_published(path) else Path(path))
