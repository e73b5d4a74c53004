"""Calibrated answers: logits and features to probabilities, sets, and a score for 'none of these', in plain NumPy.

N images, K classes, D features of a layer, R directions, C centres. The formulas are few, so that a graph or a page can
hold them too:

    probabilities   p = softmax(logits / temperature)
    features        z = r / |r|, r = sqrt(max(f, 0))          f: a layer's maps, averaged over their places
    distance        d = the least |(z - mean) projection - centre| over the centres of this layer
    score           s = doubt (1 - largest p) + the sum of d over the layers
    unknown         s / threshold, above 1 where the image is taken for none of the classes
    set             the most probable class, and all classes with 1 - p <= q

Sources. Temperature: Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks"; it never changes
which class is the most probable. Distances of several layers to class centres, whitened within the classes: Lee, Lee,
Lee and Shin 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples". Sets: Sadinle, Lei and
Wasserman 2019, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels"; q is the quantile of `quantile`.
This file imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.errors import WeightsError

PREFIX = "calibration."  # of the names of its tensors in a weights file, which no network has
NONCONFORMITY = PREFIX + "nonconformity"
ARRAYS = ("mean", "projection", "centres")  # of a `Place`, tensors of the weights file
LEAST_NORM = 1e-12  # of features, so that those of an image without any are divided by something

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Place:
    """Where the images of the classes lie among the features of one layer."""

    layer: str  # the network's stage whose output is the features; maps (H, W) are averaged over their places
    mean: Array  # (D,)
    projection: Array  # (D, R)
    centres: Array  # (C, R)

    def __post_init__(self) -> None:
        width, directions = self.projection.shape if self.projection.ndim == 2 else (0, 0)
        if self.mean.shape != (width,) or self.centres.shape[1:] != (directions,) or not self.centres.size:
            shapes = ", ".join(f"{name} {getattr(self, name).shape}" for name in ARRAYS)
            raise WeightsError(f"the card's calibration has tensors of {self.layer} that do not fit: {shapes}")

    def distance(self, features: ArrayLike) -> Array:
        """float (N, D) -> float32 (N,): the distance of each image to the nearest centre."""
        u = (unit_roots(features) - self.mean) @ self.projection
        squares = (u**2).sum(1, keepdims=True) - 2 * u @ self.centres.T + (self.centres**2).sum(1)
        found: Array = np.sqrt(np.maximum(squares.min(1), 0), dtype=np.float32)
        return found


@dataclass(frozen=True)
class Known:
    """What the images of the classes look like to the network: all that the score for 'none of these' needs."""

    doubt: float  # weight of 1 - largest probability
    threshold: float  # above 0: the score above which an image is taken for none of the classes
    places: tuple[Place, ...]  # one for each layer that is looked at, in order of computation

    @property
    def layers(self) -> list[str]:
        """The stages whose outputs the score needs."""
        return [place.layer for place in self.places]

    def score(self, probabilities: ArrayLike, features: Mapping[str, ArrayLike]) -> Array:
        """float (N, K), calibrated, and by layer (N, D) -> float32 (N,): larger for images that look like no class."""
        found: Array = np.float32(self.doubt) * (1 - np.asarray(probabilities, np.float32).max(1))
        for place in self.places:
            found = found + place.distance(features[place.layer])
        return found

    def unknown(self, probabilities: ArrayLike, features: Mapping[str, ArrayLike]) -> Array:
        """As `score`, over the threshold: float32 (N,), above 1 where the image is taken for none of the classes."""
        return self.score(probabilities, features) / np.float32(self.threshold)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How a network's outputs become answers that a person can trust; an optional part of the card."""

    temperature: float = 1.0  # above 0; above 1 where the network is too sure, below 1 where it is too modest
    known: Known | None = None  # None where 'none of these' is not told
    nonconformity: Array | None = None  # (M,) 1 - probability of the right class of M other images, ascending
    measured: dict[str, Any] = field(default_factory=dict)  # for information: images, false alarms, errors

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise WeightsError(f"the card's temperature is {self.temperature!r}; it must be a number above 0")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration) or self.to_json() != other.to_json():
            return False
        one, two = self.arrays(), other.arrays()
        return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)

    def probabilities(self, logits: ArrayLike) -> Array:
        """Float (N, K) -> float32 (N, K), 0..1, each row with the sum 1."""
        scaled = np.asarray(logits, np.float32) / np.float32(self.temperature)
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        found: Array = powers / powers.sum(1, keepdims=True)
        return found

    def sets(self, probabilities: ArrayLike, coverage: float) -> NDArray[np.bool_]:
        """float (N, K), calibrated -> bool (N, K): a set of classes for each image, the most probable one in it.

        With the chance `coverage`, 0..1, or more it holds the right class of a new image like those that
        `nonconformity` was measured on. WeightsError without these.
        """
        if self.nonconformity is None:
            raise WeightsError("the model's card has no scores to make sets from; run alexnet calibrate first")
        chances = np.asarray(probabilities, np.float32)
        found: NDArray[np.bool_] = 1 - chances <= np.float32(quantile(self.nonconformity, coverage))
        found[np.arange(len(found)), chances.argmax(1)] = True
        return found

    def to_json(self) -> dict[str, Any]:
        """Its numbers: {"temperature", "known": null or {"layers", "doubt", "threshold"}, "measured"}.

        The arrays are not in it: they are tensors of the weights file, see `arrays`.
        """
        known = self.known and {name: getattr(self.known, name) for name in ("layers", "doubt", "threshold")}
        return {"temperature": self.temperature, "known": known, "measured": self.measured}

    def arrays(self) -> dict[str, Array]:
        """Its tensors by their names in a weights file: "calibration.pool5.mean", "calibration.nonconformity", ..."""
        places = self.known.places if self.known else ()
        found = {f"{PREFIX}{place.layer}.{name}": getattr(place, name) for place in places for name in ARRAYS}
        return found if self.nonconformity is None else {**found, NONCONFORMITY: self.nonconformity}

    @classmethod
    def from_json(cls, values: object, arrays: Mapping[str, Array]) -> "Calibration":
        """The calibration of which `to_json` gave `values` and `arrays` the arrays. WeightsError for any other."""
        try:
            given: dict[str, Any] = values  # type: ignore[assignment]
            known = given["known"] and _known(given["known"], arrays)
            return cls(float(given["temperature"]), known, arrays.get(NONCONFORMITY), dict(given["measured"]))
        except (TypeError, KeyError, ValueError) as error:
            raise WeightsError(f"the card's calibration is damaged ({error!r}); calibrate the model anew") from error


def _known(values: dict[str, Any], arrays: Mapping[str, Array]) -> Known:
    places = [Place(layer, *(arrays[f"{PREFIX}{layer}.{name}"] for name in ARRAYS)) for layer in values["layers"]]
    return Known(float(values["doubt"]), float(values["threshold"]), tuple(places))


def unit_roots(features: ArrayLike) -> Array:
    """float (N, D) -> float32 (N, D): square roots of the shares that each feature has in their sum.

    Roots make large values count less (Hellinger's distance); shares make the brightness of an image count for nothing.
    """
    roots = np.sqrt(np.maximum(np.asarray(features, np.float32), 0))
    found: Array = roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), LEAST_NORM)
    return found


def quantile(scores: Array, share: float) -> float:
    """The least of M scores that at least `share` of new scores, drawn alike, do not exceed; infinity for too few.

    It is the score of rank ceil((M + 1) share), which holds for any M and any distribution: Vovk, Gammerman and Shafer
    2005, "Algorithmic Learning in a Random World"; Angelopoulos and Bates 2021, "A Gentle Introduction to Conformal
    Prediction", section 1.
    """
    rank = math.ceil(round((len(scores) + 1) * share, 9))
    return float(np.sort(scores)[max(rank, 1) - 1]) if rank <= len(scores) else math.inf
