"""A small network with the features of the published ones: two towers, LRN, pools, dense layers."""

import pytest
import torch
from torch import nn

from alexnet.data.preprocess import Preprocessing
from alexnet.networks.layers import Network
from alexnet.ops import LocalResponseNorm


class Tiny(Network):
    """Three classes, input of 64 px, maps of 14, 7 and 7 px."""

    name = "tiny"
    input_size = 64
    mean, std = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)

    def __init__(self) -> None:
        super().__init__(3, None, 0.5)
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))  #                      3 x 65 x 65
        self.conv1 = nn.Conv2d(3, 8, 11, stride=4)  #                 8 x 14 x 14
        self.relu1 = nn.ReLU()
        self.norm1 = LocalResponseNorm(alpha=0.5, k=2.0, groups=2)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #     8 x  7 x  7
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1, groups=2)  #     12 x  7 x  7
        self.relu2 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc3 = nn.Linear(12 * 7 * 7, 10)
        self.relu3 = nn.ReLU()
        self.drop3 = nn.Dropout(0.5)
        self.fc4 = nn.Linear(10, 3)


@pytest.fixture
def tiny() -> Network:
    torch.manual_seed(3)
    return Tiny()


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing(64, 70, Tiny.mean, Tiny.std, store_size=72)
