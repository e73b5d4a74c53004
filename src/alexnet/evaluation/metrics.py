"""Classification metrics: pure functions of probabilities (N, K) and labels (N,).

N images, K classes. Accuracies and the like are fractions, 0..1.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from alexnet.errors import AlexNetError, DataError, UsageError

CALIBRATION_BINS = 15  # Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, 2017, table 1


def metrics(
    probabilities: Tensor | ArrayLike, labels: Tensor | ArrayLike, class_names: list[str] | None = None
) -> dict[str, Any]:
    """All metrics of an evaluation as plain numbers and lists, ready for JSON.

    probabilities: (N, K), rows summing to 1. labels: (N,), 0..K-1. class_names: K names; default "0".."K-1".
    Keys: images; top1; top5 (label among the min(5, K) most probable, so 1.0 for K <= 5); interval (95 % confidence
    interval of top1); macro_precision, macro_recall, macro_f1: means over the classes that occur in `labels`, since the
    recall of any other is undefined; ece; per_class [{label, images, precision, recall, f1}], 0.0 for 0/0;
    confusion[i][j]: images of class i predicted as j.
    DataError without images, AlexNetError for probabilities that are not finite, UsageError for wrong shapes.
    """
    import torchmetrics.functional.classification as torchmetrics  # takes a second; accuracy alone does without

    p, y = _checked(probabilities, labels)
    names = list(map(str, range(p.shape[1]))) if class_names is None else class_names
    if len(names) != p.shape[1]:
        raise UsageError(f"{len(names)} class names for {p.shape[1]} probabilities an image; give one name a class")
    classes = per_class(p, y, names)
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
        "confusion": torchmetrics.multiclass_confusion_matrix(p, y, num_classes=len(names)).tolist(),
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
    """
    import torchmetrics.functional.classification as torchmetrics

    return torchmetrics.multiclass_calibration_error(
        probabilities.clamp(0, 1), labels, num_classes=probabilities.shape[1], n_bins=CALIBRATION_BINS, norm="l1"
    ).item()


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """Wilson's score interval: 95 % confidence limits of the accuracy, `right` of `images` predictions being correct.

    It stays within 0..1 and holds for few images and for accuracies near 1.
    E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc. 22 (1927)
    209-212.
    """
    from scipy.stats import binomtest  # slow to import

    interval = binomtest(right, images).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def per_class(probabilities: Tensor, labels: Tensor, class_names: list[str]) -> list[dict[str, Any]]:
    """For each class its label, number of images, precision, recall and F1, by the most probable class."""
    import torchmetrics.functional.classification as torchmetrics

    settings: dict[str, Any] = {"num_classes": len(class_names), "average": None}
    predictions = probabilities.argmax(1)
    columns = zip(
        class_names,
        torch.bincount(labels, minlength=len(class_names)).tolist(),
        torchmetrics.multiclass_precision(predictions, labels, **settings).tolist(),
        torchmetrics.multiclass_recall(predictions, labels, **settings).tolist(),
        torchmetrics.multiclass_f1_score(predictions, labels, **settings).tolist(),
        strict=True,
    )
    return [dict(zip(("label", "images", "precision", "recall", "f1"), row, strict=True)) for row in columns]


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
