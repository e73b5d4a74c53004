"""Classification metrics: pure functions of probabilities (N, K) and labels (N,).

N images, K classes. Accuracies and the like are fractions, 0..1.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from alexnet.errors import AlexNetError, DataError, UsageError

CALIBRATION_BINS = 15  # Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, 2017, table 1

MANY_CLASSES = 30  # of more classes people are shown the most frequent confusions by name: a matrix is unreadable


def metrics(
    probabilities: Tensor | ArrayLike, labels: Tensor | ArrayLike, class_names: list[str] | None = None
) -> dict[str, Any]:
    """All metrics of an evaluation as plain numbers and lists, ready for JSON.

    probabilities: (N, K), rows summing to 1. labels: (N,), 0..K-1. class_names: K names; default "0".."K-1".
    Keys: images; top1; top5 (label among the min(5, K) most probable, so 1.0 for K <= 5); interval (95 % confidence
    interval of top1); macro_precision, macro_recall, macro_f1: means over the classes that occur in `labels`, since the
    recall of any other is undefined; ece; per_class [{label, images, precision, recall, f1}], 0.0 for 0/0;
    confusion[i][j]: images of class i predicted as j; most_confused: the ten largest numbers of mistakes in it.
    DataError without images, AlexNetError for probabilities that are not finite, UsageError for wrong shapes.
    """
    p, y = _checked(probabilities, labels)
    names = list(map(str, range(p.shape[1]))) if class_names is None else class_names
    if len(names) != p.shape[1]:
        raise UsageError(f"{len(names)} class names for {p.shape[1]} probabilities an image; give one name a class")
    confusion = torch.bincount(y * len(names) + p.argmax(1), minlength=len(names) ** 2).view(len(names), -1)
    classes = per_class(confusion, names)
    present = [row for row in classes if row["images"]]
    top1 = top_k_accuracy(p, y, 1)
    return {
        "images": len(y),
        "top1": top1,
        "top5": top_k_accuracy(p, y, 5),
        "macro_f1": _mean(present, "f1"),
        "macro_precision": _mean(present, "precision"),
        "macro_recall": _mean(present, "recall"),
        "ece": expected_calibration_error(p, y),
        "interval": list(wilson_interval(round(top1 * len(y)), len(y))),
        "per_class": classes,
        "confusion": confusion.tolist(),
        "most_confused": most_confused(confusion.numpy(), names),
    }


def top5_told(measures: dict[str, Any]) -> str:
    """ ", top-5 93.10%" from the result of `metrics`; "" for up to five classes, where it is always 100 %."""
    return f", top-5 {measures['top5']:.2%}" if len(measures["per_class"]) > 5 else ""


def top_k_accuracy(probabilities: Tensor, labels: Tensor, k: int) -> float:
    """The fraction of images with the label among the min(k, K) most probable classes."""
    k = min(k, probabilities.shape[1])
    guesses = probabilities.argmax(1, keepdim=True) if k == 1 else probabilities.topk(k, dim=1).indices
    return (guesses == labels[:, None]).any(1).double().mean().item()


def expected_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Mean absolute difference of confidence and accuracy over 15 equal confidence bins, weighted by their images.

    0 for perfect calibration: of the predictions with 80 % confidence, 80 % are correct. Guo et al. 2017, equation 3.
    A confidence on the edge of two bins belongs to the upper one, and 1 to a bin of its own, as in torchmetrics.
    """
    confidences, predictions = probabilities.clamp(0, 1).max(1)
    bins = torch.bucketize(confidences, torch.linspace(0, 1, CALIBRATION_BINS + 1), right=True) - 1
    # weight x |mean of right - mean of confidences| = |sum of the differences| / all images
    sums = torch.bincount(bins, (predictions == labels).double() - confidences.double())
    return float(sums.abs().sum() / len(labels))


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """Wilson's score interval: 95 % confidence limits of the accuracy, `right` of `images` predictions being correct.

    It stays within 0..1 and holds for few images and for accuracies near 1.
    E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc. 22 (1927)
    209-212.
    """
    p, z = right / images, NormalDist().inv_cdf(0.975)
    middle = p + z**2 / (2 * images)
    half = z * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    low, high = ((middle + sign * half) / (1 + z**2 / images) for sign in (-1, 1))
    return max(0.0, low) if right else 0.0, min(1.0, high) if right < images else 1.0


def per_class(confusion: Tensor, class_names: list[str]) -> list[dict[str, Any]]:
    """For each class its label, number of images, precision, recall and F1, from counts int64 (K, K)."""
    right, images, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    columns = zip(
        class_names,
        images.tolist(),
        _ratio(right, predicted),
        _ratio(right, images),
        _ratio(2 * right, images + predicted),
        strict=True,
    )
    return [dict(zip(("label", "images", "precision", "recall", "f1"), row, strict=True)) for row in columns]


def most_confused(confusion: ArrayLike, class_names: list[str], limit: int = 10) -> list[dict[str, Any]]:
    """The pairs [{label, prediction, images}] of different classes with most images, those first; ties by class.

    confusion: counts (K, K) as in `metrics`.
    """
    mistakes = np.array(confusion)
    np.fill_diagonal(mistakes, 0)
    largest = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    pairs = [tuple(map(int, np.unravel_index(place, mistakes.shape))) for place in largest]
    return [
        {"label": class_names[i], "prediction": class_names[j], "images": int(mistakes[i, j])}
        for i, j in pairs
        if mistakes[i, j]
    ]


def _ratio(part: Tensor, whole: Tensor) -> list[float]:
    """Quotients of counts, 0.0 for 0/0."""
    quotients: list[float] = (part / whole).nan_to_num(0.0).tolist()
    return quotients


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return float(sum(row[key] for row in rows) / len(rows))


def _checked(probabilities: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
    """Both as CPU tensors, float32 (N, K) and int64 (N,); raises as `metrics` documents."""
    p, y = _tensor(probabilities, torch.float32), _tensor(labels, torch.int64)
    if p.ndim != 2 or y.ndim != 1 or len(p) != len(y):
        raise UsageError(
            f"probabilities are {tuple(p.shape)} and labels {tuple(y.shape)}; expected (images, classes) and (images,)"
        )
    if not len(y):
        raise DataError("no images to evaluate; choose a split that has some")
    if not p.isfinite().all():
        raise AlexNetError(
            f"{int((~p.isfinite()).any(1).sum())} of {len(p)} images got probabilities that are not finite"
        )
    if p.min() < 0 or (p.sum(1) - 1).abs().max() > 1e-3:
        raise UsageError("the rows of probabilities are not from 0 to 1 with sum 1; apply softmax to logits first")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise DataError(f"labels run from {int(y.min())} to {int(y.max())}, the network knows 0 to {p.shape[1] - 1}")
    return p, y


def _tensor(values: Tensor | ArrayLike, dtype: torch.dtype) -> Tensor:
    """A CPU tensor; arrays are copied because they may be read-only memory maps."""
    if isinstance(values, Tensor):
        return values.detach().to("cpu", dtype)
    return torch.from_numpy(np.array(values)).to(dtype)
