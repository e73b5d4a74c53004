"""Calibrated answers: logits and features to probabilities and a score for 'none of these', in plain NumPy.

N images, K classes, D features an image, R directions, C centres. The formulas are few, so that a graph or a page can
hold them too:

    probabilities   p = softmax(logits / temperature)
    directions      u = (f / |f| - mean) projection           f: the features of one image
    distance        d = the least |u - centre| over the centres
    score           s = doubt (1 - largest p) + d
    unknown         s / threshold, above 1 where the image is taken for none of the classes

The temperature is that of Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks"; it never
changes which class is the most probable. The distance is that of Lee, Lee, Lee and Shin 2018, "A Simple Unified
Framework for Detecting Out-of-Distribution Samples", where `projection` whitens the features within classes. This file
imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.errors import WeightsError

PREFIX = "calibration."  # of the names of its tensors in a weights file, which no network has
ARRAYS = ("mean", "projection", "centres")  # of `Known`, tensors of the weights file
LEAST_NORM = 1e-12  # of features, so that those of an image without any are divided by something

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Known:
    """What the images of the classes look like to the network: all that the score for 'none of these' needs."""

    layer: str  # the network's stage whose output is the features; maps are averaged over their places
    doubt: float  # weight of 1 - largest probability
    threshold: float  # the score above which an image is taken for none of the classes
    mean: Array  # (D,) of the unit features
    projection: Array  # (D, R)
    centres: Array  # (C, R)

    def __post_init__(self) -> None:
        width, directions = self.projection.shape if self.projection.ndim == 2 else (0, 0)
        if self.mean.shape != (width,) or self.centres.shape[1:] != (directions,) or not self.centres.size:
            shapes = ", ".join(f"{name} {getattr(self, name).shape}" for name in ARRAYS)
            raise WeightsError(f"the card's calibration has tensors that do not fit each other: {shapes}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Known)
            and (self.layer, self.doubt, self.threshold) == (other.layer, other.doubt, other.threshold)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ARRAYS)
        )

    def distance(self, features: ArrayLike) -> Array:
        """float (N, D) -> float32 (N,): the distance of each image to the nearest centre."""
        values = np.asarray(features, np.float32)
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        u = (values / np.maximum(norms, LEAST_NORM) - self.mean) @ self.projection
        squares = (u**2).sum(1, keepdims=True) - 2 * u @ self.centres.T + (self.centres**2).sum(1)
        found: Array = np.sqrt(np.maximum(squares.min(1), 0), dtype=np.float32)
        return found

    def score(self, probabilities: ArrayLike, features: ArrayLike) -> Array:
        """float (N, K), calibrated, and (N, D) -> float32 (N,): larger for images that look like no class."""
        largest = np.asarray(probabilities, np.float32).max(1)
        found: Array = np.float32(self.doubt) * (1 - largest) + self.distance(features)
        return found

    def unknown(self, probabilities: ArrayLike, features: ArrayLike) -> Array:
        """float (N, K), calibrated, and (N, D) -> float32 (N,): the score over the threshold, above 1 for 'none'."""
        return self.score(probabilities, features) / np.float32(self.threshold)


@dataclass(frozen=True)
class Calibration:
    """How a network's outputs become answers that a person can trust; an optional part of the card."""

    temperature: float = 1.0  # above 0; above 1 where the network is too sure, below 1 where it is too modest
    known: Known | None = None  # None where 'none of these' is not told
    measured: dict[str, Any] = field(default_factory=dict)  # for information: images, false alarms, errors

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise WeightsError(f"the card's temperature is {self.temperature!r}; it must be a number above 0")

    def probabilities(self, logits: ArrayLike) -> Array:
        """Float (N, K) -> float32 (N, K), 0..1, each row with the sum 1."""
        scaled = np.asarray(logits, np.float32) / np.float32(self.temperature)
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        found: Array = powers / powers.sum(1, keepdims=True)
        return found

    def to_json(self) -> dict[str, Any]:
        """Its numbers: {"temperature", "measured"}, and {"layer", "doubt", "threshold"} as "known" where there is one.

        The arrays are not in it: they are tensors of the weights file, see `arrays`.
        """
        known = self.known and {name: getattr(self.known, name) for name in ("layer", "doubt", "threshold")}
        return {"temperature": self.temperature, "known": known, "measured": self.measured}

    def arrays(self) -> dict[str, Array]:
        """Its tensors by their names in a weights file; none without `known`."""
        return {PREFIX + name: getattr(self.known, name) for name in ARRAYS} if self.known else {}

    @classmethod
    def from_json(cls, values: object, arrays: Mapping[str, Array]) -> "Calibration":
        """The calibration of which `to_json` gave `values` and `arrays` the arrays. WeightsError for any other."""
        try:
            given: dict[str, Any] = values  # type: ignore[assignment]
            own: dict[str, Any] = {name: arrays[PREFIX + name] for name in ARRAYS} if given["known"] else {}
            known = Known(**given["known"], **own) if given["known"] else None
            return cls(float(given["temperature"]), known, dict(given["measured"]))
        except (TypeError, KeyError, ValueError) as error:
            raise WeightsError(f"the card's calibration is damaged ({error!r}); calibrate the model anew") from error
