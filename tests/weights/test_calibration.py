"""Calibrated answers equal their formulas, computed by other libraries."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from alexnet.errors import WeightsError
from alexnet.weights.calibration import Calibration, Known

RANDOM = np.random.default_rng(0)
LOGITS, FEATURES = RANDOM.normal(0, 4, (20, 5)).astype(np.float32), RANDOM.random((20, 6), np.float32)
MEAN, PROJECTION, CENTRES = (RANDOM.normal(size=shape).astype(np.float32) for shape in (6, (6, 4), (7, 4)))
KNOWN = Known("fc7", 3.0, 2.5, MEAN, PROJECTION, CENTRES)


def test_probabilities_are_the_softmax_at_the_temperature() -> None:
    wanted = (torch.from_numpy(LOGITS).double() / 0.4).softmax(1).numpy()
    found = Calibration(0.4).probabilities(LOGITS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert (found.argmax(1) == LOGITS.argmax(1)).all()


def test_large_logits_do_not_overflow() -> None:
    assert Calibration(0.01).probabilities([[1000.0, 998.0]]).tolist() == [[1.0, 0.0]]


def test_distance_is_that_to_the_nearest_centre() -> None:
    units = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    wanted = cdist((units - MEAN) @ PROJECTION, CENTRES).min(1)
    np.testing.assert_allclose(KNOWN.distance(FEATURES), wanted, rtol=1e-5)
    np.testing.assert_allclose(KNOWN.distance(FEATURES * 7), wanted, rtol=1e-5)  # brightness of features has no part


def test_unknown_is_above_1_where_the_score_is_above_the_threshold() -> None:
    chances = Calibration().probabilities(LOGITS)
    score = 3.0 * (1 - chances.max(1)) + KNOWN.distance(FEATURES)
    np.testing.assert_allclose(KNOWN.unknown(chances, FEATURES), score / 2.5, rtol=1e-6)


def test_features_of_zeros_have_a_distance() -> None:
    assert np.isfinite(KNOWN.distance(np.zeros((1, 6)))).all()


def test_calibration_survives_json() -> None:
    given = Calibration(0.4, KNOWN, {"false_alarms": 0.05})
    assert Calibration.from_json(json.loads(json.dumps(given.to_json())), given.arrays()) == given
    assert Calibration.from_json(json.loads(json.dumps(Calibration(2.0).to_json())), {}) == Calibration(2.0)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_temperature_that_is_no_positive_number_is_refused(temperature: float) -> None:
    with pytest.raises(WeightsError, match="temperature"):
        Calibration(temperature)


def test_tensors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WeightsError, match="do not fit"):
        Known("fc7", 3.0, 2.5, MEAN[:5], PROJECTION, CENTRES)
    with pytest.raises(WeightsError, match="damaged"):
        Calibration.from_json(Calibration(0.4, KNOWN).to_json(), {})


def test_module_needs_no_torch() -> None:
    code = "import sys, alexnet.weights.calibration; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
