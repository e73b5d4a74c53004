"""Perceptual distance: how different two images look to a network (LPIPS).

Zhang, Isola, Efros, Shechtman, Wang 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
arXiv 1801.03924, equation 1: d(a, b) = sum over layers l of the mean over places of w_l . (u_l(a) - u_l(b))², where
u_l are the maps of layer l divided, place by place, by their length over the channels. The layers are the first five
activations of an AlexNet; w_l are learned channel weights, or 1.

N images of H x W pixels, C channels.
"""

import copy
import logging
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.data.images import Pixels
from alexnet.errors import Diverged, UsageError, WeightsError
from alexnet.inference.classifier import Classifier, load
from alexnet.inference.inputs import ImageInputs, each_image, pixels_of
from alexnet.networks.layers import Network
from alexnet.ops.fusion import outputs_of
from alexnet.ops.packed import packed, takes
from alexnet.weights.linear import read as read_linear
from alexnet.weights.pretrained import OWN

Model: TypeAlias = Classifier | Network | str | os.PathLike[str]
Linear: TypeAlias = str | os.PathLike[str] | Sequence[Tensor] | None

LAYERS = 5
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid)
SMALLEST = 1e-10  # added to lengths, as in lpips, so that a place without any activation is 0 and not 0 / 0

logger = logging.getLogger(__name__)


class PerceptualDistance(nn.Module):
    """The distance as a module, for many pairs or as a loss: (a, b) -> float32 (N,), differentiable in both.

    It holds a copy of the network's convolutions in evaluation mode, whose weights get no gradients. Everything is
    computed in float32, without resizing: the same image at another size has another distance.
    """

    mean: Tensor  # of the network's input, 0..1, (3, 1, 1)
    std: Tensor

    def __init__(self, model: Model = OWN, linear: Linear = None, device: str | torch.device = "auto") -> None:
        """model: a Classifier, a network of `alexnet.create`, a run's folder or a .safetensors file.

        linear: the learned channel weights, as a file of lpips (alex.pth), a converted one, or a (C,) tensor a layer;
        None: each channel counts 1, which is logged. device: where to compute, for a path; else that of the model.
        UsageError or WeightsError for a model that has no maps, and for weights of other channels.
        """
        super().__init__()
        if isinstance(model, (str, os.PathLike)):
            model = load(model, device)
        network, mean, std = _parts(model)
        stages = list(network.stages())
        self.network_name, self.layers = network.name, map_layers(network)
        self._names = [name for name, _ in stages[: 1 + [name for name, _ in stages].index(self.layers[-1])]]
        self._stages = nn.ModuleList(copy.deepcopy(stage) for _, stage in stages[: len(self._names)])
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) / 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) / 255, persistent=False)
        place = next(network.parameters()).device
        self.weighted = linear is not None
        for layer, weights in enumerate([] if linear is None else self._fitting(linear)):
            self.register_buffer(f"weights{layer}", weights, persistent=False)
        self.to(place, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.eval()
        if not all(each.isfinite().all() for each in self.parameters()):
            raise Diverged(f"network {network.name!r} has weights that are not finite; take another, or train it anew")
        self._pack()
        self._tell()

    def _pack(self) -> None:
        """The stages as they are computed where no gradients are asked for, on a processor."""
        self._packed = list(packed(zip(self._names, self._stages, strict=True)))

    def __getstate__(self) -> dict[str, Any]:
        """Without packed weights, which can be neither copied nor pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy packs its own weights."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._pack()

    def train(self, mode: bool = True) -> "PerceptualDistance":
        """Stay in evaluation mode, whatever the module is part of."""
        return super().train(False)

    def forward(self, a: Tensor, b: Tensor, value_range: tuple[float, float] | None = None) -> Tensor:
        """Images -> the distance of each pair, float32 (N,), at least 0, and 0 for equal images.

        a, b: uint8 0..255 or floating 0..1 (N, 3, H, W) or (3, H, W), RGB, of one shape. value_range: the values of
        black and white in floating images, such as (-1, 1), which is what lpips takes; values beyond it are then
        allowed. UsageError for other shapes, values outside of 0..1 where no range is given, and images too small.
        """
        distances: list[Tensor] = [each.mean((1, 2)) for each in self._differences(a, b, value_range)]
        return torch.stack(distances).sum(0)

    def maps(self, a: Tensor, b: Tensor, value_range: tuple[float, float] | None = None) -> Tensor:
        """Where the images of each pair differ: float32 (N, H, W), the layers' differences enlarged and summed.

        Enlarged bilinearly, as lpips does with spatial=True. Arguments and errors as for `forward`.
        """
        size = a.shape[-2:]
        enlarged = [
            F.interpolate(each[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
            for each in self._differences(a, b, value_range)
        ]
        return torch.stack(enlarged).sum(0)

    def _differences(self, a: Tensor, b: Tensor, value_range: tuple[float, float] | None) -> Iterator[Tensor]:
        """For each layer the weighted squared differences of its unit-length maps, float32 (N, h, w)."""
        batch = self._batch(a, b, value_range)
        count = len(batch) // 2
        stages = self._packed if takes(batch) else zip(self._names, self._stages, strict=True)
        try:
            for place, (_, maps) in enumerate(outputs_of(stages, self.layers, batch)):
                weights = getattr(self, f"weights{place}") if self.weighted else None
                yield _difference(maps[:count], maps[count:], weights)
        except (RuntimeError, ValueError) as error:  # of a pool or convolution without output, or something else
            if min(batch.shape[2:]) >= 63:
                raise
            raise UsageError(
                f"images of {batch.shape[2]} x {batch.shape[3]} px are too small for {self.network_name}; enlarge both"
            ) from error

    def _batch(self, a: Tensor, b: Tensor, value_range: tuple[float, float] | None) -> Tensor:
        """Both sets of images as network input: normalised float32 (2 N, 3, H, W), channels last."""
        for name, images in (("a", a), ("b", b)):
            _check(name, images, value_range)
        if a.shape != b.shape:
            raise UsageError(f"a is of shape {tuple(a.shape)}, b of {tuple(b.shape)}; give two of the same size")
        pair = [_unit_range(each, value_range).to(self.mean.device) for each in (a, b)]
        batch = torch.cat([each.reshape(-1, *each.shape[-3:]) for each in pair])
        return ((batch - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def _fitting(self, linear: Linear) -> list[Tensor]:
        """Channel weights, one vector a layer, copied. WeightsError where they are for other channels."""
        given = read_linear(linear) if isinstance(linear, (str, os.PathLike)) else list(linear or ())
        wanted = channels_of(self._names, self._stages, self.layers)
        found = [each.numel() for each in given]
        if found != wanted:
            raise WeightsError(
                f"the channel weights are for maps of {_listed(found)} channels, {self.network_name} has "
                f"{_listed(wanted)}; lpips' alex.pth fits one_weird_trick"
            )
        return [each.detach().flatten().float().clone() for each in given]

    def _tell(self) -> None:
        if len(self.layers) < LAYERS:
            logger.info(
                "%s has %d maps after activations, not five: %s",
                *(self.network_name, len(self.layers), ", ".join(self.layers)),
            )
        if not self.weighted:
            logger.info("no learned channel weights are given: every channel counts 1, so this is not LPIPS itself")


def perceptual_distance(
    a: ImageInputs | Tensor,
    b: ImageInputs | Tensor,
    model: Model | PerceptualDistance = OWN,
    linear: Linear = None,
    value_range: tuple[float, float] | None = None,
) -> Tensor:
    """How different images look to a network, float32 (N,): LPIPS where `linear` has its learned channel weights.

    a, b: as many images each: tensors as `PerceptualDistance.forward` takes them, with gradients where they require
    some; or paths, open files, Pillow images and uint8 arrays, one or many, each pair of one size. model, linear: as
    for `PerceptualDistance`; or such a module itself, for many calls. Raises ImageError for a file that cannot be read,
    UsageError for sizes or numbers that differ, Diverged for a network that gives values that are not finite.
    """
    if isinstance(model, PerceptualDistance) and linear is not None:
        raise UsageError("linear is given beside a PerceptualDistance, which has its own; give it when that is made")
    module = model if isinstance(model, PerceptualDistance) else PerceptualDistance(model, linear)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        found: Tensor = module(a, b, value_range)
    else:
        found = torch.cat([module(*pair) for pair in _pairs(a, b)] or [torch.zeros(0)])
    if not found.isfinite().all():
        raise Diverged(
            f"network {module.network_name!r} gave values that are not finite; its weights may have diverged"
        )
    return found


def map_layers(network: Network) -> list[str]:
    """The first five activations that give maps, by name. UsageError for a network without any."""
    found = []
    for name, stage in network.stages():
        if isinstance(stage, nn.Flatten | nn.Linear):
            break
        if isinstance(stage, ACTIVATIONS):
            found.append(name)
    if not found:
        raise UsageError(f"network {network.name!r} has no maps after activations; take another")
    return found[:LAYERS]


def channels_of(names: Sequence[str], stages: Sequence[nn.Module] | nn.ModuleList, layers: Sequence[str]) -> list[int]:
    """For each of `layers` the channels of its maps: those of the last layer before it that sets their number."""
    found, channels = {}, 3
    for name, stage in zip(names, stages, strict=True):
        channels = getattr(stage, "out_channels", channels)
        found[name] = channels
    return [found[name] for name in layers]


def pixels_tensor(image: Pixels) -> Tensor:
    """uint8 (H, W, 3) -> uint8 (3, H, W)."""
    return torch.from_numpy(image).permute(2, 0, 1)


def _pairs(a: ImageInputs, b: ImageInputs) -> Iterator[tuple[Tensor, Tensor]]:
    """The images of both sides, decoded, in turn."""
    ones, others = list(each_image(a)), list(each_image(b))
    if len(ones) != len(others):
        raise UsageError(f"a has {len(ones)} images, b {len(others)}; give as many")
    for one, other in zip(ones, others, strict=True):
        yield pixels_tensor(pixels_of(one)), pixels_tensor(pixels_of(other))


def _parts(model: object) -> tuple[Network, Sequence[float], Sequence[float]]:
    """The network, and the mean and deviation (RGB, 0..255) of its input."""
    if isinstance(model, Classifier):
        return model.network, model.preprocessing.mean, model.preprocessing.std
    if isinstance(model, Network):
        return model, model.mean, model.std
    kind = type(model).__name__
    raise UsageError(f"model is of type {kind}; give a Classifier, a network, a run's folder or a .safetensors file")


def _difference(one: Tensor, other: Tensor, weights: Tensor | None) -> Tensor:
    """Maps (N, C, h, w) of both images, weights (C,) -> float32 (N, h, w)."""
    squares = (_unit_length(one) - _unit_length(other)).square()
    return squares.sum(1) if weights is None else squares.permute(0, 2, 3, 1) @ weights


def _unit_length(maps: Tensor) -> Tensor:
    """Each place divided by its length over the channels, NaN where that overflows.

    The gradient at a length of 0 is 0, not NaN as that of a root.
    """
    length = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    unit: Tensor = maps / (length + (length - length) + SMALLEST)
    return unit


def _check(name: str, images: object, value_range: tuple[float, float] | None) -> None:
    """UsageError for what are no images, and for values that leave open what is black and white."""
    accepted = "a tensor (N, 3, H, W) or (3, H, W), RGB: uint8, or floating 0..1"
    if not isinstance(images, Tensor):
        raise UsageError(f"{name} is of type {type(images).__name__}; give {accepted}")
    if images.ndim not in (3, 4) or images.shape[-3] != 3 or 0 in images.shape:
        raise UsageError(f"{name} is of shape {tuple(images.shape)}; give {accepted}")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise UsageError(f"{name} is of {images.dtype}; give {accepted}")
    low, high = (float(each) for each in images.detach().aminmax())
    if not math.isfinite(low + high):
        raise UsageError(f"{name} has values {low:.3g} to {high:.3g}, which are not finite; give {accepted}")
    if value_range is None:
        if low < 0 or high > 1:
            raise UsageError(f"{name} has values {low:.3g} to {high:.3g}, not 0 to 1; scale it, or give value_range")
    elif not value_range[0] < value_range[1]:
        raise UsageError(f"value_range is {value_range}; give two numbers, black's below white's, such as (-1, 1)")


def _unit_range(images: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    """float32 with black at 0 and white at 1."""
    if images.dtype == torch.uint8:
        return images.float() / 255
    low, high = value_range or (0.0, 1.0)
    return images.float() if (low, high) == (0, 1) else (images.float() - low) / (high - low)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "no"
