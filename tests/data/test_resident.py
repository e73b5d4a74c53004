"""Training images that stay in a GPU's memory: the right ones, where they fit."""

import logging

import numpy as np
import pytest
import torch

from alexnet.bench.pictures import noise_store
from alexnet.data.resident import Resident, resident
from alexnet.data.store import Store, open_store

CPU = torch.device("cpu")
ROWS = np.array([7, 2, 11, 2])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(noise_store(tmp_path_factory.mktemp("store"), 12, 3, size=16))


def test_images_are_found_by_their_rows_in_any_order(store: Store) -> None:
    kept = Resident(store, ROWS, CPU)
    assert len(kept.images) == 3
    for rows in (ROWS, np.array([11]), np.array([2, 11, 7])):
        assert np.array_equal(kept.images[kept.places(rows)].numpy(), store.images(rows))


@pytest.mark.parametrize("row", [0, 3, 12])
def test_a_row_that_is_not_there_is_no_other_image(row: int, store: Store) -> None:
    with pytest.raises(KeyError):
        Resident(store, ROWS, CPU).places(np.array([2, row]))


@pytest.mark.parametrize(("free", "fits"), [(2 * 3 * 768, True), (2 * 3 * 768 - 1, False)])
def test_images_are_kept_where_they_take_half_of_the_free_memory_and_it_is_said(
    free: int, fits: bool, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
    with caplog.at_level(logging.INFO):
        assert (resident(store, ROWS, CPU) is not None) == fits
    (line,) = caplog.messages
    assert ("are kept on cpu" in line) == fits
    assert ("batch by batch" in line) != fits


@pytest.mark.parametrize("rows", [ROWS, np.array([-1, 0]), np.array([], np.int64)])
def test_rows_that_are_announced_are_read_as_before(rows: np.ndarray, store: Store) -> None:
    store.expect(rows)
    assert np.array_equal(store.images(rows), np.stack([*store.mapped(rows)]) if len(rows) else store.images(rows))


def test_a_small_store_fits_in_memory(store: Store) -> None:
    assert store.fits_in_memory()
