"""Whole networks in codes: every layer's inputs are those it gets, and images make the answers better."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from alexnet.compression.network import moments, shared
from alexnet.networks import create
from alexnet.networks.layers import Network


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    made = create("modern", 5, 63, width=0.25)
    made(torch.randn(16, 3, 63, 63))  # statistics of BatchNorm
    return made.eval()


def images(count: int, seed: int) -> torch.Tensor:
    """Smooth, as photos are."""
    noise = torch.randn(count, 3, 9, 9, generator=torch.manual_seed(seed))
    return nn.functional.interpolate(noise, 63, mode="bilinear")


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 6, 5, padding=2),
        nn.Linear(7, 3),
    ],
)
def test_moments_are_those_by_which_outputs_change(layer: nn.Module) -> None:
    """trace(E H E^T) is the mean square of the change of the outputs by a change E of the weights."""
    torch.manual_seed(1)
    channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    maps = torch.randn(3, channels) if isinstance(layer, nn.Linear) else torch.randn(3, channels, 5, 5)
    changed = copy.deepcopy(layer)
    with torch.no_grad():
        changed.weight.add_(torch.randn_like(changed.weight))
        difference = (changed(maps) - layer(maps)).double()
    moved = (changed.weight - layer.weight).detach().double().flatten(1)
    found = moments(layer, [maps])
    total = sum(
        float((part @ torch.from_numpy(each).double() * part).sum())
        for part, each in zip(moved.chunk(len(found)), found, strict=True)
    )
    places = difference[:, :1].numel()
    assert total == pytest.approx(float(difference.square().sum()) / places, rel=1e-4)


def test_images_make_the_logits_of_other_images_better(network: Network) -> None:
    others = images(8, 1)
    with torch.no_grad():
        logits = network(others)
        found = (shared(network, 3, given).network(others) for given in (None, images(64, 2)))
        errors = [float((each - logits).square().mean()) for each in found]
    assert errors[1] < 0.7 * errors[0]


def test_every_weight_is_a_value_of_its_code_and_the_network_is_unchanged(network: Network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made, coded = shared(network, 4, images(4, 3))
    layers = (*(f"conv{number}" for number in range(1, 6)), "fc6", "fc7", "fc8")
    assert set(coded) == {f"{name}.weight" for name in layers}
    for name, tensor in made.state_dict().items():
        if name in coded:
            assert np.array_equal(tensor.numpy(), coded[name].values())
        else:
            assert torch.equal(tensor, before[name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    most = {"conv1.weight": 64, "fc8.weight": 64}
    assert all(len(each.codebook) <= most.get(name, 16) for name, each in coded.items())


@pytest.mark.slow
def test_locally_connected_layers_are_shared_too() -> None:
    torch.manual_seed(0)
    network = create("cifar-11pct", 3).eval()
    made, coded = shared(network, 5, torch.randn(2, 3, network.input_size, network.input_size))
    assert "local3.weight" in coded
    assert (made.local3.weight - network.local3.weight).abs().max() < 0.5 * network.local3.weight.abs().max()
