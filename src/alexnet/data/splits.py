"""Assignment of samples to train, val (chooses the best epoch) and test."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import DataError, UsageError

PARTS = ("train", "val", "test")


def assign_splits(
    source_labels: Sequence[int],
    given: Sequence[str],
    class_names: Sequence[str],
    seed: int,
    val: float,
    test: float,
) -> NDArray[np.str_]:
    """The split of each sample: '<U5' (N,), "train", "val" or "test".

    source_labels: N labels. given: N splits of the source, "" if none is given. val, test: share of each class to draw,
    0 <= val + test < 1.

    If any sample is given as val, no other one is added to val; likewise test. A split that is given nowhere is drawn
    from the samples that are in neither val nor test, stratified by class: at least one test image of a class with two
    images, at least one val image of a class with three, and at least one left for training. The draw depends on the
    seed, the class name and the order of the class's samples only, so that adding a class leaves the others unchanged.

    Raises DataError for a class with fewer than two images, UsageError for an invalid seed or share.
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
    """Number of (test, val) images of a class."""
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
    """A random permutation of 0..count-1, a function of the seed and the class name.

    From raw random numbers, which NumPy guarantees to be the same in all later versions; `permutation` is not.
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
