"""The most confident mistakes are wrong predictions by descending confidence."""

import torch

from alexnet.explain.mistakes import most_confident_mistakes

PROBABILITIES = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.05, 0.95]])


def test_only_wrong_predictions_are_listed_by_descending_confidence() -> None:
    assert most_confident_mistakes(PROBABILITIES, torch.tensor([0, 1, 0, 1, 0])) == [4, 2, 1]
    assert most_confident_mistakes(PROBABILITIES, torch.tensor([0, 1, 0, 1, 0]), count=2) == [4, 2]
    assert most_confident_mistakes(PROBABILITIES, torch.tensor([0, 0, 1, 1, 1])) == []
