"""A calibration is the one that its definitions ask for, by other libraries and by simulation."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.covariance import empirical_covariance, shrunk_covariance
from torch import nn

from alexnet.errors import UsageError
from alexnet.evaluation.calibrate import (
    DIRECTIONS,
    LEAST,
    SHRINKAGE,
    Answers,
    calibration,
    feature_layers,
    place,
    temperature,
)
from alexnet.evaluation.metrics import expected_calibration_error
from alexnet.networks import create, list_networks
from alexnet.networks.folding import folded
from alexnet.networks.layers import skip_init
from alexnet.weights.calibration import unit_roots


def drawn(images: int, seed: int, foreign: bool = False) -> Answers:
    """Images of four classes with too modest logits, and features of one layer; foreign ones lie elsewhere."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, images)
    logits = random.normal(size=(images, 4)) + 4 * np.eye(4)[labels] * random.random((images, 1))
    means = np.random.default_rng(9).random((5, 12)) + 0.5
    features = np.abs(means[4 if foreign else labels] + 0.1 * random.normal(size=(images, 12)))
    return Answers(logits.astype(np.float32) / 3, {"pool5": features.astype(np.float32)}, labels)


# --- temperature ---


def test_temperature_is_the_one_of_least_negative_log_likelihood() -> None:
    found = drawn(4000, 0)
    logits, labels = torch.from_numpy(found.logits).double(), torch.from_numpy(found.labels)
    heats = np.geomspace(0.05, 20, 2000)
    losses = [float(nn.functional.cross_entropy(logits / heat, labels)) for heat in heats]
    assert temperature(found.logits, found.labels) == pytest.approx(heats[int(np.argmin(losses))], rel=0.02)


def test_temperature_makes_new_answers_honest() -> None:
    one, other = drawn(2000, 0), drawn(2000, 1)
    found = calibration(one, one)
    assert found is not None
    labels = torch.from_numpy(other.labels)
    before = expected_calibration_error(torch.from_numpy(other.logits).softmax(1), labels)
    after = expected_calibration_error(torch.from_numpy(found.probabilities(other.logits)), labels)
    assert before > 0.15
    assert after < 0.04
    assert found.measured["ece_before"] > found.measured["ece_after"]


def test_of_images_that_are_all_right_it_does_not_follow_that_none_is_wrong() -> None:
    labels = np.arange(40) % 4
    logits = (2 * np.eye(4)[labels]).astype(np.float32)
    heat = temperature(logits, labels)
    wrong = 1 - torch.from_numpy(logits / heat).softmax(1).amax(1).mean().item()
    assert wrong == pytest.approx(1 / 42, rel=0.01)  # Platt's target, not 0


# --- the score for 'none of these' ---


def test_distances_are_mahalanobis_distances_with_shrunk_covariance() -> None:
    found = drawn(200, 0)
    features, fitted = found.features["pool5"], place("pool5", found.features["pool5"], found.labels)
    units = unit_roots(features).astype(np.float64)
    means = np.stack([units[found.labels == label].mean(0) for label in range(4)])
    within = empirical_covariance(units - means[found.labels], assume_centered=True)
    inverse = np.linalg.inv(shrunk_covariance(within, SHRINKAGE))
    wanted = cdist(units, means, "mahalanobis", VI=inverse).min(1)
    np.testing.assert_allclose(fitted.distance(features), wanted, rtol=1e-3)


def test_many_features_keep_the_directions_of_most_variance() -> None:
    random = np.random.default_rng(0)
    features = random.random((300, DIRECTIONS + 40)).astype(np.float32)
    fitted = place("pool5", features, random.integers(0, 3, 300))
    assert fitted.projection.shape == (DIRECTIONS + 40, DIRECTIONS)
    widths = np.linalg.norm(fitted.projection, axis=0)
    assert (np.diff(widths) >= -1e-3).all()  # the wider the direction, the smaller its factor


def test_share_of_own_images_called_unknown_is_the_asked_one_and_foreign_ones_are_caught() -> None:
    found = calibration(drawn(400, 0), drawn(399, 1), 0.1)
    assert found is not None
    assert found.known is not None
    own, foreign = (
        found.known.unknown(found.probabilities(each.logits), each.features) > 1
        for each in (drawn(4000, 2), drawn(200, 3, foreign=True))
    )
    spread = math.sqrt(0.09 / 399 + 0.09 / 4000)  # of the threshold, and of the new images
    assert abs(own.mean() - 0.1) < 4 * spread
    assert foreign.mean() > 0.99


def test_class_without_training_images_has_no_centre() -> None:
    found = drawn(100, 0)
    fitted = place("pool5", found.features["pool5"][found.labels != 2], found.labels[found.labels != 2])
    assert len(fitted.centres) == 3
    assert np.isfinite(fitted.centres).all()


def test_features_that_do_not_vary_are_no_error() -> None:
    same = np.ones((30, 5), np.float32)
    fitted = place("pool5", same, np.arange(30) % 3)
    assert np.isfinite(fitted.distance(same)).all()


# --- too few images ---


def test_too_few_images_give_no_calibration_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    assert calibration(drawn(100, 0), drawn(LEAST - 1, 1)) is None
    assert f"{LEAST - 1} validation images are too few" in caplog.text


def test_too_few_images_for_the_share_give_a_temperature_alone(caplog: pytest.LogCaptureFixture) -> None:
    found = calibration(drawn(100, 0), drawn(50, 1), 0.01)
    assert found is not None
    assert found.known is None
    assert "99 are needed" in caplog.text
    enough = calibration(drawn(100, 0), drawn(99, 1), 0.01)
    assert enough is not None
    assert enough.known is not None


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="above 0 and below 1"):
        calibration(drawn(50, 0), drawn(50, 1), share)


# --- layers ---


@pytest.mark.parametrize("name", list_networks())
def test_layers_stay_when_batchnorm_is_folded_and_are_not_negative(name: str) -> None:
    with skip_init():
        network = create(name, 3, dropout=0.0)
    layers, stages = feature_layers(network), dict(network.stages())
    assert 2 <= len(layers) <= 3
    assert set(layers) <= {stage for stage, _ in folded(network).stages()}
    assert all(isinstance(stages[layer], (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d)) for layer in layers)


def test_layers_of_modern_are_its_pools() -> None:
    assert feature_layers(create("modern", 3)) == ["pool1", "pool2", "pool5"]
