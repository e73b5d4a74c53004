"""Two models on the same images: McNemar's test and the interval of the difference."""

import numpy as np
import pytest
from scipy.stats import binomtest

from alexnet.errors import UsageError
from alexnet.evaluation.paired import paired


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (3, 9), (20, 20), (0, 15)])
def test_p_value_is_that_of_the_binomial_test(lost: int, won: int) -> None:
    first = np.array([True] * lost + [False] * won + [True] * 50)
    second = np.array([False] * lost + [True] * won + [True] * 50)
    found = paired(first, second)
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert found.p_value == pytest.approx(expected)
    assert (found.lost, found.won) == (lost, won)
    assert found.difference == pytest.approx(found.second_top1 - found.first_top1)
    assert found.interval[0] < found.difference < found.interval[1]


def test_interval_holds_the_difference_of_most_draws() -> None:
    """95 % of the intervals of 300 images hold the true difference of -2 points, within three standard deviations."""
    random, held = np.random.default_rng(0), 0
    for _ in range(1000):
        first = random.random(300) < 0.9
        second = np.where(random.random(300) < 0.94, first, random.random(300) < 0.9 - 0.02 / 0.06)
        low, high = paired(first, second).interval
        held += low <= -0.02 <= high
    assert 0.93 < held / 1000 < 0.975


def test_answers_of_other_images_are_refused() -> None:
    with pytest.raises(UsageError, match="for every image"):
        paired([True, False], [True])
    with pytest.raises(UsageError, match="for every image"):
        paired([], [])
