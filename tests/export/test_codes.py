"""Weights in few bits are near the weights, and read back as the engine reads them."""

import numpy as np
import pytest

from alexnet.export.codes import decoded, encode, from_known

ROWS = np.random.default_rng(0).normal(0, 1, (6, 101)).astype(np.float32) * np.float32(
    [[1], [1e-6], [50], [0], [3], [1]]
)


@pytest.mark.parametrize(("bits", "worst"), [(32, 0), (16, 2**-11), (8, 1 / 254), (4, 0.3)])
def test_codes_are_near_the_weights_of_every_row_whatever_its_size(bits: int, worst: float) -> None:
    most = np.abs(ROWS).max(1, keepdims=True)
    errors = np.abs(decoded(encode(ROWS, bits), ROWS.shape[1]) - ROWS)
    assert (errors <= worst * most + 1e-30).all()


@pytest.mark.parametrize(("bits", "bytes_a_row"), [(32, 404), (16, 202), (8, 101), (4, 51)])
def test_a_row_begins_at_a_whole_byte(bits: int, bytes_a_row: int) -> None:
    assert len(encode(ROWS, bits).codes) == len(ROWS) * bytes_a_row


def test_four_bits_lose_what_sixteen_levels_must() -> None:
    """The best sixteen levels for normal values leave .0095 of their variance (Max 1960, table I)."""
    rows = np.random.default_rng(1).normal(0, 1, (1, 200_000)).astype(np.float32)
    error = np.square(decoded(encode(rows, 4), rows.shape[1]) - rows).mean()
    assert 0.009 < error < 0.0105


def test_known_codes_are_stored_as_they_are_up_to_a_scale_for_each_row() -> None:
    random = np.random.default_rng(2)
    codes = random.integers(0, 30, (5, 77)).astype(np.uint8)
    codebook, scales = random.normal(size=30).astype(np.float32), np.float32([[1], [-2], [1e-5], [0], [3e4]])
    rows = codebook[codes] * scales
    stored = from_known(codes, codebook, rows)
    assert stored is not None
    np.testing.assert_allclose(decoded(stored, 77), rows, rtol=1e-5)
    assert from_known(codes, codebook, rows + 0.01 * np.abs(rows).max()) is None
