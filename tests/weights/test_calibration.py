"""Calibrated answers equal their formulas, computed by other libraries."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from alexnet.errors import WeightsError
from alexnet.weights.calibration import Calibration, Known, Place, quantile

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 4, (20, 5)).astype(np.float32)
FEATURES = {layer: RANDOM.random((20, width), np.float32) for layer, width in (("pool1", 6), ("pool5", 3))}


def a_place(layer: str) -> Place:
    width = FEATURES[layer].shape[1]
    shapes = (width, (width, 2), (7, 2))
    return Place(layer, *(RANDOM.normal(size=shape).astype(np.float32) for shape in shapes))


KNOWN = Known(3.0, 2.5, (a_place("pool1"), a_place("pool5")))
GIVEN = Calibration(0.4, KNOWN, np.linspace(0, 1, 11, dtype=np.float32), {"false_alarms": 0.05})


def test_probabilities_are_the_softmax_at_the_temperature() -> None:
    wanted = (torch.from_numpy(LOGITS).double() / 0.4).softmax(1).numpy()
    found = GIVEN.probabilities(LOGITS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert (found.argmax(1) == LOGITS.argmax(1)).all()


def test_large_logits_do_not_overflow() -> None:
    assert Calibration(0.01).probabilities([[1000.0, 998.0]]).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("place", KNOWN.places, ids=KNOWN.layers)
def test_distance_is_that_to_the_nearest_centre(place: Place) -> None:
    features = FEATURES[place.layer]
    roots = np.sqrt(features / features.sum(1, keepdims=True))
    wanted = cdist((roots - place.mean) @ place.projection, place.centres).min(1)
    np.testing.assert_allclose(place.distance(features), wanted, rtol=1e-5)
    np.testing.assert_allclose(place.distance(features * 7), wanted, rtol=1e-5)  # brightness has no part in it


def test_unknown_is_above_1_where_the_score_is_above_the_threshold() -> None:
    chances = Calibration().probabilities(LOGITS)
    distances = [place.distance(FEATURES[place.layer]) for place in KNOWN.places]
    wanted = (3.0 * (1 - chances.max(1)) + distances[0] + distances[1]) / 2.5
    np.testing.assert_allclose(KNOWN.unknown(chances, FEATURES), wanted, rtol=1e-6)


def test_features_of_zeros_and_below_have_a_distance() -> None:
    assert np.isfinite(KNOWN.places[0].distance([[0.0] * 6, [-1.0] * 6])).all()


def test_sets_hold_all_classes_that_are_probable_enough() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.34, 0.33, 0.33]], np.float32)
    scores = np.linspace(0.01, 0.67, 19, dtype=np.float32)
    one_in_twenty = Calibration(nonconformity=scores).sets(chances, 0.95)  # the largest of the scores
    assert one_in_twenty.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert Calibration(nonconformity=scores).sets(chances, 0.05).sum(1).tolist() == [1, 1, 1]  # none is empty
    assert Calibration(nonconformity=scores).sets(chances, 0.96).all()  # too few scores to leave any class out


def test_quantile_covers_its_share_of_new_scores() -> None:
    draws = RANDOM.random((4000, 40), np.float32)
    covered = np.mean([row[39] <= quantile(row[:39], 0.9) for row in draws])
    assert abs(covered - 36 / 40) < 4 * math.sqrt(0.09 / len(draws))
    assert quantile(draws[0, :18], 0.95) == math.inf
    assert quantile(draws[0, :19], 0.95) == draws[0, :19].max()


def test_calibration_survives_json() -> None:
    again = Calibration.from_json(json.loads(json.dumps(GIVEN.to_json())), GIVEN.arrays())
    assert again == GIVEN
    assert again != Calibration(0.4, KNOWN, GIVEN.nonconformity)
    assert again != Calibration(0.4, KNOWN, np.zeros(11, np.float32), GIVEN.measured)
    assert Calibration.from_json(json.loads(json.dumps(Calibration(2.0).to_json())), {}) == Calibration(2.0)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_temperature_that_is_no_positive_number_is_refused(temperature: float) -> None:
    with pytest.raises(WeightsError, match="temperature"):
        Calibration(temperature)


def test_tensors_that_do_not_fit_are_refused() -> None:
    place = KNOWN.places[0]
    with pytest.raises(WeightsError, match="do not fit"):
        Place("pool1", place.mean[:5], place.projection, place.centres)
    with pytest.raises(WeightsError, match="damaged"):
        Calibration.from_json(GIVEN.to_json(), {})


def test_module_needs_no_torch() -> None:
    code = "import sys, alexnet.weights.calibration; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
