"""Logistic regression on feature vectors, its regularisation chosen by held-out images.

N images, D features, K classes. scikit-learn minimises |W|² / 2 + C * (sum of the images' cross-entropies).
"""

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.training.supervised import CHOOSING

GRID = tuple(10.0**power for power in range(-5, 3))  # values of C, the strongest regularisation first
FOLDS = 5
PATIENCE = 2  # values of C in a row that are worse than the best, after which weaker regularisation is not tried
UNCHOSEN = 0.01  # C where a class has one image alone, so that nothing can be held out
ITERATIONS = 1000
ROUGH, EXACT = 1e-3, 1e-4  # gradients at which a fit ends: while C is sought, and of the last one (scikit-learn's own)
WORDS = {
    "val": "validation",
    "fifth": "a fifth of the training images, held out for it",
    "cross-validation": "cross-validation of the training images",
}

Features = NDArray[np.float32]  # (N, D)
Labels = NDArray[np.int64]  # (N,)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """A classifier of raw features: logits = features @ weights.T + biases."""

    weights: Features  # (K, D)
    biases: NDArray[np.float32]  # (K,)
    c: float
    chosen_on: str | None  # a key of WORDS; None: nothing could be held out
    tried: list[dict[str, float]]  # {"c", "loss", "top1"} on the images held out

    def to_json(self) -> dict[str, Any]:
        """{"c", "chosen_on", "tried"}."""
        return {"c": self.c, "chosen_on": self.chosen_on, "tried": self.tried}

    @property
    def told(self) -> str:
        """The choice in words."""
        if self.chosen_on is None:
            return f"C {self.c:g}, for no image was left to choose it by"
        return f"C {self.c:g} of {len(self.tried)} tried, chosen by {WORDS[self.chosen_on]}"


def choose(
    features: Features,
    labels: Labels,
    val_features: Features,
    val_labels: Labels,
    balanced: bool = False,
    seed: int = 0,
) -> Choice:
    """Fit the training images by the C of the lowest loss on validation, or on the training images in folds.

    features: (N, D) of the training images; every class 0..K-1 has one. val_features: those of validation; fewer than
    thirty are too few to choose by; then a fifth of the training images is held out for the choice, or, where these are
    fewer than thirty, each fifth in turn. The classifier is then fitted to all training images. balanced: weight
    classes inversely to their images.
    """
    mean, scale = standardised(features)
    basis = _basis((features - mean) / scale)
    train, val = (_within((each - mean) / scale, basis) for each in (features, val_features))
    if len(val) >= CHOOSING:
        parts, chosen_on = [(train, labels, val, val_labels)], "val"
    else:
        parts = _folds(train, labels, seed)
        chosen_on = "fifth" if len(parts) == 1 else "cross-validation"
    tried = _tried(parts, balanced) if parts else []
    best = min(tried, key=lambda each: each["loss"])["c"] if tried else UNCHOSEN
    model = _model(balanced, EXACT)
    _fit(model, best, train, labels)
    weights, biases = _rows(model)
    weights = weights if basis is None else weights @ basis.T
    return Choice(
        (weights / scale).astype(np.float32),
        (biases - weights @ (mean / scale)).astype(np.float32),
        best,
        chosen_on if tried else None,
        tried,
    )


def standardised(features: Features) -> tuple[Features, Features]:
    """Mean and deviation of each feature, (D,); 1 for a feature that never changes."""
    scale = features.std(0)
    return features.mean(0), np.where(scale > 1e-6 * max(float(scale.max(initial=0)), 1e-30), scale, 1).astype("f4")


def _folds(features: Features, labels: Labels, seed: int) -> list[tuple[Features, Labels, Features, Labels]]:
    """Training and held-out images of each fold, or of the first where it is enough to choose by.

    None where a class has one image alone.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = min(FOLDS, int(np.bincount(labels).min()))
    if folds < 2:
        return []
    cut = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels))
    cut = cut[:1] if len(cut[0][1]) >= CHOOSING else cut
    return [(features[fit], labels[fit], features[held], labels[held]) for fit, held in cut]


def _tried(parts: list[tuple[Features, Labels, Features, Labels]], balanced: bool) -> list[dict[str, float]]:
    """Loss and top-1 of each C on the images held out, until it only gets worse. A fit begins from the last one."""
    models, found = [_model(balanced, ROUGH) for _ in parts], list[dict[str, float]]()
    for c in GRID:
        losses, rights = [], []
        for model, (features, labels, held, wanted) in zip(models, parts, strict=True):
            _fit(model, c, features, labels)
            chances = model.predict_proba(held)
            losses.append(-np.log(np.maximum(chances[np.arange(len(wanted)), wanted], 1e-12)))
            rights.append(chances.argmax(1) == wanted)
        loss, top1 = float(np.concatenate(losses).mean()), float(np.concatenate(rights).mean())
        found.append({"c": c, "loss": loss, "top1": top1})
        best = min(range(len(found)), key=lambda place: found[place]["loss"])
        if len(found) - 1 - best >= PATIENCE:
            break
    return found


def _basis(features: Features) -> Features | None:
    """(D, N), orthonormal, spanning the N training images where D is larger; None elsewhere.

    A penalty on their squares keeps the best weights within that span: N unknowns a class in place of D, and the same
    answer.
    """
    return np.linalg.qr(features.T)[0] if features.shape[1] > len(features) else None


def _within(features: Features, basis: Features | None) -> Features:
    return features if basis is None else features @ basis


def _model(balanced: bool, tolerance: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    weight = "balanced" if balanced else None
    return LogisticRegression(max_iter=ITERATIONS, tol=tolerance, warm_start=True, class_weight=weight)


def _fit(model: Any, c: float, features: Features, labels: Labels) -> None:
    """Fit by lbfgs; where it has not converged, that is logged and the last values are taken."""
    from sklearn.exceptions import ConvergenceWarning

    model.set_params(C=c)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, labels)
    if any(issubclass(each.category, ConvergenceWarning) for each in caught):
        logger.warning("logistic regression with C %g has not converged after %d iterations", c, ITERATIONS)


def _rows(model: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (K, D) and biases (K,). Of two classes scikit-learn has the difference of their logits alone."""
    weights, biases = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(weights) == 1:
        return np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    return weights, biases
