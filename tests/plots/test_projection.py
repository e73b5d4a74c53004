"""The scatter plot labels its classes legibly."""

from itertools import combinations

import numpy as np
import pytest

from alexnet.plots.canvas import png
from alexnet.plots.projection import NAME_HEIGHT, NAME_WIDTH, figure, separate


@pytest.mark.parametrize("classes", [2, 24, 60])
def test_classes_are_labelled_and_those_beyond_24_are_gray(classes: int) -> None:
    labels = np.repeat(np.arange(classes), 12)
    places = np.random.default_rng(0).normal(size=(len(labels), 2))
    drawn = figure(places, labels, [f"$n_{n}" for n in range(classes)], "fc7", "pca")
    named = {text.get_text() for text in drawn.axes[0].texts}
    assert len(named) == min(classes, 24)
    rest = drawn.axes[0].get_legend().get_title().get_text()
    assert ("gray: 432 images" in rest) == (classes == 60)
    assert png(drawn)


def test_a_class_of_few_images_is_in_the_legend_only() -> None:
    labels = np.repeat([0, 1, 2], [12, 11, 0])
    drawn = figure(np.random.default_rng(0).normal(size=(23, 2)), labels, ["many", "few", "none"], "fc7", "pca")
    assert [text.get_text() for text in drawn.axes[0].texts] == ["many"]
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["many", "few"]
    assert png(figure(np.eye(3, 2), np.arange(3), ["a", "b", "c"], "fc7", "pca"))  # no name at all


@pytest.mark.parametrize("seed", range(3))
def test_no_two_labels_overlap_however_close_the_classes(seed: int) -> None:
    random, labels = np.random.default_rng(seed), np.repeat(np.arange(24), 12)
    places = random.normal(size=(len(labels), 2)) + random.normal(size=(24, 2))[labels]
    drawn = figure(places, labels, [f"a long class name {n}" for n in range(24)], "fc7", "t-sne")
    drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts]
    assert len(boxes) == 24
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_labels_that_would_overlap_are_shifted_and_the_others_stay() -> None:
    places = np.array([[0.1, 0.1], [0.15, 0.105], [0.2, 0.11], [0.8, 0.1]])
    moved = separate(places)
    assert np.array_equal(moved[3], places[3])
    assert np.array_equal(moved[:, 0], places[:, 0])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        near = abs(moved[one, 0] - moved[other, 0]) < NAME_WIDTH
        assert not near or abs(moved[one, 1] - moved[other, 1]) >= NAME_HEIGHT - 1e-6
