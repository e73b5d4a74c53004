"""Which images train, which choose and which judge: the data's own division and the recipe's shares."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.duplicates import without_duplicates
from alexnet.data.samples import check_classes
from alexnet.data.splits import assign_splits
from alexnet.data.store import Store
from alexnet.data.store.selected import select
from alexnet.training.settings import Recipe

logger = logging.getLogger(__name__)


def split(
    labels: NDArray[np.int64],
    given: NDArray[np.str_],
    class_names: Sequence[str],
    fractions: tuple[float, float],
    recipe: Recipe,
) -> NDArray[np.str_]:
    """The part of each image, "train", "val" or "test": as the data gives it, unless the recipe sets a share for it.

    A share above 0 takes the place of the part that the data gives; 0 only means that none is taken off. Without
    `given_splits` the shares alone decide. With a `fold`, its images are for testing and all others for training.
    """
    if recipe.fold:
        fold, folds = (int(number) for number in recipe.fold.split("/"))
        return np.where(folds_of(labels, folds, recipe.split_seed) == fold, "test", "train").astype("<U5")
    val = fractions[0] if recipe.validation is None else recipe.validation
    test = fractions[1] if recipe.test is None else recipe.test
    given = given.copy() if recipe.given_splits else np.full_like(given, "")
    given[(given == "val") & bool(recipe.validation)] = ""
    given[(given == "test") & bool(recipe.test)] = ""
    splits = assign_splits(labels.tolist(), given.tolist(), class_names, recipe.split_seed, val, test)
    return splits if recipe.train_images is None else _at_most(splits, labels, recipe.train_images, recipe.split_seed)


def distinct(store: Store, recipe: Recipe) -> Store:
    """The store, without its duplicates where the recipe wants that: of equal pictures the held-out one stays.

    DataError where a class has none left to train on.
    """
    if not recipe.drop_duplicates:
        return store
    keep = without_duplicates(store.digests, store.splits.tolist())
    if not keep.all():
        logger.info("%d images equal another one, pixel for pixel: they are dropped", int((~keep).sum()))
    found = select(store, np.flatnonzero(keep))
    check_classes(found.source())
    return found


def folds_of(labels: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each image, 1 ... `folds`, drawn by the seed; a class's images are spread evenly over the folds."""
    found, order = np.zeros(len(labels), np.int64), np.random.default_rng([seed, 2]).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    found[by_class] = 1 + np.arange(len(labels)) % folds
    return found


def _at_most(splits: NDArray[np.str_], labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.str_]:
    """The splits with at most `count` training images of each class, drawn by the seed; the others are in no part.

    More of them are a superset of fewer: the draw puts each class in an order, of which the first are taken.
    """
    splits, order = splits.copy(), np.random.default_rng([seed, 1]).permutation(len(labels))
    for label in np.unique(labels):
        splits[order[(labels[order] == label) & (splits[order] == "train")][count:]] = ""
    return splits


def class_weights(labels: NDArray[np.int64], num_classes: int) -> Tensor:
    """float32 (K,): weights inversely proportional to the classes' images, with mean 1 over the images."""
    counts = np.bincount(labels, minlength=num_classes)
    return torch.tensor(len(labels) / (num_classes * np.maximum(counts, 1)), dtype=torch.float32)
