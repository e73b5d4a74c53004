"""Equal pictures are found, told and, on request, dropped."""

import numpy as np
import pytest

from alexnet.data.duplicates import leaks, without_duplicates

PATHS = ["a", "b", "c", "d", "e", "f", "g"]


def test_leaks_are_pictures_in_several_parts_or_under_several_labels() -> None:
    parts = ["train", "test", "train", "val", "val", "", "train"]
    labels = np.array([0, 0, 1, 2, 1, 0, 0])
    found = leaks(["x", "x", "y", "z", "y", "u", "u"], labels, parts, PATHS)
    # x: train and test; y: train and val; z: one picture; u: an image in no part leaks nothing
    assert (found.across_parts, found.two_labels, found.examples) == (2, 0, [["a", "b"], ["c", "e"]])
    doubted = leaks(["x", "x", "y"], np.array([0, 1, 1]), ["train"] * 3, PATHS)
    assert (doubted.across_parts, doubted.two_labels) == (0, 1)
    assert str(doubted) == "1 picture stands under two labels: one of two labels is wrong (a = b)"
    assert not leaks(["x", "x", "y"], np.array([0, 0, 1]), ["train"] * 3, PATHS)


@pytest.mark.parametrize(
    ("parts", "kept"),
    [(["train", "test"], 1), (["train", "val"], 1), (["val", "test"], 1), (["", "train"], 1), (["train", "train"], 0)],
)
def test_of_equal_pictures_the_held_out_one_stays(parts: list[str], kept: int) -> None:
    assert without_duplicates(["x", "x", "y"], [*parts, ""]).nonzero()[0].tolist() == [kept, 2]
