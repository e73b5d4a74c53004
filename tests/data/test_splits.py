"""Which images are trained on, and which judge the result."""

import numpy as np
import pytest

from alexnet.data.splits import assign_splits, evenly_spaced
from alexnet.errors import DataError, UsageError


def parts(counts, given=None, seed=0, val=0.1, test=0.2, names=None):
    """The split of classes with so many samples each, in order."""
    labels = np.repeat(np.arange(len(counts)), counts)
    names = names or [f"class {n}" for n in range(len(counts))]
    given = [""] * len(labels) if given is None else given
    return labels, assign_splits(labels.tolist(), given, names, seed, val, test)


@pytest.mark.parametrize(("val", "test"), [(0.1, 0.2), (0.0, 0.25), (0.25, 0.0), (0.4, 0.5)])
def test_split_is_stratified_by_class(val, test):
    labels, splits = parts([20, 200, 80], val=val, test=test)
    assert splits.dtype == np.dtype("<U5")
    for label, count in enumerate([20, 200, 80]):
        own = splits[labels == label]
        assert (own == "val").sum() == round(count * val)
        assert (own == "test").sum() == round(count * test)
        assert (own == "train").sum() == count - round(count * val) - round(count * test)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(2, {"train": 1, "test": 1}), (3, {"train": 1, "val": 1, "test": 1}), (4, {"train": 2, "val": 1, "test": 1})],
)
def test_small_class_has_an_image_in_each_split(count, expected):
    _, splits = parts([count, 50], val=0.1, test=0.1)
    assert dict(zip(*np.unique(splits[:count], return_counts=True), strict=True)) == expected


@pytest.mark.parametrize("count", range(2, 30))
def test_large_shares_leave_a_training_image(count):
    labels, splits = parts([count, 30], val=0.49, test=0.5)
    assert "train" in splits[labels == 0]
    assert "test" in splits[labels == 0]


def test_split_is_a_function_of_the_seed():
    first, again, other = (parts([80, 80], seed=seed)[1] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_split_is_stable_across_versions():
    """The drawn images are written down here: a change would move test images into the training of older runs."""
    _, splits = parts([10, 10], names=["cat", "dog"], seed=7)
    assert np.flatnonzero(splits == "test").tolist() == [2, 8, 15, 18]
    assert np.flatnonzero(splits == "val").tolist() == [4, 14]


def test_draw_does_not_depend_on_other_classes():
    _, alone = parts([40, 5], names=["cat", "dog"])
    labels, among = parts([7, 40, 3], names=["ant", "cat", "eel"])
    assert (among[labels == 1] == alone[:40]).all()


def test_draw_does_not_depend_on_interleaved_classes():
    labels, sorted_splits = parts([30, 30], names=["cat", "dog"])
    order = np.random.default_rng(0).permutation(60)
    order = order[np.argsort(order // 30, kind="stable")].reshape(2, 30)
    mixed = np.sort(order, axis=1).T.ravel()  # cat, dog, cat, dog ...
    splits = assign_splits(labels[mixed].tolist(), [""] * 60, ["cat", "dog"], 0, 0.1, 0.2)
    assert (splits == sorted_splits[mixed]).all()


def test_classes_of_equal_size_are_drawn_differently():
    labels, splits = parts([100, 100], names=["Cat", "cat"])
    assert (splits[labels == 0] != splits[labels == 1]).any()


def test_given_splits_are_kept():
    given = ["train"] * 6 + ["val"] * 2 + ["test"] * 2 + ["train"] * 8 + ["val"] + ["test"]
    _, splits = parts([10, 10], given=given)
    assert splits.tolist() == given


def test_missing_splits_are_drawn_from_train():
    given = (["train"] * 16 + ["test"] * 4) * 2
    labels, splits = parts([20, 20], given=given, val=0.25, test=0.5)
    assert ((splits == "test") == (np.array(given) == "test")).all()
    assert [(splits[labels == n] == "val").sum() for n in (0, 1)] == [4, 4]


def test_val_and_test_are_drawn_if_only_train_is_given():
    _, splits = parts([20, 20], given=["train"] * 40)
    assert [(splits == part).sum() for part in ("train", "val", "test")] == [28, 4, 8]


def test_samples_without_a_split_go_to_train():
    given = ["", "val", "test", "", "val", "test"]
    assert parts([3, 3], given=given)[1].tolist() == ["train", "val", "test"] * 2


@pytest.mark.parametrize(("counts", "words"), [([5, 1], "one image"), ([5, 0], "no images")])
def test_class_with_fewer_than_two_images_is_refused(counts, words):
    with pytest.raises(DataError, match=f"'class 1' has {words}"):
        parts(counts)


@pytest.mark.parametrize("shares", [{"val": 0.5, "test": 0.5}, {"val": -0.1}, {"test": 1.0}, {"seed": -1}])
def test_invalid_shares_and_seeds_are_refused(shares):
    with pytest.raises(UsageError):
        parts([10, 10], **shares)


@pytest.mark.parametrize(
    ("count", "most", "wanted"), [(3, 8, [0, 1, 2]), (10, 4, [0, 3, 6, 9]), (0, 4, []), (5, 1, [0])]
)
def test_evenly_spaced_includes_both_ends(count: int, most: int, wanted: list[int]) -> None:
    assert evenly_spaced(count, most).tolist() == wanted
