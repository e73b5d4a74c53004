"""A layout keeps what is near, and is the same twice."""

from itertools import combinations

import numpy as np
import pytest

from alexnet.errors import DataError, UsageError
from alexnet.explain.layout import NAME_HEIGHT, NAME_WIDTH, apart, figure, positions
from alexnet.plots.canvas import png


def clusters(count: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Three well separated clouds in 40 dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), count)
    return rng.normal(size=(3, 40))[labels] * 10 + rng.normal(size=(len(labels), 40)), labels


@pytest.mark.parametrize("method", ["t-sne", "pca"])
def test_what_is_apart_stays_apart_and_the_seed_decides(method: str) -> None:
    vectors, labels = clusters()
    places = positions(vectors, method, seed=1)
    assert np.array_equal(places, positions(vectors, method, seed=1))
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(1)] == labels).all()


def test_the_principal_components_of_a_plane_keep_its_distances() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(9, 2)) @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    places = positions(flat, "pca")
    before, after = (np.linalg.norm(each[0] - each[1:], axis=1) for each in (flat, places))
    assert np.allclose(before, after)


def test_too_few_or_equal_images_and_unknown_methods_are_refused() -> None:
    with pytest.raises(DataError, match="2 images are too few"):
        positions(np.ones((2, 4)), "pca")
    with pytest.raises(DataError, match="give 12 or more"):
        positions(np.ones((11, 4)))
    with pytest.raises(DataError, match="all images have the same vector"):
        positions(np.ones((20, 4)))
    with pytest.raises(UsageError, match="did you mean 't-sne'"):
        positions(np.ones((20, 4)), "tsne")


@pytest.mark.parametrize("classes", [2, 24, 60])
def test_a_picture_names_classes_and_grays_what_is_more_than_it_can_name(classes: int) -> None:
    labels = np.repeat(np.arange(classes), 12)
    places = np.random.default_rng(0).normal(size=(len(labels), 2))
    drawn = figure(places, labels, [f"$n_{n}" for n in range(classes)], "fc7", "pca")
    named = {text.get_text() for text in drawn.axes[0].texts}
    assert len(named) == min(classes, 24)
    rest = drawn.axes[0].get_legend().get_title().get_text()
    assert ("gray: 432 images" in rest) == (classes == 60)
    assert png(drawn)


def test_a_class_of_few_images_stands_in_the_legend_and_not_among_the_points() -> None:
    labels = np.repeat([0, 1, 2], [12, 11, 0])
    drawn = figure(np.random.default_rng(0).normal(size=(23, 2)), labels, ["many", "few", "none"], "fc7", "pca")
    assert [text.get_text() for text in drawn.axes[0].texts] == ["many"]
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["many", "few"]
    assert png(figure(np.eye(3, 2), np.arange(3), ["a", "b", "c"], "fc7", "pca"))  # no name at all


@pytest.mark.parametrize("seed", range(3))
def test_no_name_is_written_over_another_however_close_the_classes_lie(seed: int) -> None:
    random, labels = np.random.default_rng(seed), np.repeat(np.arange(24), 12)
    places = random.normal(size=(len(labels), 2)) + random.normal(size=(24, 2))[labels]
    drawn = figure(places, labels, [f"a long class name {n}" for n in range(24)], "fc7", "t-sne")
    drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts]
    assert len(boxes) == 24
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_names_that_would_meet_are_moved_apart_and_the_others_stay() -> None:
    places = np.array([[0.1, 0.1], [0.15, 0.105], [0.2, 0.11], [0.8, 0.1]])
    moved = apart(places)
    assert np.array_equal(moved[3], places[3])
    assert np.array_equal(moved[:, 0], places[:, 0])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        near = abs(moved[one, 0] - moved[other, 0]) < NAME_WIDTH
        assert not near or abs(moved[one, 1] - moved[other, 1]) >= NAME_HEIGHT - 1e-6
