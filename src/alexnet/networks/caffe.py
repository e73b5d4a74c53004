"""Caffe's two replications: BVLC AlexNet and CaffeNet (BVLC/caffe, models/bvlc_alexnet and bvlc_reference_caffenet).

BVLC AlexNet is the source of the often quoted 57.1 % top-1 and 80.2 % top-5; CaffeNet reached 57.4 / 80.4 (centre crop,
ImageNet 2012 validation; their readme.md files). Layers are named as in train_val.prototxt.
"""

from collections.abc import Iterator

from torch import nn

from alexnet.networks.layers import AdaptiveAvgPool2d, Network, gaussian_
from alexnet.ops import LocalResponseNorm


class BVLC(Network):
    """BVLC AlexNet: conv, ReLU, LRN, pool. LRN has k=1, divides alpha by the window, and extends across groups."""

    name = "bvlc"
    input_size = 227
    # Channel means of ilsvrc_2012_mean.npy, which is in BGR. Published Caffe weights expect BGR input, too.
    mean = (122.67891, 116.66877, 104.00699)
    std = (1.0, 1.0, 1.0)
    hidden_bias = 0.1  # readme.md: with 1, as in 2012, the loss did not decrease

    def __init__(self, num_classes: int | None = None, input_size: int | None = None, dropout: float = 0.5) -> None:
        super().__init__(num_classes, input_size, dropout)
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)  #                         96 x  55 x  55
        self.relu1 = nn.ReLU()
        self.norm1 = LocalResponseNorm(k=1.0)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #              96 x  27 x  27

        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)  #            256 x  27 x  27
        self.relu2 = nn.ReLU()
        self.norm2 = LocalResponseNorm(k=1.0)
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #             256 x  13 x  13

        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)  #                     384 x  13 x  13
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)  #           384 x  13 x  13
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)  #           256 x  13 x  13
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #             256 x   6 x   6

        self.avgpool = AdaptiveAvgPool2d(6)  # changes nothing at 227 px
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(dropout)
        self.fc8 = nn.Linear(4096, self.num_classes)

        # The fillers of train_val.prototxt
        for layer in (self.conv1, self.conv3, self.fc8):
            gaussian_(layer, std=0.01, bias=0)
        for layer in (self.conv2, self.conv4, self.conv5):
            gaussian_(layer, std=0.01, bias=self.hidden_bias)
        for layer in (self.fc6, self.fc7):
            gaussian_(layer, std=0.005, bias=self.hidden_bias)


class CaffeNet(BVLC):
    """CaffeNet: BVLC AlexNet with the first two pools before their LRN, and hidden biases initialised to 1."""

    name = "caffenet"
    hidden_bias = 1.0

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The stages of BVLC AlexNet in CaffeNet's order."""
        rest = dict(super().stages())
        for name in ("conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"):
            yield name, rest.pop(name)
        yield from rest.items()
