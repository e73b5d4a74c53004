"""The views of stored images in NumPy are those that torch makes."""

import numpy as np
import pytest

from alexnet.data.places import centre, check_views, network_input, places
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError


@pytest.mark.parametrize(("side", "resize", "size"), [(32, 32, 27), (32, 24, 20), (20, 32, 32), (31, 31, 31)])
@pytest.mark.parametrize("views", [1, 9, 10])
def test_views_equal_those_of_the_preprocessing(side: int, resize: int, size: int, views: int) -> None:
    how = Preprocessing(size, resize, (120.0, 110.5, 100.25), (60.0, 58.0, 57.5), side)
    stored = list(np.random.default_rng(3).integers(0, 256, (2, side, side, 3), np.uint8))
    found = network_input(stored, how.to_json(), views)
    assert found.dtype == np.float32
    assert found.shape == (2 * views, 3, size, size)
    np.testing.assert_allclose(found, how.views(stored, views).numpy(), rtol=0, atol=1e-5)


def test_ten_views_are_five_and_the_same_again() -> None:
    corners = places(10, 256, 224)
    assert corners == [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)] * 2


@pytest.mark.parametrize("views", [1, 9, 10])
def test_the_centre_is_known_among_the_views(views: int) -> None:
    assert places(views, 256, 224)[centre(views)] == (16, 16)


@pytest.mark.parametrize("views", [0, 2, 1.0, "1"])
def test_other_numbers_of_views_are_refused(views: object) -> None:
    with pytest.raises(UsageError, match=r"take 1 \(the centre\), 10"):
        check_views(views)  # type: ignore[arg-type]
