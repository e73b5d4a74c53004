"""The BatchNorm network of a widely copied Keras tutorial, which trains it on the 17 flowers.

The tutorial calls it AlexNet, but conv2 is 11 x 11, no layer is padded, pools do not overlap, BatchNorm replaces LRN,
and the layer of 1000 units remains as a hidden layer before the 17 classes. It is reproduced exactly; a difference
corrects each of these deviations, to measure its effect.
"""

from torch import nn

from alexnet.errors import UsageError
from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, Network

EPS = 1e-3  # the default of Keras's BatchNormalization


class Article(Network):
    """Activation, pool, BatchNorm; in dense blocks activation, dropout, BatchNorm.

    Without padding, images of less than 215 px end in an empty map, so that smaller ones are first enlarged to 224.
    Differences: padding: conv2 to conv5 preserve the map size; conv2: the side of its kernel, 11 or 5; pool: 2, or 3
    with overlap (and padding 1, because the last map would be empty otherwise); hidden: units of the layer before the
    classes, 0 for none; hidden_relu: whether it has a ReLU; memory: the momentum of BatchNorm's running statistics as
    Keras defines it (.99 needs hundreds of steps).
    """

    name = "article"
    input_size = 224
    resize = 224
    mean, std = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)  # the tutorial divides by 255 and does not subtract a mean
    default_classes = 17

    def __init__(
        self,
        num_classes: int | None = None,
        input_size: int | None = None,
        dropout: float = 0.4,
        padding: bool = False,
        conv2: int = 11,
        pool: int = 2,
        hidden: int = 1000,
        hidden_relu: bool = True,
        memory: float = 0.99,
    ) -> None:
        super().__init__(num_classes, input_size, dropout)
        _check(conv2, pool, hidden, memory)
        pad1, pad2, norm = (1 if padding else 0), (conv2 // 2 if padding else 0), (EPS, round(1 - memory, 12))
        pools, side = (pool, 2, pool - 2), _last_side(padding, conv2, pool)
        self.enlarge = Enlarge(least=215, size=224)  # changes nothing at 224 px
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)  #       96 x 54 x 54, all as published
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(*pools)  #                 96 x 27 x 27
        self.bn1 = nn.BatchNorm2d(96, *norm)

        self.conv2 = nn.Conv2d(96, 256, conv2, padding=pad2)  # 256 x 17 x 17
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(*pools)  #                256 x  8 x  8
        self.bn2 = nn.BatchNorm2d(256, *norm)

        self.conv3 = nn.Conv2d(256, 384, 3, padding=pad1)  # 384 x  6 x  6
        self.relu3 = nn.ReLU()
        self.bn3 = nn.BatchNorm2d(384, *norm)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=pad1)  # 384 x  4 x  4
        self.relu4 = nn.ReLU()
        self.bn4 = nn.BatchNorm2d(384, *norm)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=pad1)  # 256 x  2 x  2
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(*pools)  #                256 x  1 x  1
        self.bn5 = nn.BatchNorm2d(256, *norm)

        self.avgpool = AdaptiveAvgPool2d(side)  # changes nothing at 224 px
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256 * side * side, 4096)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(dropout)
        self.bn6 = nn.BatchNorm1d(4096, *norm)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(dropout)
        self.bn7 = nn.BatchNorm1d(4096, *norm)
        if hidden:
            self.fc8 = nn.Linear(4096, hidden)
            if hidden_relu:
                self.relu8 = nn.ReLU()
            self.drop8 = nn.Dropout(dropout)
            self.bn8 = nn.BatchNorm1d(hidden, *norm)
        self.fc9 = nn.Linear(hidden or 4096, self.num_classes)

        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                _glorot_(layer)


def _glorot_(layer: nn.Conv2d | nn.Linear) -> None:
    """Keras's default initialisers: glorot_uniform weights, zero biases."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _last_side(padding: bool, conv2: int, pool: int) -> int:
    """Side of the last pooled map at 224 px."""

    def pooled(side: int) -> int:
        return side // 2 if pool == 2 else (side - 1) // 2 + 1

    side = pooled(54)
    side = pooled(side if padding else side - conv2 + 1)
    return pooled(side if padding else side - 3 * 2)


def _check(conv2: int, pool: int, hidden: int, memory: float) -> None:
    if conv2 not in (5, 11):
        raise UsageError(f"conv2={conv2}: the article's kernel has 11 pixels a side, that of 2012 has 5")
    if pool not in (2, 3):
        raise UsageError(f"pool={pool}: the article's pools have 2 pixels a side, those of 2012 have 3")
    if hidden < 0:
        raise UsageError(f"hidden={hidden}: the article's hidden layer has 1000 units; 0 leaves it out")
    if not 0 <= memory < 1:
        raise UsageError(f"memory={memory}: BatchNorm keeps a share from 0 to below 1, in Keras 0.99")
