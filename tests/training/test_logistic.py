"""Logistic regression: the classifier of raw features is scikit-learn's of standardised ones, its C chosen as said."""

import logging

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from alexnet.training import logistic
from alexnet.training.logistic import GRID, UNCHOSEN, choose, standardised


def clouds(
    classes: int, each: int, spread: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Normal clouds with 12 features of unequal scale, the last of which never changes."""
    centres = np.random.default_rng(9).normal(size=(classes, 12))
    draw = np.random.default_rng(seed)
    labels = np.arange(classes).repeat(each)
    features = (centres[labels] + spread * draw.normal(size=(len(labels), 12))) * np.geomspace(0.01, 100, 12) + 7
    features[:, -1] = 3
    return features.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_are_those_of_scikit_learn(classes: int, balanced: bool) -> None:
    (train, labels), (val, wanted) = clouds(classes, 30), clouds(classes, 20, seed=1)
    keep = (labels > 0) | (np.arange(len(labels)) < 8)  # classes of unequal size
    train, labels = train[keep], labels[keep]
    found = choose(train, labels, val, wanted, balanced)
    mean, scale = standardised(train)
    model = LogisticRegression(C=found.c, max_iter=1000, class_weight="balanced" if balanced else None)
    model.fit((train - mean) / scale, labels)
    logits = val @ found.weights.T + found.biases
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    assert chances == pytest.approx(model.predict_proba((val - mean) / scale), abs=2e-3)
    assert (chances.argmax(1) == wanted).mean() > 0.7
    assert found.chosen_on == "val"


def test_more_features_than_images_give_the_same_answer() -> None:
    train, labels = clouds(3, 5)
    wide = np.concatenate([train, np.random.default_rng(1).normal(size=(15, 40)).astype(np.float32)], 1)
    found = choose(wide, labels, wide[:0], labels[:0])
    mean, scale = standardised(wide)
    model = LogisticRegression(C=found.c, max_iter=1000, tol=1e-6).fit((wide - mean) / scale, labels)
    assert found.weights * scale == pytest.approx(model.coef_, abs=2e-3 * float(np.abs(model.coef_).max()))


def test_c_has_the_lowest_loss_of_those_tried_and_the_search_stops_when_it_rises() -> None:
    (train, labels), (val, wanted) = clouds(3, 25, spread=3), clouds(3, 40, spread=3, seed=1)
    found = choose(train, labels, val, wanted)
    losses = {each["c"]: each["loss"] for each in found.tried}
    assert found.c == min(losses, key=losses.__getitem__)
    assert GRID[0] < found.c < GRID[-1]
    assert list(losses) == list(GRID[: GRID.index(found.c) + 3])


def test_few_validation_images_leave_the_choice_to_folds() -> None:
    train, labels = clouds(3, 12)
    found = choose(train, labels, train[:5], labels[:5], seed=4)
    assert found.chosen_on == "cross-validation"
    again = choose(train, labels, train[:0], labels[:0], seed=4)
    assert np.array_equal(found.weights, again.weights)


def test_a_fifth_of_many_training_images_is_enough_to_choose_by() -> None:
    train, labels = clouds(3, 60, spread=3)
    found = choose(train, labels, train[:5], labels[:5], seed=4)
    assert found.chosen_on == "fifth"
    assert "a fifth of the training images" in found.told
    assert found.tried[0]["top1"] * 36 == pytest.approx(round(found.tried[0]["top1"] * 36))
    assert 0.4 < max(each["top1"] for each in found.tried) < 1


def test_a_class_of_one_image_takes_a_fixed_c() -> None:
    train, labels = clouds(3, 5)
    found = choose(train[4:], labels[4:], train[:0], labels[:0])
    assert (found.c, found.chosen_on, found.tried) == (UNCHOSEN, None, [])
    assert "no image was left to choose it by" in found.told


def test_want_of_convergence_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(logistic, "ITERATIONS", 1)
    train, labels = clouds(3, 5)
    with caplog.at_level(logging.WARNING):
        choose(train, labels, train[:0], labels[:0])
    assert "has not converged after 1 iterations" in caplog.text
