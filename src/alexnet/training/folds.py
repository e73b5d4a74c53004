"""Cross-validation: as many runs as folds, each judged by another part of the images, then one on all of them."""

import dataclasses
import logging
from contextlib import suppress
from pathlib import Path

import numpy as np

from alexnet.data.sources import Data
from alexnet.errors import AlexNetError, UsageError
from alexnet.files import write_json
from alexnet.runs.folder import RunFolder
from alexnet.runs.place import new_folder
from alexnet.training.run import train
from alexnet.training.settings import Recipe

logger = logging.getLogger(__name__)


def cross_validate(data: Data, recipe: Recipe, folds: int, out: Path | None = None) -> Path:
    """Train once for each fold and then on all images; returns the folder of that last run.

    data, out: as for `alexnet.training.run.train`; `out` holds fold-1 ... fold-K, all, and folds.json with the top-1 of
    each fold, 0..1, their mean and their standard deviation (of a sample; K - 1 degrees of freedom).
    UsageError for a recipe that sets the parts by itself.
    """
    if recipe.validation or recipe.test or recipe.fold:
        raise UsageError("--folds takes every image once for testing; leave --validation, --test and --fold out")
    place = new_folder(out or Path("runs", "folds"), numbered=out is None)
    each = [dataclasses.replace(recipe, fold=f"{fold}/{folds}") for fold in range(1, folds + 1)]
    try:
        runs = [train(data, fold, place / f"fold-{number}") for number, fold in enumerate(each, 1)]
    except AlexNetError:
        with suppress(OSError):  # it holds what was trained
            place.rmdir()
        raise
    scores = [RunFolder(run).read_metrics()["top1"] for run in runs]
    mean, spread = float(np.mean(scores)), float(np.std(scores, ddof=1))
    everything = dataclasses.replace(recipe, validation=0.0, test=0.0, given_splits=False)
    final = train(data, everything, place / "all")
    write_json(place / "folds.json", {"folds": folds, "top1": scores, "mean": mean, "standard_deviation": spread})
    logger.info(
        "%d folds: top-1 %s, mean %.2f %%, standard deviation %.2f points; that is what to expect of the model on all "
        "images, %s, which no image is left to judge",
        *(folds, ", ".join(f"{score:.2%}" for score in scores), 100 * mean, 100 * spread, final),
    )
    return final
