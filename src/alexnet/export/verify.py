"""The proof of an export: it answers photos as the model does from which it was made.

Both get the same decoded pixels, and tell the same where they tell 'none of these'. K classes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet.data.form import fitted
from alexnet.data.images import Pixels
from alexnet.data.places import network_input
from alexnet.errors import AlexNetError
from alexnet.export.formats import Tolerance
from alexnet.inference.classifier import Classifier
from alexnet.inference.runtime import WHOLE, Engine
from alexnet.weights.exported import PROBABILITIES, UNKNOWN

T = TypeVar("T")
UNKNOWN_MARGIN = 5  # the score for 'none of these' may differ by so many times what a probability may
UNTIMED = 2  # first photos, of which the times are left out: engines allocate then


class Answer(NamedTuple):
    """What is said of one photo."""

    probabilities: NDArray[np.float32]  # (K,)
    unknown: float | None  # above 1 for 'none of these'; None where it is not told


@dataclass(frozen=True)
class Proof:
    """What came of the comparison."""

    photos: int
    agree: int  # with the same best class
    ties: int  # of the others those whose two best classes are as close as the tolerance
    difference: float  # largest of a probability
    unknown_agree: int | None  # photos that both or neither take for none of the classes; None where it is not told
    unknown_difference: float | None  # largest of its score over the threshold
    seconds: float  # median for one photo from its pixels, by the export
    model_seconds: float  # and by the model

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def check(self, tolerance: Tolerance) -> None:
        """AlexNetError where the answers are further apart than that."""
        differing = self.photos - self.agree - self.ties
        strange = (
            self.unknown_difference is not None and self.unknown_difference > UNKNOWN_MARGIN * tolerance.difference
        )
        if differing > self.photos * (1 - tolerance.agreement) or self.difference > tolerance.difference or strange:
            raise AlexNetError(
                f"the export answers otherwise than the model and is not kept: {self.agree} of {self.photos} photos "
                f"get the same class, at least {tolerance.agreement:.1%} should; a probability differs by "
                f"{self.difference:.4f}, at most {tolerance.difference:g} is allowed{self._unknown(tolerance)}; "
                "take another precision or format"
            )

    def _unknown(self, tolerance: Tolerance) -> str:
        if self.unknown_difference is None:
            return ""
        most = UNKNOWN_MARGIN * tolerance.difference
        return f", the score for 'none of these' by {self.unknown_difference:.4f}, at most {most:g} is allowed"


def prove(
    classifier: Classifier,
    engine: Engine,
    photos: Iterable[Pixels],
    tolerance: Tolerance,
    progress: Callable[[int], None] | None = None,
) -> Proof:
    """Answer each photo, uint8 (H, W, 3), by the model and by the export, in turn. AlexNetError without any photo."""
    pairs: list[tuple[Answer, Answer]] = []
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
    medians = [median(each) for each in zip(*steady, strict=True)]
    return Proof(*_compared(pairs, tolerance), *_unknown_compared(pairs), *medians)


def of_model(classifier: Classifier, pixels: Pixels) -> Answer:
    """The model's answer to a photo, uint8 (H, W, 3)."""
    form = classifier.form
    chances, unknown = classifier.answers([fitted(pixels, form.size, form.fit)])
    return Answer(chances[0], None if unknown is None else float(unknown[0]))


def of_export(classifier: Classifier, engine: Engine, pixels: Pixels) -> Answer:
    """The export's answer; one that takes batches gets what the model's preprocessing makes of the photo."""
    given: NDArray[Any] = pixels
    if engine.input != WHOLE:
        form = classifier.form
        given = network_input([fitted(pixels, form.size, form.fit)], classifier.card.preprocessing)
    told = dict(zip(engine.outputs, engine(given), strict=True))
    chances = np.asarray(told[PROBABILITIES], np.float32).reshape(-1)
    return Answer(chances, float(np.asarray(told[UNKNOWN]).reshape(())) if UNKNOWN in told else None)


def _compared(pairs: Sequence[tuple[Answer, Answer]], tolerance: Tolerance) -> tuple[int, int, int, float]:
    agree = ties = 0
    largest = 0.0
    for (own, own_score), (found, score) in pairs:
        if found.shape != own.shape or not np.isfinite(found).all() or (own_score is None) != (score is None):
            raise AlexNetError(f"the export gives {found[:3]}, ... of shape {found.shape} and {score}; it is not kept")
        largest = max(largest, float(np.abs(own - found).max()))
        same = int(own.argmax()) == int(found.argmax())
        agree += same
        ties += not same and own.max() - own[found.argmax()] <= 2 * tolerance.difference
    return len(pairs), agree, int(ties), largest


def _unknown_compared(pairs: Sequence[tuple[Answer, Answer]]) -> tuple[int | None, float | None]:
    scores = [(own.unknown, found.unknown) for own, found in pairs if own.unknown is not None]
    if not scores:
        return None, None
    own, found = np.array(scores, np.float64).T
    return int(((own > 1) == (found > 1)).sum()), float(np.abs(own - found).max())


def _timed(compute: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    found = compute()
    return found, time.perf_counter() - begin
