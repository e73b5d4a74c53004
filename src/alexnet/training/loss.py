"""What supervised training minimises. N images a batch, K classes."""

import torch.nn.functional as F
from torch import Tensor

from alexnet.training.settings import Recipe


def loss_value(recipe: Recipe, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean loss of float32 logits (N, K) against targets (N, K) that sum to one by row.

    cross_entropy: -sum of target * log softmax, as `F.cross_entropy` in fewer operators. logistic: K independent units
    with cross-entropy, summed (Krizhevsky 2014, section 3).
    """
    if recipe.loss == "logistic":
        return F.binary_cross_entropy_with_logits(logits, targets, class_weights, reduction="sum") / len(logits)
    if recipe.label_smoothing:
        targets = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / targets.shape[1]
    targets = targets if class_weights is None else targets * class_weights
    return (targets * F.log_softmax(logits, 1)).sum() * (-1 / len(logits))
