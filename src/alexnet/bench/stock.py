"""Baseline: the same networks in stock PyTorch, without our operators.

Three configurations: eager float32; eager with bfloat16 autocast and channels-last memory; torch.compile of the latter.
Eager LRN runs in float32, because avg_pool3d, which torch's LRN uses, has no bfloat16 kernel on CPUs. Compiled LRN is
written in tensor operations, which the compiler fuses.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from alexnet.bench.measure import Contender
from alexnet.bench.worker import Work, repeated
from alexnet.data.store import open_store
from alexnet.device import PRECISIONS, autocast
from alexnet.networks import create
from alexnet.networks.layers import AdaptiveAvgPool2d, Network
from alexnet.ops import LocalResponseNorm, reference

OFF = {"ALEXNET_NATIVE": "off"}
EAGER, HALF, COMPILED = "stock eager, float32", "stock eager, bfloat16 channels-last", "torch.compile, bfloat16"
CONFIGURATIONS = {  # name: settings of `prepared`
    EAGER: {"precision": "float32", "compiled": False},
    HALF: {"precision": "bfloat16", "compiled": False},
    COMPILED: {"precision": "bfloat16", "compiled": True},
}


def contender(function: str, configuration: str, settings: dict[str, object], title: str = "") -> Contender:
    """The contender of builder `function` of this file. title: prefix of its name."""
    chosen = {**settings, **CONFIGURATIONS[configuration]}
    return Contender(title + configuration, f"{__name__}:{function}", chosen, ours=False, environment=OFF)


class EagerNorm(nn.Module):
    """nn.LocalResponseNorm per group, in float32; LRN within a map, which torch lacks, by average pooling."""

    def __init__(self, norm: LocalResponseNorm) -> None:
        super().__init__()
        alpha = norm.alpha if norm.alpha_over_size else norm.alpha * norm.size  # torch always divides by it
        self.within = norm.within_channel
        self.norm = nn.LocalResponseNorm(norm.size, alpha, norm.beta, norm.k)
        self.groups = norm.groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        a = x.float()
        if self.within:
            energy = F.avg_pool2d(a * a, self.norm.size, stride=1, padding=self.norm.size // 2)
            return (a / (self.norm.k + self.norm.alpha * energy) ** self.norm.beta).to(x.dtype)
        if self.groups == 1:
            normed: Tensor = self.norm(a)
            return normed.to(x.dtype)
        return torch.cat([self.norm(block) for block in a.chunk(self.groups, dim=1)], dim=1).to(x.dtype)


class WrittenNorm(nn.Module):
    """LRN in tensor operations, as the formula in `alexnet.ops.reference.lrn`."""

    def __init__(self, norm: LocalResponseNorm) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = norm.size, norm.alpha_per_square, norm.beta, norm.k
        self.within, self.groups = norm.within_channel, norm.groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        blocks = x.chunk(self.groups, dim=1)
        normed = [reference.lrn(block, self.size, self.alpha, self.beta, self.k, self.within) for block in blocks]
        return torch.cat(normed, dim=1)


def plain(stages: Iterable[tuple[str, nn.Module]], compiled: bool = False) -> nn.Sequential:
    """The stages of a network with our operators replaced by torch's layers."""
    return nn.Sequential(OrderedDict((name, _stock(stage, compiled)) for name, stage in stages))


def _stock(stage: nn.Module, compiled: bool) -> nn.Module:
    if isinstance(stage, LocalResponseNorm):
        return WrittenNorm(stage) if compiled else EagerNorm(stage)
    return nn.AdaptiveAvgPool2d(stage.size) if isinstance(stage, AdaptiveAvgPool2d) else stage


def prepared(network: Network, precision: str, compiled: bool, device: str) -> Callable[[Tensor], Tensor]:
    """The network in one configuration, a function of float32 images (N, 3, H, W) to float32 logits (N, K)."""
    dtype, place = PRECISIONS[precision], torch.device(device)
    layers: nn.Module = plain(network.stages(), compiled).train(network.training).to(place)
    if dtype == torch.bfloat16:
        layers = layers.to(memory_format=torch.channels_last)
    run = torch.compile(layers) if compiled else layers

    def logits(images: Tensor) -> Tensor:
        with autocast(place, dtype):
            answer: Tensor = run(images)
        return answer.float()

    return logits


def train_step(
    network: str,
    classes: int,
    batch_size: int,
    precision: str,
    compiled: bool,
    seconds: float,
    device: str,
    optimizer: str = "sgd",
) -> Work:
    """Training steps on one random batch. optimizer: "sgd" with momentum and weight decay, or "adam". Unit: image."""
    torch.manual_seed(0)
    net = create(network, classes).to(device)
    logits = prepared(net, precision, compiled, device)
    images = torch.randn(batch_size, 3, net.input_size, net.input_size, device=device)
    if precision == "bfloat16":
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch_size,), device=device)
    update = _optimizer(optimizer, net)

    def step() -> None:
        update.zero_grad(set_to_none=True)
        F.cross_entropy(logits(images), labels).backward()  # type: ignore[no-untyped-call]
        update.step()

    return repeated(step, batch_size, seconds, device)


def _optimizer(name: str, network: nn.Module) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(network.parameters(), lr=1e-4)
    return torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)


def stages(
    network: str, layers: list[str], shape: list[int], precision: str, compiled: bool, seconds: float, device: str
) -> Work:
    """Forward and backward through some layers, input `shape` (N, C, H, W). Unit: one pass."""
    with torch.device("meta"):  # no memory for the weights: these layers have none
        found = dict(create(network).stages())
    run = plain(((name, found[name]) for name in layers), compiled)
    x = torch.randn(*shape, device=device, dtype=PRECISIONS[precision], requires_grad=True)
    dy = torch.ones_like(run(x))

    def both() -> None:
        x.grad = None
        run(x).backward(dy)

    return repeated(both, 1, seconds, device)


def evaluate(
    network: str, store: str, batch_size: int, precision: str, compiled: bool, seconds: float, device: str
) -> Work:
    """Class probabilities of the centre view of every image in a store. Unit: image."""
    packed = open_store(store, verify=False)
    net = create(network, len(packed.class_names)).eval()
    logits = prepared(net, precision, compiled, device)
    rows = np.arange(len(packed))

    @torch.inference_mode()
    def every() -> None:
        for start in range(0, len(rows), batch_size):
            images = torch.from_numpy(packed.images(rows[start : start + batch_size])).to(device)
            logits(centre(net, images)).softmax(1).cpu()

    return repeated(every, len(packed), seconds, device)


def predict(
    network: str, precision: str, compiled: bool, seconds: float, device: str, photo: list[int] | None = None
) -> Work:
    """Top-5 classes of one image. photo: its (height, width); None: the network alone. Unit: image."""
    net = create(network).eval()
    logits = prepared(net, precision, compiled, device)
    image = np.zeros((*(photo or (1, 1)), 3), np.uint8)
    ready = torch.zeros(1, 3, net.input_size, net.input_size, device=device)

    @torch.inference_mode()
    def one() -> None:
        view = centre(net, shrunk(image, net.resize).to(device)) if photo else ready
        logits(view).softmax(1).topk(5)[1].tolist()

    return repeated(one, 1, seconds, device)


def shrunk(image: NDArray[np.uint8], side: int) -> Tensor:
    """Resize with Pillow so that the shorter side is `side`: uint8 (H, W, 3) -> uint8 (1, h, w, 3)."""
    scale = side / min(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return torch.from_numpy(np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)))[None]


def centre(network: Network, images: Tensor) -> Tensor:
    """Centre crop and normalise: uint8 (N, H, W, 3) -> float32 (N, 3, S, S)."""
    top, left = ((side - network.input_size) // 2 for side in images.shape[1:3])
    view = images[:, top : top + network.input_size, left : left + network.input_size].permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(each, device=images.device).view(1, 3, 1, 1) for each in (network.mean, network.std))
    return (view - mean) / std
