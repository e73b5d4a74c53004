"""Codes by the inputs of a layer change its outputs less than the nearest values do."""

import numpy as np
import pytest

from alexnet.compression import codebooks, rounding

RANDOM = np.random.default_rng(0)
WIDTH, ROWS = 300, 20
INPUTS = (
    RANDOM.normal(size=(2000, 40)) @ RANDOM.normal(size=(40, WIDTH)) + 0.3 * RANDOM.normal(size=(2000, WIDTH))
).astype(np.float32)
MOMENTS = (INPUTS.T @ INPUTS / len(INPUTS)).astype(np.float32)
WEIGHTS = RANDOM.normal(size=(ROWS, WIDTH)).astype(np.float32)


def lost(scaled: np.ndarray, book: codebooks.Codebook, codes: np.ndarray) -> float:
    """Mean squared error of the outputs."""
    return float(np.square(INPUTS @ (scaled - book.values[codes]).T).mean())


@pytest.mark.parametrize("bits", [3, 4])
def test_outputs_change_less_than_by_the_nearest_values(bits: int) -> None:
    book = codebooks.find(WEIGHTS, bits)
    nearest, chosen = rounding.codes(WEIGHTS, book), rounding.codes(WEIGHTS, book, MOMENTS)
    assert lost(WEIGHTS, book, chosen) < 0.4 * lost(WEIGHTS, book, nearest)


def test_inputs_that_have_nothing_to_do_with_each_other_leave_the_nearest_values() -> None:
    book = codebooks.find(WEIGHTS, 4)
    moments = np.diag(RANDOM.random(WIDTH) + 0.1).astype(np.float32)
    assert np.array_equal(rounding.codes(WEIGHTS, book, moments), book.codes(WEIGHTS))


def test_zeros_of_a_pruned_layer_stay_zero() -> None:
    sparse = np.where(np.abs(WEIGHTS) > 1, WEIGHTS, 0).astype(np.float32)
    book = codebooks.find(sparse, 3, pruned=True)
    for moments in (None, MOMENTS):
        found = book.values[rounding.codes(sparse, book, moments)]
        assert (found[sparse == 0] == 0).all()


def test_inputs_that_are_always_zero_are_no_obstacle() -> None:
    moments = MOMENTS.copy()
    moments[:50] = moments[:, :50] = 0
    book = codebooks.find(WEIGHTS, 4)
    assert rounding.codes(WEIGHTS, book, moments).max() < len(book.values)
    assert rounding.codes(WEIGHTS, book, np.zeros_like(MOMENTS)).max() < len(book.values)
