"""The 2012 network in two versions: as the released code trained it, and as the paper's text describes it.

The code: cuda-convnet's layers/layers-145.cfg and layer-params-145.cfg in computerhistory/AlexNet-Source-Code, whose
notes give 40.664 % top-1 and 18.210 % top-5 error, the paper's "1 CNN" (40.7 / 18.2).
The text: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012,
sections 3 to 5.

The two towers, one per GPU, are the two groups of conv2, conv4 and conv5; conv3 and the dense layers read both.
"""

from torch import nn

from alexnet.errors import UsageError
from alexnet.networks.layers import AdaptiveAvgPool2d, Network, gaussian_
from alexnet.ops import LocalResponseNorm

# Channel means of the 2012 training set, from cuda-convnet2's make-data/input_meta; no division by a deviation.
MEAN = (127.30, 119.72, 104.91)
STD = (1.0, 1.0, 1.0)


class Krizhevsky2012(Network):
    """The network that the 2012 code trained. Differences from the paper's text:

    - cuda-convnet rounds output sizes up, with zeros beyond the right and bottom edges: 224 px give 55 x 55 maps.
    - conv1's LRN precedes its ReLU, so that negative values count; the ReLU follows the pool.
    - A second LRN, within each map, follows conv2's LRN.
    - LRN is computed in each tower separately, and alpha is divided by the window.
    - conv3, conv4 and conv5 are initialised with standard deviation .03.

    towers=1 connects every layer to all maps of the previous one (1,135,256,096 multiply-accumulates).
    """

    name = "krizhevsky2012"
    input_size = 224
    mean, std = MEAN, STD

    def __init__(
        self, num_classes: int | None = None, input_size: int | None = None, dropout: float = 0.5, towers: int = 2
    ) -> None:
        super().__init__(num_classes, input_size, dropout)
        if towers not in (1, 2):
            raise UsageError(f"towers={towers}: the network of 2012 has 2, and 1 removes the division")
        self.pad = nn.ZeroPad2d((0, 3, 0, 3))  #                                3 x 227 x 227
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)  #                         96 x  55 x  55
        self.norm1 = LocalResponseNorm(groups=towers)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #              96 x  27 x  27
        self.relu1 = nn.ReLU()

        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=towers)  #       256 x  27 x  27
        self.relu2 = nn.ReLU()
        self.norm2 = LocalResponseNorm(groups=towers)
        # scale 1e-3 in layer-params-145.cfg; k is 1 because layer.cu passes none to the kernel.
        self.mapnorm2 = LocalResponseNorm(alpha=1e-3, k=1.0, within_channel=True)
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #             256 x  13 x  13

        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)  #                     384 x  13 x  13
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=towers)  #      384 x  13 x  13
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=towers)  #      256 x  13 x  13
        self.pool5 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #             256 x   6 x   6
        self.relu5 = nn.ReLU()

        self.avgpool = AdaptiveAvgPool2d(6)  # changes nothing at 224 px
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(dropout)
        self.fc8 = nn.Linear(4096, self.num_classes)

        # initW and initB of layers-145.cfg
        gaussian_(self.conv1, std=0.01, bias=0)
        gaussian_(self.conv2, std=0.01, bias=1)
        gaussian_(self.conv3, std=0.03, bias=0)
        gaussian_(self.conv4, std=0.03, bias=1)
        gaussian_(self.conv5, std=0.03, bias=1)
        gaussian_(self.fc6, std=0.01, bias=1)
        gaussian_(self.fc7, std=0.01, bias=1)
        gaussian_(self.fc8, std=0.01, bias=0)


class Paper(Network):
    """The network of the paper's text, with the 227 px input that its 55 x 55 maps require (it says 224).

    Section 3.3: LRN follows the ReLU, alpha = 1e-4 multiplies the undivided sum of squares, and N is "the total number
    of kernels in the layer", so that windows extend across the towers.
    Section 5: standard deviation .01 everywhere; bias 1 in conv2, conv4, conv5 and the hidden dense layers, else 0.
    """

    name = "paper"
    input_size = 227
    mean, std = MEAN, STD

    def __init__(self, num_classes: int | None = None, input_size: int | None = None, dropout: float = 0.5) -> None:
        super().__init__(num_classes, input_size, dropout)
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)  #                         96 x  55 x  55
        self.relu1 = nn.ReLU()
        self.norm1 = LocalResponseNorm(alpha_over_size=False)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  #              96 x  27 x  27

        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)  #            256 x  27 x  27
        self.relu2 = nn.ReLU()
        self.norm2 = LocalResponseNorm(alpha_over_size=False)
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

        for layer in (self.conv1, self.conv3, self.fc8):
            gaussian_(layer, std=0.01, bias=0)
        for layer in (self.conv2, self.conv4, self.conv5, self.fc6, self.fc7):
            gaussian_(layer, std=0.01, bias=1)
