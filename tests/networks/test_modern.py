"""The recommended network keeps AlexNet's structure and learns."""

import pytest
import torch
from sklearn.datasets import load_digits

from alexnet.networks import create
from alexnet.networks.summary import summarize


def test_modern_keeps_the_structure_of_alexnet() -> None:
    layers = summarize("modern").layers
    assert [layer.kernel for layer in layers if layer.kind == "Conv2d"] == [11, 5, 3, 3, 3]
    assert sum(layer.kind == "Linear" for layer in layers) == 3
    pools = [layer for layer in layers if layer.kind == "MaxPool2d"]
    assert pools
    assert all(pool.kernel is not None and pool.stride is not None and pool.kernel > pool.stride for pool in pools)


def test_width_scales_the_convolutions() -> None:
    wide, usual, narrow = (summarize("modern", width=width).macs for width in (2.0, 1.0, 0.5))
    assert wide / usual == pytest.approx(4, rel=0.25)
    assert usual / narrow == pytest.approx(4, rel=0.25)


def test_initial_predictions_are_nearly_uniform() -> None:
    torch.manual_seed(0)
    network = create("modern", num_classes=10).train()
    x = torch.randn(16, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    loss = torch.nn.functional.cross_entropy(network(x), torch.arange(16) % 10)
    assert loss.item() == pytest.approx(torch.tensor(10.0).log().item(), rel=0.1)


def test_a_few_steps_fit_handwritten_digits() -> None:
    torch.manual_seed(0)
    digits, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(digits[:64]).float().view(-1, 1, 8, 8).repeat(1, 3, 1, 1) / 8 - 1
    x, y = torch.nn.functional.interpolate(x, size=64), torch.from_numpy(labels[:64])
    network = create("modern", num_classes=10, dropout=0, width=0.5).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5
