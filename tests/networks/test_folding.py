"""A folded network gives what the network gives in evaluation mode, without BatchNorm and dropout."""

from typing import Any

import pytest
import torch
from torch import nn

from alexnet.networks import create, list_networks
from alexnet.networks.folding import folded
from alexnet.networks.layers import Network, skip_init


def trained(name: str, **differences: Any) -> Network:
    """A network in float64 with random weights, and in BatchNorm random statistics and slopes of both signs."""
    torch.manual_seed(0)
    with skip_init():  # 60 million normal numbers take seconds
        network = create(name, num_classes=3, **differences).double()
    numbers = torch.randn(4099, dtype=torch.float64)
    for parameter in network.parameters():
        parameter.data = numbers.repeat(parameter.numel() // 4099 + 1)[: parameter.numel()].view_as(parameter) / 8
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(layer.running_var, 0.2, 3)
    return network


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
def test_every_published_network_gives_the_same_logits_without_batchnorm(name: str) -> None:
    network = trained(name)
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
def test_batchnorm_before_zeros_at_the_border_stays(name: str, differences: dict[str, Any], left: int) -> None:
    copy = check(trained(name, **differences))
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in copy.modules()) == left


def test_the_original_stays_and_the_copy_has_memory_of_its_own() -> None:
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
