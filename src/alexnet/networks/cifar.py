"""cuda-convnet's networks for the 32 x 32 pixels of CIFAR-10, on which the paper tested some of its claims.

They are named after their published test errors: `cifar-80sec` (26 % after 80 seconds), `cifar-19pct`, `cifar-18pct`,
`cifar-13pct` and `cifar-11pct`. Source: example-layers/*.cfg in dnouri/cuda-convnet and
computerhistory/AlexNet-Source-Code. Layers are named as in those files, where an activation is called a neuron.

cuda-convnet subtracts the mean image; these networks subtract one mean per channel.
Sizes in comments are for the published input, 32 px, or 24 px for the two networks with locally connected layers.
"""

from collections.abc import Callable, Iterator

from torch import nn

from alexnet.errors import UsageError, unknown_name
from alexnet.networks.layers import AdaptiveAvgPool2d, LocallyConnected2d, Network, gaussian_
from alexnet.ops import LocalResponseNorm

MEAN = (125.31, 122.95, 113.87)  # of the 50,000 training images, RGB
STD = (1.0, 1.0, 1.0)

NEURONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def _between() -> nn.Module:
    """cuda-convnet's cmrnorm with the constants of the 11 % network."""
    return LocalResponseNorm(size=9, alpha=1e-3, k=1.0)


def _within() -> nn.Module:
    """cuda-convnet's rnorm with the constants of the 18 % network."""
    return LocalResponseNorm(size=3, alpha=5e-5, k=1.0, within_channel=True)


NORMS: dict[str, Callable[[int], nn.Module]] = {  # the argument is the number of channels
    "none": lambda channels: nn.Identity(),
    "between": lambda channels: _between(),
    "within": lambda channels: _within(),
    "both": lambda channels: nn.Sequential(_between(), _within()),
    "batch": nn.BatchNorm2d,
}


class CifarNetwork(Network):
    """Base class of cuda-convnet's networks for CIFAR-10.

    Differences of all of them: activation= relu, tanh or sigmoid; norm= none, between (channels), within (a channel),
    both or batch (BatchNorm); pool= 3, overlapping, or 2, without overlap; dropout= before every dense layer.
    """

    input_size = 32
    least_input = 8  # pixels: three pools leave a 1 x 1 map
    resize = 32
    mean, std = MEAN, STD
    default_classes = 10

    def __init__(
        self, num_classes: int | None, input_size: int | None, dropout: float, activation: str, norm: str, pool: int
    ) -> None:
        super().__init__(num_classes, input_size, dropout)
        if activation not in NEURONS:
            raise unknown_name("activation", activation, NEURONS)
        if norm not in NORMS:
            raise unknown_name("norm", norm, NORMS)
        if pool not in (2, 3):
            raise UsageError(f"pool={pool}: windows of 3 px overlap at their stride of 2, and those of 2 do not")

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The stages in order, without the nn.Identity of an omitted normalisation."""
        yield from ((name, stage) for name, stage in super().stages() if not isinstance(stage, nn.Identity))


class ThreeConvolutions(CifarNetwork):
    """The convolutions of the 80-second, 19 % and 18 % networks; subclasses add the dense layers.

    Output sizes are rounded up; a pooling window that exceeds the map averages the values inside the map.
    """

    def __init__(
        self, num_classes: int | None, input_size: int | None, dropout: float, activation: str, norm: str, pool: int
    ) -> None:
        super().__init__(num_classes, input_size, dropout, activation, norm, pool)
        neuron, normalisation = NEURONS[activation], NORMS[norm]
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2)  #             32 x 32 x 32
        self.pool1 = nn.MaxPool2d(pool, stride=2, ceil_mode=True)  # 32 x 16 x 16
        self.neuron1 = neuron()
        self.norm1 = normalisation(32)

        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)  #            32 x 16 x 16
        self.neuron2 = neuron()
        self.pool2 = nn.AvgPool2d(pool, stride=2, ceil_mode=True)  # 32 x  8 x  8
        self.norm2 = normalisation(32)

        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)  #            64 x  8 x  8
        self.neuron3 = neuron()
        self.pool3 = nn.AvgPool2d(pool, stride=2, ceil_mode=True)  # 64 x  4 x  4

        self.avgpool = AdaptiveAvgPool2d(4)  # changes nothing at 32 px
        self.flatten = nn.Flatten()
        gaussian_(self.conv1, std=1e-4, bias=0)
        gaussian_(self.conv2, std=0.01, bias=0)
        gaussian_(self.conv3, std=0.01, bias=0)


class Cifar80Sec(ThreeConvolutions):
    """layers-80sec.cfg: a hidden dense layer of 64 units; 26 % error after 80 seconds on a GPU of 2011."""

    name = "cifar-80sec"

    def __init__(
        self,
        num_classes: int | None = None,
        input_size: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str = "none",
        pool: int = 3,
    ) -> None:
        super().__init__(num_classes, input_size, dropout, activation, norm, pool)
        self.drop64 = nn.Dropout(dropout)
        self.fc64 = nn.Linear(64 * 4 * 4, 64)
        self.neuron64 = NEURONS[activation]()
        self.drop10 = nn.Dropout(dropout)
        self.fc10 = nn.Linear(64, self.num_classes)
        gaussian_(self.fc64, std=0.1, bias=0)
        gaussian_(self.fc10, std=0.1, bias=0)


class Cifar19Pct(ThreeConvolutions):
    """layers-19pct.cfg: no hidden dense layer. With four layers, probably the network of the paper's figure 1."""

    name = "cifar-19pct"

    def __init__(
        self,
        num_classes: int | None = None,
        input_size: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str = "none",
        pool: int = 3,
    ) -> None:
        super().__init__(num_classes, input_size, dropout, activation, norm, pool)
        self.drop10 = nn.Dropout(dropout)
        self.fc10 = nn.Linear(64 * 4 * 4, self.num_classes)
        gaussian_(self.fc10, std=0.01, bias=0)


class Cifar18Pct(Cifar19Pct):
    """layers-18pct.cfg: the 19 % network with within-channel LRN after the first two pools."""

    name = "cifar-18pct"

    def __init__(
        self,
        num_classes: int | None = None,
        input_size: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str = "within",
        pool: int = 3,
    ) -> None:
        super().__init__(num_classes, input_size, dropout, activation, norm, pool)


class Cifar13Pct(CifarNetwork):
    """layers-conv-local-13pct.cfg: two convolutions, then two locally connected layers.

    Trained on random 24 px crops of images and their mirror images. (The 12 % network is the same, trained longer.)
    `norm` places normalisations where the 11 % network has them.
    """

    name = "cifar-13pct"
    input_size = 24
    local3_maps = 32

    def __init__(
        self,
        num_classes: int | None = None,
        input_size: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str = "none",
        pool: int = 3,
    ) -> None:
        super().__init__(num_classes, input_size, dropout, activation, norm, pool)
        neuron, normalisation = NEURONS[activation], NORMS[norm]
        self.conv1 = nn.Conv2d(3, 64, 5, padding=2)  #             64 x 24 x 24
        self.neuron1 = neuron()
        self.pool1 = nn.MaxPool2d(pool, stride=2, ceil_mode=True)  # 64 x 12 x 12
        self.norm1 = normalisation(64)

        self.conv2 = nn.Conv2d(64, 64, 5, padding=2)  #            64 x 12 x 12
        self.neuron2 = neuron()
        self.norm2 = normalisation(64)
        self.pool2 = nn.MaxPool2d(pool, stride=2, ceil_mode=True)  # 64 x  6 x  6

        self.avgpool = AdaptiveAvgPool2d(6)  # changes nothing at 24 px
        self.local3 = LocallyConnected2d(64, self.local3_maps, 3, size=6)
        self.neuron3 = neuron()
        self.local4 = LocallyConnected2d(self.local3_maps, 32, 3, size=6)  # 32 x 6 x 6
        self.neuron4 = neuron()
        self.flatten = nn.Flatten()
        self.drop10 = nn.Dropout(dropout)
        self.fc10 = nn.Linear(32 * 6 * 6, self.num_classes)

        gaussian_(self.conv1, std=1e-4, bias=0)
        gaussian_(self.conv2, std=0.01, bias=0)
        gaussian_(self.local3, std=0.04, bias=0)
        gaussian_(self.local4, std=0.04, bias=0)
        gaussian_(self.fc10, std=0.01, bias=0)


class Cifar11Pct(Cifar13Pct):
    """layers-conv-local-11pct.cfg: LRN across channels, and 64 maps in local3."""

    name = "cifar-11pct"
    local3_maps = 64

    def __init__(
        self,
        num_classes: int | None = None,
        input_size: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str = "between",
        pool: int = 3,
    ) -> None:
        super().__init__(num_classes, input_size, dropout, activation, norm, pool)
