"""Which images are trained on, which choose the best epoch, and which judge the result."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import DataError, UsageError


def assign_splits(
    source_labels: Sequence[int],
    given: Sequence[str],
    class_names: Sequence[str],
    seed: int,
    val: float,
    test: float,
) -> NDArray[np.str_]:
    """The part, "train", "val" or "test", of each sample: an array of dtype '<U5'.

    source_labels: N labels; given: N parts as the source gives them, "" where it does not say; val, test: shares of
    each class, 0 <= val + test < 1.

    A part that is given anywhere is taken as given and nothing is added to it. One that is not is drawn from the
    samples that are neither in val nor in test, in each class for itself, so that the classes keep their proportions:
    at least one test image of a class that has two, at least one val image of a class that has three, and always one
    left for training. The draw depends on the seed, the class's name and the order of its own samples alone: adding
    another class changes nothing.

    Raises DataError for a class with fewer than two images, UsageError for a seed or shares that cannot be.
    """
    labels, splits = np.asarray(source_labels, np.int64), np.array(given, "<U5")
    _check(labels, class_names, seed, val, test)
    val = 0.0 if "val" in splits else val
    test = 0.0 if "test" in splits else test
    splits[splits == ""] = "train"
    pool = np.flatnonzero(splits == "train")
    pool = pool[np.argsort(labels[pool], kind="stable")]
    ends = np.searchsorted(labels[pool], range(1, len(class_names)))
    for name, members in zip(class_names, np.split(pool, ends), strict=True):
        tests, vals = _counts(len(members), val, test)
        shuffled = members[_order(len(members), seed, name)]
        splits[shuffled[:tests]] = "test"
        splits[shuffled[tests : tests + vals]] = "val"
    return splits


def _counts(images: int, val: float, test: float) -> tuple[int, int]:
    """(test, val) images out of a class of so many."""
    tests = _share(images, test, most=images - (2 if val and images >= 3 else 1))
    vals = _share(images, val, most=images - tests - 1) if images >= 3 else 0
    return tests, vals


def evenly_spaced(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of 0..count-1, evenly spaced and ascending, the first and the last included.

    Rows of one class are adjacent, so a prefix would contain few classes.
    """
    spaced: NDArray[np.int64] = np.linspace(0, count - 1, min(most, count)).astype(np.int64)
    return spaced


def _share(images: int, fraction: float, most: int) -> int:
    wanted = max(1, int(images * fraction + 0.5)) if fraction else 0
    return max(0, min(wanted, most))


def _order(count: int, seed: int, name: str) -> NDArray[np.int64]:
    """A random order of 0..count-1 that depends on the seed and the class's name.

    Sorted raw numbers, because NumPy promises that these stay the same in later versions, and of its `permutation`
    not: a split must be the same years later.
    """
    word = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
    numbers = np.random.PCG64(np.random.SeedSequence([seed, word])).random_raw(count)
    return np.argsort(numbers, kind="stable")


def _check(labels: NDArray[np.int64], class_names: Sequence[str], seed: int, val: float, test: float) -> None:
    if seed < 0:
        raise UsageError(f"split seed {seed}: a whole number from 0 up is needed")
    if min(val, test) < 0 or val + test >= 1:
        raise UsageError(f"shares val={val}, test={test}: both must be at least 0 and their sum below 1")
    for label, count in enumerate(np.bincount(labels, minlength=len(class_names))):
        if count < 2:
            raise DataError(
                f"class {class_names[label]!r} has {'one image' if count else 'no images'}; at least two are needed, "
                "one to train on and one to test with: add images or remove the class"
            )
