"""Find the misclassified images with the highest confidence."""

import torch
from torch import Tensor

COUNT = 12


def most_confident_mistakes(probabilities: Tensor, labels: Tensor, count: int = COUNT) -> list[int]:
    """Rows of at most `count` images whose most probable class is wrong, by descending probability of that class.

    probabilities: (N, K). labels: int64 (N,). Empty where every prediction is correct.
    """
    confidence, predictions = probabilities.max(1)
    wrong = (predictions != labels).nonzero()[:, 0]
    return wrong[torch.sort(confidence[wrong], descending=True, stable=True).indices][:count].tolist()
