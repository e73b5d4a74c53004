"""A folded network gives what the network gives in evaluation mode, without BatchNorm and dropout."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from alexnet.networks import create, list_networks
from alexnet.networks.folding import folded
from alexnet.networks.layers import Network

Make = Callable[..., Network]


def check(network: Network) -> Network:
    """The folded network, if for small images it gives the network's own logits."""
    copy = folded(network)
    images = torch.randn(2, 3, network.least_input, network.least_input, dtype=torch.float64)
    with torch.no_grad():
        wanted, found = network.eval()(images), copy(images)
    assert wanted.std() > 0
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()
    return copy


@pytest.mark.parametrize("name", list_networks())
def test_every_published_network_gives_the_same_logits_without_batchnorm(name: str, trained: Make) -> None:
    network = trained(name).double()
    copy = check(network)
    kinds = {type(layer) for layer in copy.modules()}
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout}
    names = [stage for stage, _ in network.stages()]
    assert [stage for stage, _ in copy.stages()] == [
        stage for stage in names if stage[:2] != "bn" and stage[:4] != "drop"
    ]


@pytest.mark.parametrize(
    ("name", "differences", "left"),
    [
        ("article", {"padding": True, "conv2": 5}, 4),  # before conv2 to conv5, which have zeros at their borders
        ("cifar-19pct", {"norm": "batch"}, 2),
        ("modern", {"width": 0.25}, 0),
    ],
)
def test_batchnorm_before_zeros_at_the_border_stays(
    name: str, differences: dict[str, Any], left: int, trained: Make
) -> None:
    copy = check(trained(name, **differences).double())
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in copy.modules()) == left


def test_the_original_stays_and_the_copy_has_memory_of_its_own(trained: Make) -> None:
    network = trained("modern", width=0.25).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    copy = folded(network)
    for tensor in copy.parameters():
        tensor.zero_()
    assert network.training
    assert not copy.training
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_it_is_described_as_the_network_is() -> None:
    network = create("modern", num_classes=3, input_size=96)
    copy = folded(network)
    for setting in ("name", "num_classes", "input_size", "least_input", "resize", "mean", "std"):
        assert getattr(copy, setting) == getattr(network, setting)
    assert copy(torch.zeros(1, 3, 96, 96)).dtype == torch.float32
