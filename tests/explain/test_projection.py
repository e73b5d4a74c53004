"""A projection preserves neighbourhoods and is deterministic."""

import numpy as np
import pytest

from alexnet.errors import DataError, UsageError
from alexnet.explain.projection import project


def clusters(count: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Three well separated clusters in 40 dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), count)
    return rng.normal(size=(3, 40))[labels] * 10 + rng.normal(size=(len(labels), 40)), labels


@pytest.mark.parametrize("method", ["t-sne", "pca"])
def test_separate_clusters_stay_separate_and_the_result_is_deterministic(method: str) -> None:
    vectors, labels = clusters()
    places = project(vectors, method, seed=1)
    assert np.array_equal(places, project(vectors, method, seed=1))
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(1)] == labels).all()


def test_the_principal_components_of_a_plane_keep_its_distances() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(9, 2)) @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    places = project(flat, "pca")
    before, after = (np.linalg.norm(each[0] - each[1:], axis=1) for each in (flat, places))
    assert np.allclose(before, after)


def test_too_few_or_equal_images_and_unknown_methods_are_refused() -> None:
    with pytest.raises(DataError, match="2 images are too few"):
        project(np.ones((2, 4)), "pca")
    with pytest.raises(DataError, match="give 12 or more"):
        project(np.ones((11, 4)))
    with pytest.raises(DataError, match="all images have the same vector"):
        project(np.ones((20, 4)))
    with pytest.raises(UsageError, match="did you mean 't-sne'"):
        project(np.ones((20, 4)), "tsne")
