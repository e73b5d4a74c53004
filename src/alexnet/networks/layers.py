"""Shared by all networks: base class, exportable pooling, locally connected layer, evaluation mode, initialisers.

N images, C channels, H x W pixels; K classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from alexnet.errors import UsageError
from alexnet.ops.fusion import fused

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""RGB in 0..255, as torchvision's published weights expect."""


class Network(nn.Module):
    """A network as a sequence of named stages.

    A subclass assigns its stages in order in `__init__`. Their names appear in plots, tables and weights files.
    """

    name: str
    """The name that `alexnet.create` takes."""
    input_size: int
    """Default side of the input in pixels; any from `least_input` up works."""
    least_input: int = 63
    """Minimum side of the input in pixels: below 63 the third pool of torchvision's AlexNet has an empty output."""
    resize: int = 256
    """Side in pixels of the resized square from which inputs of `input_size` are cropped."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """RGB in 0..255: the input is (uint8 - mean) / std."""
    default_classes: int = 1000

    def __init__(self, num_classes: int | None, input_size: int | None, dropout: float) -> None:
        """None selects the published value; dropout is the probability of zeroing a unit, 0 <= dropout < 1."""
        super().__init__()
        self.num_classes = self.default_classes if num_classes is None else num_classes
        self.input_size = type(self).input_size if input_size is None else input_size
        if self.num_classes < 1:
            raise UsageError(f"num_classes={num_classes}: a network needs at least 1 class; give their number")
        if self.input_size < self.least_input:
            raise UsageError(self._too_small(f"input_size={input_size}"))
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout={dropout} is no share of units to leave out; give 0 (none) to below 1")

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield (name, stage) in the order of computation."""
        yield from self.named_children()

    def stage_tensors(self) -> dict[str, dict[str, Tensor]]:
        """For each stage with parameters or buffers, in order: its part of the state dict."""
        state = self.state_dict()
        path_of = {id(module): path for path, module in self.named_modules()}
        found = {
            name: {key: value for key, value in state.items() if key.startswith(f"{path_of[id(stage)]}.")}
            for name, stage in self.stages()
        }
        return {name: tensors for name, tensors in found.items() if tensors}

    def forward(self, x: Tensor, return_maps: bool = False) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Float (N, 3, H, W), normalised with `mean` and `std` -> logits (N, K).

        With return_maps also the output of every stage by name: {"conv1": (N, 96, 55, 55), ...}.
        """
        self._check_images(x)
        if not return_maps:
            for step in fused(stage for _, stage in self.stages()):
                x = step(x)
            return x
        maps: dict[str, Tensor] = {}
        for name, stage in self.stages():
            maps[name] = x = stage(x)
        return x, maps

    def _check_images(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != 3:
            raise UsageError(f"images of shape {tuple(x.shape)}: a network takes (N, 3, H, W), RGB")
        if not x.is_floating_point():
            raise UsageError(f"images of {x.dtype}: a network takes floating images; give (images - mean) / std")
        if min(x.shape[2:]) < self.least_input:
            raise UsageError(self._too_small(f"images of {x.shape[2]} x {x.shape[3]} px"))

    def _too_small(self, received: str) -> str:
        return (
            f"{received}: {self.name} halves its input several times and needs at least {self.least_input} px a side; "
            "enlarge it"
        )


class AdaptiveAvgPool2d(nn.Module):
    """Average pooling to `size` x `size` from any input size, with the values of torch's AdaptiveAvgPool2d.

    Computed as two small matrix products, because torch's layer neither exports to ONNX nor runs on Apple GPUs if the
    input size is not a multiple of the output size. To one pixel it is the mean, in float32 and rounded once.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, size, size)."""
        if x.shape[2] == x.shape[3] == self.size:
            return x
        if self.size == 1:
            return x.mean((2, 3), keepdim=True)
        rows, columns = _windows(x.shape[2], self.size, x), _windows(x.shape[3], self.size, x)
        # Divide after summing: 0 and 1 are exact in bfloat16, 1/3 is not.
        return rows @ x @ columns.T / (rows.sum(1)[:, None] * columns.sum(1))

    def extra_repr(self) -> str:
        """The settings, for repr()."""
        return f"size={self.size}"


def _windows(length: int, size: int, like: Tensor) -> Tensor:
    """(size, length), 0 or 1: row i is 1 at floor(i * length / size) ... ceil((i + 1) * length / size) - 1."""
    row = torch.arange(size, device=like.device)[:, None]
    position = torch.arange(length, device=like.device)
    start, end = row * length // size, ((row + 1) * length + size - 1) // size
    return ((position >= start) & (position < end)).to(like.dtype)


class Enlarge(nn.Module):
    """Resize images with a side below `least` to `size` x `size`, bilinear; return others unchanged."""

    def __init__(self, least: int, size: int) -> None:
        super().__init__()
        self.least, self.size = least, size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W) or (N, C, size, size)."""
        if min(x.shape[2:]) >= self.least:
            return x
        return F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        """The settings, for repr()."""
        return f"least={self.least}, size={self.size}"


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Context manager: evaluation mode; restores the mode of every layer on exit."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class LocallyConnected2d(nn.Module):
    """A convolution with unshared weights: every position of the map has its own filters and biases.

    Input and output maps are `size` x `size`; `kernel_size` is odd, with zero padding. The output at row h, column w of
    map o is the sum of window(h, w) * weight[h * size + w, :, o], plus bias[h * size + w, o]: one matrix product per
    position, computed as one batched product.

    weight: (size * size, in_channels * kernel_size², out_channels); bias: (size * size, out_channels).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, size: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.padding, self.size = kernel_size, kernel_size // 2, size
        places = size * size
        self.weight = nn.Parameter(torch.empty(places, in_channels * kernel_size**2, out_channels))
        self.bias = nn.Parameter(torch.zeros(places, out_channels))
        nn.init.normal_(self.weight, std=(in_channels * kernel_size**2) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, size, size) -> (N, out_channels, size, size)."""
        windows = F.unfold(x, self.kernel_size, padding=self.padding)  # (N, in * k * k, places)
        products = torch.bmm(windows.permute(2, 0, 1), self.weight) + self.bias[:, None]  # (places, N, out)
        return products.permute(1, 2, 0).view(x.shape[0], self.out_channels, self.size, self.size).to(x.dtype)

    def extra_repr(self) -> str:
        """The settings, for repr()."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, size={self.size}"


def gaussian_(layer: nn.Conv2d | nn.Linear | LocallyConnected2d, std: float, bias: float) -> None:
    """Initialise a layer as in 2012: weights from N(0, std²), a constant bias."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


DRAWING = (Tensor.normal_, Tensor.uniform_)  # which some of `torch.nn.init` call without being skipped themselves


class skip_init(TorchFunctionMode):  # noqa: N801 - a context manager, as torch.no_grad is
    """Skip weight initialisation, for shape inspection: a context manager.

    Memory of the weights is allocated and not written. The meta device allocates none, but its first operator imports
    torch's compiler, which takes seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Skip the functions of `torch.nn.init`, and drawing numbers into a tensor; call all others."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init" or func in DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
