"""torchvision's AlexNet: the single tower of "One weird trick for parallelizing convolutional neural networks".

Krizhevsky 2014, arXiv 1404.5997; torchvision/models/alexnet.py. No groups, no LRN; dropout precedes the two hidden
dense layers, so that it also applies to pool5. The published weights reach 56.522 % top-1, 79.066 % top-5.
"""

from collections.abc import Iterator

from torch import nn

from alexnet.networks.layers import IMAGENET_MEAN, IMAGENET_STD, AdaptiveAvgPool2d, Network

FEATURES = (
    *("conv1", "relu1", "pool1"),
    *("conv2", "relu2", "pool2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"),
)
CLASSIFIER = ("drop6", "fc6", "relu6", "drop7", "fc7", "relu7", "fc8")


class OneWeirdTrick(Network):
    """Parameters have torchvision's names (features.0.weight, ...), so that its state dict loads strictly.

    Initialised as in torchvision, by the defaults of torch's layers.
    """

    name = "one_weird_trick"
    input_size = 224
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, num_classes: int | None = None, input_size: int | None = None, dropout: float = 0.5) -> None:
        super().__init__(num_classes, input_size, dropout)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),  #    64 x  55 x  55
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  #                    64 x  27 x  27
            nn.Conv2d(64, 192, 5, padding=2),  #            192 x  27 x  27
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  #                   192 x  13 x  13
            nn.Conv2d(192, 384, 3, padding=1),  #           384 x  13 x  13
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),  #           256 x  13 x  13
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),  #           256 x  13 x  13
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  #                   256 x   6 x   6
        )
        self.avgpool = AdaptiveAvgPool2d(6)  # changes nothing at 224 px
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, self.num_classes),
        )

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The layers one by one, named as in the other networks."""
        yield from zip(FEATURES, self.features, strict=True)
        yield "avgpool", self.avgpool
        yield "flatten", self.flatten
        yield from zip(CLASSIFIER, self.classifier, strict=True)
