"""The BatchNorm network of a much copied Keras tutorial, which trains it on 17 kinds of flowers.

It calls itself AlexNet and is a relative: conv2 is 11 x 11, nothing is padded, pools do not overlap, BatchNorm stands
where LRN was, and the layer of 1000 stays as a hidden one before the 17 classes. It is kept exactly as it stands.
"""

from torch import nn

from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, Network

# Keras's BatchNormalization: epsilon 1e-3; momentum .99 is the share that it keeps, torch's the share that it replaces.
EPS, MOMENTUM = 1e-3, 0.01


class Article(Network):
    """Activation, pool, BatchNorm; in dense blocks activation, dropout, BatchNorm.

    Without padding an image of less than 215 px ends in an empty map, so a smaller one is enlarged to 224 first.
    """

    name = "article"
    input_size = 224
    resize = 224
    mean, std = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)  # the loader divides by 255 and subtracts nothing
    default_classes = 17

    def __init__(self, num_classes: int | None = None, input_size: int | None = None, dropout: float = 0.4) -> None:
        super().__init__(num_classes, input_size, dropout)
        self.enlarge = Enlarge(least=215, size=224)  # changes nothing at 224 px
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)  #    96 x 54 x 54
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)  #                   96 x 27 x 27
        self.bn1 = nn.BatchNorm2d(96, EPS, MOMENTUM)

        self.conv2 = nn.Conv2d(96, 256, 11)  #           256 x 17 x 17
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)  #                  256 x  8 x  8
        self.bn2 = nn.BatchNorm2d(256, EPS, MOMENTUM)

        self.conv3 = nn.Conv2d(256, 384, 3)  #           384 x  6 x  6
        self.relu3 = nn.ReLU()
        self.bn3 = nn.BatchNorm2d(384, EPS, MOMENTUM)
        self.conv4 = nn.Conv2d(384, 384, 3)  #           384 x  4 x  4
        self.relu4 = nn.ReLU()
        self.bn4 = nn.BatchNorm2d(384, EPS, MOMENTUM)
        self.conv5 = nn.Conv2d(384, 256, 3)  #           256 x  2 x  2
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(2)  #                  256 x  1 x  1
        self.bn5 = nn.BatchNorm2d(256, EPS, MOMENTUM)

        self.avgpool = AdaptiveAvgPool2d(1)  # changes nothing at 224 px
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256, 4096)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(dropout)
        self.bn6 = nn.BatchNorm1d(4096, EPS, MOMENTUM)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(dropout)
        self.bn7 = nn.BatchNorm1d(4096, EPS, MOMENTUM)
        self.fc8 = nn.Linear(4096, 1000)
        self.relu8 = nn.ReLU()
        self.drop8 = nn.Dropout(dropout)
        self.bn8 = nn.BatchNorm1d(1000, EPS, MOMENTUM)
        self.fc9 = nn.Linear(1000, self.num_classes)

        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                _glorot_(layer)


def _glorot_(layer: nn.Conv2d | nn.Linear) -> None:
    """Keras's default initialisers: glorot_uniform weights, zero biases."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
