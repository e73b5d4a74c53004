"""What tests of the networks share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from alexnet.networks import create
from alexnet.networks.layers import Network, skip_init


@pytest.fixture(scope="session")
def trained() -> Callable[..., Network]:
    """Makes a network of three classes with random weights, and in BatchNorm random statistics and slopes."""

    def make(name: str, **differences: Any) -> Network:
        torch.manual_seed(0)
        with skip_init():  # 60 million normal numbers take seconds
            network = create(name, num_classes=3, **differences)
        numbers = torch.randn(4099)
        for parameter in network.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            values = numbers.repeat(parameter.numel() // 4099 + 1)[: parameter.numel()].view_as(parameter)
            parameter.data = values * (2 / fan_in) ** 0.5
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(layer.running_var, 0.2, 3)
                for tensor in (layer.weight, layer.bias, layer.running_mean):
                    nn.init.normal_(tensor)
        return network.eval()

    return make
