"""The proof of an export: it answers photos as the model does from which it was made.

Both get the same decoded pixels. K classes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet.data.form import fitted
from alexnet.data.images import Pixels
from alexnet.data.places import network_input
from alexnet.errors import AlexNetError
from alexnet.export.formats import Tolerance
from alexnet.inference.classifier import Classifier
from alexnet.inference.runtime import Engine
from alexnet.weights.exported import PROBABILITIES

Chances = NDArray[np.float32]  # (K,)
T = TypeVar("T")
UNTIMED = 2  # first photos, of which the times are left out: engines allocate then


@dataclass(frozen=True)
class Proof:
    """What came of the comparison."""

    photos: int
    agree: int  # with the same best class
    ties: int  # of the others those whose two best classes are as close as the tolerance
    difference: float  # largest of a probability
    seconds: float  # median for one photo from its pixels, by the export
    model_seconds: float  # and by the model

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def check(self, tolerance: Tolerance) -> None:
        """AlexNetError where the answers are further apart than that."""
        differing = self.photos - self.agree - self.ties
        if differing > self.photos * (1 - tolerance.agreement) or self.difference > tolerance.difference:
            raise AlexNetError(
                f"the export answers otherwise than the model and is not kept: {self.agree} of {self.photos} photos "
                f"get the same class, at least {tolerance.agreement:.1%} should; a probability differs by "
                f"{self.difference:.4f}, at most {tolerance.difference:g} is allowed; take another precision or format"
            )


def prove(
    classifier: Classifier,
    engine: Engine,
    photos: Iterable[Pixels],
    tolerance: Tolerance,
    progress: Callable[[int], None] | None = None,
) -> Proof:
    """Answer each photo, uint8 (H, W, 3), by the model and by the export, in turn. AlexNetError without any photo."""
    pairs: list[tuple[Chances, Chances]] = []
    times: list[tuple[float, float]] = []
    for pixels in photos:
        own, model_seconds = _timed(partial(of_model, classifier, pixels))
        found, seconds = _timed(partial(of_export, classifier, engine, pixels))
        pairs.append((own, found))
        times.append((seconds, model_seconds))
        if progress:
            progress(len(pairs))
    if not pairs:
        raise AlexNetError(
            "none of the photos can be read, so the export is not proven and not kept; name others: --data"
        )
    steady = times[UNTIMED:] or times
    return Proof(*_compared(pairs, tolerance), *(median(each) for each in zip(*steady, strict=True)))


def of_model(classifier: Classifier, pixels: Pixels) -> Chances:
    """float32 (K,): the model's answer to a photo, uint8 (H, W, 3)."""
    form = classifier.form
    chances: Chances = classifier.probabilities([fitted(pixels, form.size, form.fit)])[0]
    return chances


def of_export(classifier: Classifier, engine: Engine, pixels: Pixels) -> Chances:
    """float32 (K,): the export's answer; one that takes batches gets what the model's preprocessing makes of it."""
    given: NDArray[Any] = pixels
    if engine.input != "image":
        form = classifier.form
        given = network_input([fitted(pixels, form.size, form.fit)], classifier.card.preprocessing)
    chances = engine(given)[engine.outputs.index(PROBABILITIES)]
    return np.asarray(chances, np.float32).reshape(-1)


def _compared(pairs: Sequence[tuple[Chances, Chances]], tolerance: Tolerance) -> tuple[int, int, int, float]:
    agree = ties = 0
    largest = 0.0
    for own, found in pairs:
        if found.shape != own.shape or not np.isfinite(found).all():
            raise AlexNetError(
                f"the export gives {found.shape} with values {found[:3]} for {own.shape}; it is not kept"
            )
        largest = max(largest, float(np.abs(own - found).max()))
        same = int(own.argmax()) == int(found.argmax())
        agree += same
        ties += not same and own.max() - own[found.argmax()] <= 2 * tolerance.difference
    return len(pairs), agree, int(ties), largest


def _timed(compute: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    found = compute()
    return found, time.perf_counter() - begin
