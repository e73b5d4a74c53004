"""Two models compared on the same images: which answers differ, and what that says of others. N images."""

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from alexnet.errors import UsageError


@dataclass(frozen=True)
class Paired:
    """The second model beside the first; shares are fractions, 0..1."""

    images: int
    first_top1: float
    second_top1: float
    lost: int  # images that the first model alone answers rightly
    won: int  # images that the second alone answers rightly
    difference: float  # second_top1 - first_top1
    interval: tuple[float, float]  # 95 % confidence interval of the difference
    p_value: float  # of McNemar's exact test: how likely so unequal `lost` and `won` are between equal models

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {**asdict(self), "interval": list(self.interval)}


def paired(first: ArrayLike, second: ArrayLike) -> Paired:
    """Compare two models by whether each answered rightly: bool (N,), the same images in the same order.

    The interval is Wald's with half an image added to each of the four counts, which holds for few images (Agresti and
    Min 2005, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24). The
    test: McNemar 1947, by the binomial distribution. UsageError without images or for different numbers of them.
    """
    one, two = np.asarray(first, bool), np.asarray(second, bool)
    if one.shape != two.shape or one.ndim != 1 or not len(one):
        raise UsageError(f"answers of shape {one.shape} and {two.shape}; give one of each model for every image")
    lost, won, images = int((one & ~two).sum()), int((two & ~one).sum()), len(one)
    return Paired(
        images,
        float(one.mean()),
        float(two.mean()),
        lost,
        won,
        (won - lost) / images,
        _interval(lost, won, images),
        _mcnemar(lost, won),
    )


def _interval(lost: int, won: int, images: int) -> tuple[float, float]:
    total, gain, changed = images + 2, won - lost, won + lost + 1
    half = NormalDist().inv_cdf(0.975) * math.sqrt(changed - gain**2 / total) / total
    return max(-1.0, gain / total - half), min(1.0, gain / total + half)


def _mcnemar(lost: int, won: int) -> float:
    """Two-sided: twice the chance of so few of `lost + won` fair coins, at most 1."""
    changed = lost + won
    tail: float = sum(math.comb(changed, count) for count in range(min(lost, won) + 1)) / 2**changed
    return min(1.0, 2 * tail)
