"""The recommended AlexNet: trains from scratch on a thousand photos in minutes.

From AlexNet: five convolutions of 11, 5, 3, 3 and 3, three dense layers, overlapping pools, and two towers in conv2,
conv4 and conv5. New: BatchNorm (Ioffe and Szegedy 2015) instead of LRN, Kaiming initialisation (He et al. 2015), and
global average pooling (Lin et al. 2013), which removes the 38 million weights of fc6 and the fixed input size.
"""

from torch import nn

from alexnet.errors import UsageError
from alexnet.networks.layers import IMAGENET_MEAN, IMAGENET_STD, AdaptiveAvgPool2d, Network, gaussian_


class Modern(Network):
    """width scales the channels of all convolutions, in steps of 16; dropout is halved before the last layer."""

    name = "modern"
    input_size = 192
    resize = 219
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(
        self,
        num_classes: int | None = None,
        input_size: int | None = None,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__(num_classes, input_size, dropout)
        c1, c2, c3, c4, c5 = (_scaled(channels, width) for channels in (96, 256, 384, 384, 256))
        # No bias before BatchNorm, which subtracts the mean. Sizes at 192 px:
        self.conv1 = nn.Conv2d(3, c1, 11, stride=4, padding=5, bias=False)  #        96 x 48 x 48
        self.bn1 = nn.BatchNorm2d(c1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)  #                         96 x 24 x 24

        self.conv2 = nn.Conv2d(c1, c2, 5, padding=2, groups=2, bias=False)  #       256 x 24 x 24
        self.bn2 = nn.BatchNorm2d(c2)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)  #                        256 x 12 x 12

        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1, bias=False)  #                 384 x 12 x 12
        self.bn3 = nn.BatchNorm2d(c3)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=1, groups=2, bias=False)  #       384 x 12 x 12
        self.bn4 = nn.BatchNorm2d(c4)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=1, groups=2, bias=False)  #       256 x 12 x 12
        self.bn5 = nn.BatchNorm2d(c5)
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(3, stride=2, padding=1)  #                        256 x  6 x  6

        self.avgpool = AdaptiveAvgPool2d(1)  #                                      256 x  1 x  1
        self.flatten = nn.Flatten()
        self.drop5 = nn.Dropout(dropout)
        self.fc6 = nn.Linear(c5, 512, bias=False)
        self.bn6 = nn.BatchNorm1d(512)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = nn.Linear(512, 512, bias=False)
        self.bn7 = nn.BatchNorm1d(512)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(dropout / 2)
        self.fc8 = nn.Linear(512, self.num_classes)

        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        for dense in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(dense.weight, mode="fan_in", nonlinearity="relu")
        gaussian_(self.fc8, std=0.01, bias=0)


def _scaled(channels: int, width: float) -> int:
    """channels * width, rounded to a multiple of 16, which two groups and SIMD vectors divide evenly."""
    if not width > 0:
        raise UsageError(f"width={width} leaves no channels; give a number above 0, such as 0.5 or 2")
    return max(1, round(channels * width / 16)) * 16
