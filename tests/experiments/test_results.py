"""Interpolated epochs, selected rates, statistics over seeds and sentences."""

import dataclasses

import pytest

from alexnet.experiments.experiment import Arm, Study
from alexnet.experiments.results import (
    Outcome,
    best_rate,
    curves_of,
    epochs_to,
    is_significant,
    sentence,
    study_statistics,
)
from alexnet.training.recipes import recipe

BASE = recipe("cifar-19pct", stop_train_error=0.25, epochs=50)


def outcome(arm: str, seed: int, **figures: object) -> Outcome:
    return Outcome("S", arm, seed, None, f"runs/{arm}-{seed}", **figures)


def study(measure: str, *names: str) -> Study:
    return Study("S", "cifar10", BASE, tuple(Arm(name) for name in names), measure)


def test_epochs_to_the_target_are_interpolated_linearly() -> None:
    assert epochs_to(0.25, [0.6, 0.4, 0.2, 0.1]) == pytest.approx(2.25)
    assert epochs_to(0.25, [0.6, 0.25]) == pytest.approx(1.5)
    assert epochs_to(0.25, [0.1]) == pytest.approx(0.5)
    assert epochs_to(0.25, [0.6, 0.3]) is None


def test_curves_have_gaps_for_epochs_without_evaluation() -> None:
    rows = [
        {"epoch": "1", "train_top1": "0.25", "test_top1": ""},
        {"epoch": "2", "train_top1": "0.5", "test_top1": "0.4"},
    ]
    assert curves_of(rows) == {"epoch": [1.0, 2.0], "train_error": [0.75, 0.5], "held_out_error": [None, 0.6]}


def test_the_best_rate_reaches_the_target_first_or_has_the_lowest_training_error() -> None:
    slow, soon = outcome("a", 0, epochs_to_target=9.0), outcome("a", 0, epochs_to_target=4.0)
    near, far = outcome("a", 0, train_error=0.3), outcome("a", 0, train_error=0.7)
    lost = outcome("a", 0, diverged=True)
    assert best_rate({0.1: far, 0.2: slow, 0.3: soon, 0.4: near, 0.5: lost}, "epochs") == 0.3
    assert best_rate({0.1: far, 0.4: near, 0.5: lost}, "epochs") == 0.4
    assert best_rate({0.5: lost, 0.1: far}, "epochs") == 0.1
    bad, good = outcome("a", 0, error=0.4, train_error=0.0), outcome("a", 0, error=0.2, train_error=0.1)
    assert best_rate({0.1: bad, 0.2: good, 0.3: lost}, "error") == 0.2


def test_ratios_of_epochs_are_paired_by_seed() -> None:
    found = {
        ("S", "ReLU"): [outcome("ReLU", seed, epochs_to_target=value) for seed, value in enumerate((4.0, 5.0))],
        ("S", "tanh"): [outcome("tanh", seed, epochs_to_target=value) for seed, value in enumerate((20.0, 30.0))],
        ("S", "sigmoid"): [outcome("sigmoid", seed, epochs_to_target=value) for seed, value in enumerate((40.0, None))],
    }
    relu, tanh, sigmoid = study_statistics(made := study("epochs", "ReLU", "tanh", "sigmoid"), found)
    assert (relu.mean, relu.difference) == (4.5, 1.0)
    assert (tanh.difference, tanh.difference_std) == (pytest.approx(5.5), pytest.approx(0.5**0.5))
    assert (sigmoid.mean, sigmoid.difference, sigmoid.values) == (None, None, [40.0, None])
    assert sentence(made, [relu, tanh, sigmoid]) == (
        "ReLU reaches 25% training error after 4.5 ± 0.7 epochs; tanh after 25.0 ± 7.1, 5.5 ± 0.7 times as many; "
        "not significant; sigmoid: reached in 1 of 2 runs."
    )
    assert sentence(
        made, study_statistics(made, {**found, ("S", "ReLU"): [outcome("ReLU", seed) for seed in (0, 1)]})
    ) == (
        "25% training error within 50 epochs: ReLU: not reached; tanh after 25.0 ± 7.1; "
        "sigmoid: reached in 1 of 2 runs."
    )


def test_differences_of_errors_are_paired_by_seed() -> None:
    errors = {"none": (0.30, 0.40, 0.35), "all": (0.25, 0.35, 0.31), "same": (0.31, 0.40, 0.35)}
    found = {("S", arm): [outcome(arm, n, error=e) for n, e in enumerate(each)] for arm, each in errors.items()}
    none, every, same = study_statistics(made := study("error", "none", "all", "same"), found)
    assert every.difference == pytest.approx(-0.14 / 3)
    assert (every.significant, same.significant) == (True, False)
    assert "all 30.3 ± 5.0 % (4.7 ± 0.6 points fewer); same" in sentence(made, [none, every, same])
    assert "same 35.3 ± 4.5 % (0.3 ± 0.6 points more; not significant)." in sentence(made, [none, every, same])


def test_one_seed_has_no_standard_deviation_and_a_diverged_arm_no_mean() -> None:
    found = {
        ("S", "a"): [outcome("a", 0, error=0.3)],
        ("S", "b"): [outcome("b", 0, error=0.2)],
        ("S", "c"): [outcome("c", 0, diverged=True)],
    }
    a, b, c = study_statistics(made := study("error", "a", "b", "c"), found)
    assert (b.std, b.significant, c.mean) == (None, False, None)
    assert sentence(made, [a, b, c]) == (
        "S: a 30.0 % test error; b 20.0 % (10.0 points fewer); c: diverged. One seed each: a difference may be chance."
    )


def test_an_error_of_zero_is_compared_and_a_diverged_reference_is_not() -> None:
    found = {("S", "a"): [outcome("a", 0, error=0.0)], ("S", "b"): [outcome("b", 0, error=0.1)]}
    a, b = study_statistics(made := study("error", "a", "b"), found)
    assert (b.difference, sentence(made, [a, b])) == (
        pytest.approx(0.1),
        "S: a 0.0 % test error; b 10.0 % (10.0 points more). One seed each: a difference may be chance.",
    )
    found["S", "b"] = [outcome("b", 0, error=0.0)]
    assert sentence(made, study_statistics(made, found)).startswith(
        "S: a 0.0 % test error; b 0.0 % (no difference). One seed"
    )
    found["S", "b"] = [outcome("b", 0, error=0.1)]
    found["S", "a"] = [outcome("a", 0, diverged=True)]
    assert sentence(made, study_statistics(made, found)) == "S: a: diverged; b 10.0 %."


def test_a_difference_is_significant_where_its_95_percent_interval_excludes_zero() -> None:
    """Student's t of three degrees of freedom has its 97.5 % point at 3.182; the standard error is 0.02 here."""
    assert is_significant(0.0637, 0.04, 4, 0.0)
    assert not is_significant(0.0636, 0.04, 4, 0.0)
    assert not is_significant(1.03, 0.04, 4, 1.0)
    assert not is_significant(0.5, None, 1, 0.0)
    assert not is_significant(0.5, 0.0, 2, 0.0)  # equal differences, which happens with few images


def test_a_study_of_epochs_needs_a_target() -> None:
    with pytest.raises(ValueError, match="epochs need a stop_train_error"):
        Study("S", "cifar10", dataclasses.replace(BASE, stop_train_error=None), (Arm("a"),), "epochs")
    with pytest.raises(ValueError, match="two arms of one name"):
        Study("S", "cifar10", BASE, (Arm("no ReLU"), Arm("no, relu")))
