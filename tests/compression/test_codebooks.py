"""Codebooks are as good as the best that is published, and count the bits of their codes."""

from itertools import pairwise

import numpy as np
import pytest

from alexnet.compression import codebooks
from alexnet.weights.entropy import entropy

NORMAL = np.random.default_rng(0).normal(size=(40, 5_000)).astype(np.float32)


def measured(scaled: np.ndarray, bits: int) -> tuple[float, float]:
    """Mean squared error and entropy of the codes."""
    book = codebooks.find(scaled, bits)
    found = book.codes(scaled)
    return float(np.square(scaled - book.values[found]).mean()), entropy(np.bincount(found.ravel()))


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_normal_weights_lose_what_an_entropy_coded_quantiser_must(bits: int) -> None:
    """At high rates .255 bits above Shannon's bound, error = 2^(-2 (H - .255)) (Gish and Pierce 1968)."""
    error, rate = measured(NORMAL, bits)
    assert error < 1.1 * 2.0 ** (-2 * (rate - 0.255))
    assert rate < bits - 0.25  # plain k-means: 2.83, 3.77, 4.73 bits


def test_more_bits_lose_less() -> None:
    errors = [measured(NORMAL, bits)[0] for bits in range(2, 9)]
    assert all(later < 0.6 * earlier for earlier, later in pairwise(errors))


def test_zeros_of_a_pruned_layer_keep_a_value_of_their_own() -> None:
    scaled = np.where(np.abs(NORMAL) > 1, NORMAL, 0).astype(np.float32)
    book = codebooks.find(scaled, 4, pruned=True)
    assert book.zero is not None
    assert book.values[book.zero] == 0
    assert (np.diff(book.values) > 0).all()
    assert (book.codes(scaled)[scaled == 0] == book.zero).all()


@pytest.mark.parametrize(
    ("rows", "pruned"),
    [
        (np.zeros((3, 300)), True),
        (np.full((3, 300), 2e-7), False),
        (np.eye(3, 300) * 1e6, True),
        (np.eye(3, 300) * 1e6, False),
    ],
)
def test_layers_that_hardly_vary_come_back_exactly(rows: np.ndarray, pruned: bool) -> None:
    weights = rows.astype(np.float32)
    scales = codebooks.row_scales(weights)
    book = codebooks.find(weights / scales[:, None], 4, pruned)
    found = book.values[book.codes(weights / scales[:, None])] * scales[:, None]
    assert np.abs(found - weights).max() <= 0.01 * np.abs(weights).max()


def test_a_rows_scale_is_of_its_weights_that_are_not_zero() -> None:
    rows = np.array([[3, 0, 0, 4], [0, 0, 0, 0], [1, 1, 1, 1]], np.float32)
    np.testing.assert_allclose(codebooks.row_scales(rows), [12.5**0.5, 1, 1], rtol=1e-3)
