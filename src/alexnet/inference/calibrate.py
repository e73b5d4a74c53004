"""`alexnet calibrate`: a calibration for a finished run, from images that it was not trained on."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.sources import Data
from alexnet.errors import AlexNetError, DataError, FileError, UsageError
from alexnet.evaluation.calibrate import FALSE_ALARMS, LEAST, Answers, answers, calibration, check_share
from alexnet.files import held
from alexnet.inference.classifier import Classifier, load
from alexnet.inference.inputs import as_path
from alexnet.inference.parts import Labelled, open_data, run_of
from alexnet.runs.folder import RunFolder
from alexnet.weights.calibration import Calibration
from alexnet.weights.card import read, write

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


def calibrate(
    run: str | os.PathLike[str],
    data: Data | None = None,
    false_alarms: float = FALSE_ALARMS,
    device: str = "auto",
    progress: Progress | None = None,
) -> Calibration:
    """Find a run's temperature and its score for 'none of these', and write them into its weights file.

    run: the folder of a finished run. data: where its images lie now, None for where they lay; or other labelled images
    of its classes, which then take the place of the validation part. false_alarms: the share of own images that may be
    taken for none of the classes, above 0 and below 1. progress: called with (images done, N).
    FileError for what is no run, UsageError for one without held-out images or with too few; the weights file is then
    as it was.
    """
    check_share("false alarms", false_alarms)
    folder = as_path("run", run)
    files, recorded = RunFolder(folder), run_of(folder) if folder.is_dir() else None
    if recorded is None:
        raise FileError(f"{folder} is no run's folder, so nothing tells what it was trained on; give the run's folder")
    _refuse_read_only(files)
    classifier = load(folder, device)
    found = open_data(folder, recorded.data if data is None else data, classifier, progress)
    held_out = _held_out(found, folder)
    trained = found if found.own else _own(folder, recorded.data, classifier, progress)
    with held(folder):
        stored = read(files.weights)
        calibrated = calibration(
            None if trained is None else _answers(classifier, trained, trained.parts == "train", progress),
            _answers(classifier, found, held_out, progress),
            false_alarms,
        )
        if calibrated is None:
            raise UsageError(
                f"{folder} is left as it is: {int(held_out.sum())} held-out images are too few; give {LEAST} or more"
                f" labelled ones that it has not seen: alexnet calibrate {folder} DATA"
            )
        write(files.weights, stored.tensors, replace(stored.card, calibration=calibrated))
    return calibrated


def _refuse_read_only(files: RunFolder) -> None:
    """AlexNetError where the run's weights cannot be replaced."""
    if not os.access(files.weights.parent, os.W_OK):
        raise AlexNetError(
            f"cannot write {files.weights}: its folder is not writable; copy the run, calibrate the copy"
        )


def _held_out(found: Labelled, folder: object) -> NDArray[np.bool_]:
    """(N,) the images that the calibration is found from: the run's validation part, or other data as a whole."""
    chosen = found.parts == "val" if found.own else ~found.trained
    if not chosen.any():
        raise UsageError(
            f"{folder} has no validation part, so it cannot be calibrated and its answers stay as they are; give "
            f"labelled photos that it has not seen: alexnet calibrate {folder} DATA (or train with --validation 0.15)"
        )
    return chosen


def _own(folder: object, data: str, classifier: Classifier, progress: Progress | None) -> Labelled | None:
    """The run's own data; None, which is said, where it is not there."""
    try:
        return open_data(classifier.origin, data, classifier, progress)
    except DataError as error:
        logger.warning(
            "'none of these' is not told, for the images that %s was trained on are not there: %s", folder, error
        )
        return None


def _answers(classifier: Classifier, data: Labelled, chosen: NDArray[np.bool_], progress: Progress | None) -> Answers:
    parts = (classifier.network, classifier.preprocessing, data.store, np.flatnonzero(chosen), data.labels)
    return answers(*parts, classifier.device, progress)


def told(found: Calibration) -> dict[str, Any]:
    """What `calibrate` found, for people and programs: temperature, errors before and after, images, false alarms."""
    return {"temperature": found.temperature, "unknown": found.known is not None, **found.measured}
