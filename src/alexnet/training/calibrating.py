"""A run's weights calibrated at its end, by its validation part."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import Store
from alexnet.evaluation.calibrate import answers, calibration
from alexnet.networks.layers import Network
from alexnet.runs.folder import RunFolder
from alexnet.weights.calibration import Calibration
from alexnet.weights.card import read, write

LEAST = 1e-38  # a probability, so that its logarithm is finite; about the least normal float32

logger = logging.getLogger(__name__)


def calibrate(
    folder: RunFolder,
    network: Network,
    preprocessing: Preprocessing,
    store: Store,
    parts: Mapping[str, NDArray[np.int64]],
    device: torch.device,
) -> Calibration | None:
    """Write the calibration of the run's weights into their file; one line says what was found, or why nothing was.

    network: with these weights, on `device`. parts: rows of the store for "train" and "val".
    """
    if not len(parts["val"]):
        logger.info(
            "not calibrated, for there is no validation part; probabilities are as the network gives them; "
            "with photos that were not trained on: alexnet calibrate RUN PHOTOS"
        )
        return None
    trained, held_out = (
        answers(network, preprocessing, store, parts[part], store.labels, device) for part in ("train", "val")
    )
    found = calibration(trained, held_out)
    if found is not None:
        stored = read(folder.weights)
        write(folder.weights, stored.tensors, replace(stored.card, calibration=found))
        logger.info("%s", sentence(found))
    return found


def sentence(found: Calibration) -> str:
    """ "calibrated on 204 images: temperature 0.61, calibration error there 11.5 % to 2.1 %, ..."."""
    errors = (100 * found.measured[key] for key in ("ece_before", "ece_after"))
    text = f"calibrated on {found.measured['images']['val']} images: temperature {found.temperature:.2f}, calibration "
    text += "error there {:.1f} % to {:.1f} %".format(*errors)
    if found.known is None:
        return text
    return f"{text}; of images of the classes {100 * found.measured['false_alarms']:g} % will be called unknown"


def at_temperature(chances: Tensor, found: Calibration | None) -> Tensor:
    """Uncalibrated probabilities (N, K) of one view each as they are at the calibration's temperature."""
    return chances if found is None else (chances.clamp_min(LEAST).log() / found.temperature).softmax(1)
