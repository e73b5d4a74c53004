"""Cross-validation: as many runs as folds, each judged by another part of the images, then one on all of them."""

import dataclasses
import logging
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.data.sources import Data, recorded_name
from alexnet.errors import AlexNetError, FileError, Interrupted, UsageError
from alexnet.files import read_json, write_json
from alexnet.runs.folder import RunFolder
from alexnet.runs.place import new_folder
from alexnet.training.initial import found_anywhere
from alexnet.training.run import replaced, resume, train
from alexnet.training.settings import Recipe, from_json

logger = logging.getLogger(__name__)

FOLDS = "folds.json"


def cross_validate(data: Data, recipe: Recipe, folds: int, out: Path | None = None) -> Path:
    """Train once for each fold and then on all images; returns the folder of that last run.

    data, out: as for `alexnet.training.run.train`; `out` holds fold-1 ... fold-K, all, and folds.json with the top-1 of
    each fold, 0..1, their mean and their standard deviation (of a sample; K - 1 degrees of freedom).
    UsageError for a recipe that sets the parts by itself. Interrupted after SIGINT or SIGTERM; see `resume_folds`.
    """
    if recipe.validation or recipe.test or recipe.fold:
        raise UsageError("--folds takes every image once for testing; leave --validation, --test and --fold out")
    recipe = dataclasses.replace(recipe, init=found_anywhere(recipe.init))
    place = new_folder(out or Path("runs", "folds"), numbered=out is None)
    plan = {"folds": folds, "data": recorded_name(data), "recipe": dataclasses.asdict(recipe)}
    write_json(place / FOLDS, plan)
    try:
        return _run_all(place, plan, recipe, data)
    except AlexNetError:
        if [path.name for path in place.iterdir()] == [FOLDS]:  # nothing was trained
            (place / FOLDS).unlink()
            place.rmdir()
        raise


def resume_folds(place: Path, device: str | None = None, workers: int | None = None, data: Data | None = None) -> Path:
    """Continue an interrupted `cross_validate` in `place`: the open fold, the other folds, the run on all images.

    device, workers, data: as for `alexnet.training.run.resume`, whose promise of the same weights holds.
    """
    plan = _read_plan(place)
    recipe = replaced(from_json(plan["recipe"]), device, workers)
    return _run_all(place, plan, recipe, plan["data"] if data is None else data, device, workers, data)


def is_folds(place: Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    return (place / FOLDS).is_file()


def _read_plan(place: Path) -> dict[str, Any]:
    try:
        plan = read_json(place / FOLDS)
    except ValueError as error:
        raise FileError(f"{place / FOLDS} is damaged ({error}); put back a copy of it, or start anew") from error
    if missing := {"folds", "data", "recipe"} - plan.keys():
        raise FileError(
            f"{place / FOLDS} lacks {', '.join(sorted(missing))}: an earlier version wrote it; resume each fold by "
            f"itself: alexnet train --resume {shlex.quote(str(place / 'fold-1'))}"
        )
    return plan


def _run_all(place: Path, plan: dict[str, Any], recipe: Recipe, data: Data, *again: Any) -> Path:
    """Every run of the plan that is not finished. again: how those that have begun are resumed, see `resume`."""
    folds = int(plan["folds"])
    runs = [place / f"fold-{number}" for number in range(1, folds + 1)]
    try:
        for number, run in enumerate(runs, 1):
            _run(run, dataclasses.replace(recipe, fold=f"{number}/{folds}"), data, runs[0], again)
        _write_scores(place, plan, runs)
        everything = dataclasses.replace(recipe, validation=0.0, test=0.0, given_splits=False)
        final = _run(place / "all", everything, data, runs[0], again)
    except Interrupted as error:
        done = str(error).partition("; go on with")[0]
        whole = f"alexnet train --resume {shlex.quote(str(place))}"
        raise Interrupted(f"{done}; go on with this and the other runs of the folds: {whole}") from error
    _tell(read_json(place / FOLDS), final)
    return final


def _run(run: Path, recipe: Recipe, data: Data, first: Path, again: tuple[Any, ...]) -> Path:
    """One run: left alone if it is finished, resumed if it has begun; a new one has the images of the first fold."""
    if RunFolder(run).is_finished:
        return run
    if RunFolder(run).is_run:
        return resume(run, *again)
    same = first if (first / "split.csv").is_file() and again else None
    return train(data, recipe, run, same)


def _write_scores(place: Path, plan: dict[str, Any], runs: list[Path]) -> None:
    scores = [RunFolder(run).read_metrics()["top1"] for run in runs]
    mean, spread = float(np.mean(scores)), float(np.std(scores, ddof=1))
    write_json(place / FOLDS, {**plan, "top1": scores, "mean": mean, "standard_deviation": spread})


def _tell(told: dict[str, Any], final: Path) -> None:
    logger.info(
        "%d folds: top-1 %s, mean %.2f %%, standard deviation %.2f points; that is what to expect of the model on all "
        "images, %s, which no image is left to judge",
        *(told["folds"], ", ".join(f"{score:.2%}" for score in told["top1"])),
        *(100 * told["mean"], 100 * told["standard_deviation"], final),
    )
