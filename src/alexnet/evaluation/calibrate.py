"""A calibration from held-out images: temperature, the score for 'none of these', and the scores for sets.

N images, K classes, D features of a layer, R directions; the formulas that use what is found here are at the head of
`alexnet.weights.calibration`.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alexnet.data.preprocess import Preprocessing
from alexnet.data.splits import evenly_spaced
from alexnet.data.store import Store
from alexnet.errors import UsageError
from alexnet.evaluation.features import of_store
from alexnet.evaluation.metrics import expected_calibration_error
from alexnet.networks.layers import AdaptiveAvgPool2d, LocallyConnected2d, Network
from alexnet.weights.calibration import Array, Calibration, Known, Place, quantile, unit_roots

FALSE_ALARMS = 0.05  # share of own images that may be taken for none of the classes
LEAST = 20  # held-out images that a temperature is found from
MOST = 20_000  # images of a part that are looked at: more of them change little
DIRECTIONS = 64  # of a layer's features: all would be more tensors than a small model has
SHRINKAGE = 0.1  # share of the mean variance in that of each direction, for classes of few images
DOUBT = 0.3  # of an image's distance, which is about 1 a layer: the weight of 1 - largest probability
HOTTEST = 20.0  # the limit of the temperature, and 1 / HOTTEST its other one
LEAST_VARIANCE = 1e-12

logger = logging.getLogger(__name__)


class Answers(NamedTuple):
    """What a network gives for the centre views of N images of known classes."""

    logits: Array  # (N, K)
    features: dict[str, Array]  # by layer (N, D)
    labels: NDArray[np.int64]  # (N,)


def answers(
    network: Network,
    preprocessing: Preprocessing,
    store: Store,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> Answers:
    """What the network on `device` gives, in float32, for `rows` of the store: at most MOST of them, evenly spaced.

    labels: (len(store),) the place of each image's class among the network's outputs.
    """
    rows = rows[evenly_spaced(len(rows), MOST)]
    layers, last = feature_layers(network), list(network.stages())[-1][0]
    parts = (network, preprocessing, store, [*layers, last], "average", device, torch.float32, rows, progress)
    found = list(of_store(*parts))
    joined = {layer: torch.cat([batch[layer] for batch in found]).numpy() for layer in (*layers, last)}
    return Answers(joined.pop(last), joined, labels[rows])


def feature_layers(network: Network) -> list[str]:
    """The stages whose outputs the score looks at: of every convolution that a pool follows, the pool or the ReLU.

    The later of the two, so that values are not negative and that folding BatchNorm leaves them as they are.
    """
    found, block = list[str](), list[tuple[str, nn.Module]]()
    for name, stage in network.stages():
        if isinstance(stage, (nn.Conv2d, LocallyConnected2d, AdaptiveAvgPool2d, nn.Flatten, nn.Linear)):
            found += _end_of(block)
            block = []
        block.append((name, stage))
    return found


def _end_of(block: list[tuple[str, nn.Module]]) -> list[str]:
    """The name of the last pool or ReLU of a convolution and what follows it; none where it is not pooled."""
    pools = (nn.MaxPool2d, nn.AvgPool2d)
    convolved = bool(block) and isinstance(block[0][1], nn.Conv2d)
    if not convolved or not any(isinstance(stage, pools) for _, stage in block):
        return []
    return [name for name, stage in block if isinstance(stage, (*pools, nn.ReLU))][-1:]


def calibration(trained: Answers | None, held_out: Answers, false_alarms: float = FALSE_ALARMS) -> Calibration | None:
    """The calibration of a network by held-out images, and by images that it was trained on.

    false_alarms: the share of own images that may be taken for none of the classes, above 0 and below 1. None where
    there are too few images to find a temperature, which is logged; without `known` where there are too few for the
    share, or no trained images. UsageError for another share.
    """
    check_share("false alarms", false_alarms)
    images = len(held_out.labels)
    if images < LEAST:
        logger.info(
            "not calibrated: %d validation images are too few (%d are needed); probabilities stay as they are; "
            "with photos that were not trained on: alexnet calibrate RUN PHOTOS",
            *(images, LEAST),
        )
        return None
    heat = temperature(held_out.logits, held_out.labels)
    chances = Calibration(heat).probabilities(held_out.logits)
    known = None if trained is None else _known(trained, held_out, chances, false_alarms)
    right = chances[np.arange(images), held_out.labels]
    before = Calibration().probabilities(held_out.logits)
    measured: dict[str, Any] = {
        "images": {"train": 0 if trained is None else len(trained.labels), "val": images},
        "false_alarms": false_alarms if known else None,
        "ece_before": _ece(before, held_out.labels),
        "ece_after": _ece(chances, held_out.labels),
    }
    return Calibration(heat, known, np.sort(1 - right), measured)


def check_share(name: str, value: float) -> None:
    """UsageError unless the value is above 0 and below 1."""
    if not 0 < value < 1:
        raise UsageError(f"{name} is {value:g}; give a share above 0 and below 1")


def temperature(logits: Array, labels: NDArray[np.int64]) -> float:
    """The temperature with the least negative log likelihood of held-out labels (Guo et al. 2017, section 4.2).

    logits: (N, K). As in Platt 1999, "Probabilistic Outputs for Support Vector Machines", the right class has the
    target 1 - 1 / (N + 2) instead of 1: of images that are all answered rightly it does not follow that none is wrong.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    values, rest = torch.from_numpy(logits).double(), 1 / (len(labels) + 2)
    targets = torch.full_like(values, rest / max(1, values.shape[1] - 1))
    targets[torch.arange(len(labels)), torch.from_numpy(labels)] = 1 - rest

    def loss(log_heat: float) -> float:
        return -float((targets * (values / math.exp(log_heat)).log_softmax(1)).sum())

    limit = math.log(HOTTEST)
    return math.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-4}).x)


def _known(trained: Answers, held_out: Answers, chances: Array, false_alarms: float) -> Known | None:
    """The score for 'none of these', its threshold the quantile of the held-out images' scores."""
    places = [
        _scaled(place(layer, values, trained.labels), held_out.features) for layer, values in trained.features.items()
    ]
    known = Known(DOUBT, 1.0, tuple(places))
    threshold = quantile(known.score(chances, held_out.features), 1 - false_alarms)
    if math.isinf(threshold):
        logger.info(
            "'none of these' is not told: of %d validation images no threshold for %g %% false alarms can be found "
            "(%d are needed)",
            *(len(held_out.labels), 100 * false_alarms, math.ceil(round(1 / false_alarms, 9)) - 1),
        )
        return None
    return Known(DOUBT, threshold, known.places)


def place(layer: str, features: Array, labels: NDArray[np.int64]) -> Place:
    """Where classes lie among a layer's features (N, D): directions of most variance within classes, made equally wide.

    The variances are shrunk towards their mean (Ledoit and Wolf 2004, "A well-conditioned estimator for
    large-dimensional covariance matrices"). The centres are the classes' means.
    """
    units = unit_roots(features).astype(np.float64)
    classes, of_image, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.zeros((len(classes), units.shape[1]))
    np.add.at(means, of_image, units)
    means /= counts[:, None]
    within = units - means[of_image]
    variances, directions = np.linalg.eigh(within.T @ within / len(units))
    widths = np.sqrt((1 - SHRINKAGE) * variances + SHRINKAGE * variances.mean() + LEAST_VARIANCE)
    projection = (directions / widths)[:, ::-1][:, :DIRECTIONS]
    mean = units.mean(0)
    return Place(layer, _float(mean), _float(projection), _float((means - mean) @ projection))


def _scaled(found: Place, features: Mapping[str, Array]) -> Place:
    """The place with distances of which the median, over held-out images, is 1, so that all layers count alike."""
    usual = max(float(np.median(found.distance(features[found.layer]))), LEAST_VARIANCE)
    return Place(found.layer, found.mean, _float(found.projection / usual), _float(found.centres / usual))


def _ece(chances: Array, labels: NDArray[np.int64]) -> float:
    return expected_calibration_error(torch.from_numpy(chances), torch.from_numpy(labels))


def _float(values: NDArray[np.floating[Any]]) -> Array:
    return np.ascontiguousarray(values, np.float32)
