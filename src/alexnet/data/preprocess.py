"""From stored uint8 images to a network's input: one object, used by training, evaluation, prediction and export.

N images of S x S pixels in store order (N, H, W, C); networks take (N, C, H, W) in channels-last memory.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.errors import UsageError

VIEWS = (1, 10)


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input. It travels with every weights file.

    An image is brought to a square of `store_size` pixels (shorter side scaled, centre crop), that square to `resize`
    pixels where the two differ, a view of `input_size` pixels is cropped from it, and each channel becomes
    (value - mean) / std.
    """

    input_size: int  # pixels, side of the view that the network sees
    resize: int  # pixels, side of the square that views are cropped from; >= input_size
    mean: tuple[float, float, float]  # RGB, 0..255
    std: tuple[float, float, float]  # RGB, 0..255
    store_size: int = 256  # pixels, side of the stored form

    def __post_init__(self) -> None:
        if self.resize < self.input_size:
            raise UsageError(
                f"resize {self.resize} is smaller than the input size {self.input_size}; take {self.input_size} or more"
            )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain numbers and lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def normalize(self, batch: Tensor) -> Tensor:
        """(N, 3, H, W) of any type, 0..255 -> float32 of the same shape, channels last: (value - mean) / std."""
        mean = torch.tensor(self.mean, device=batch.device).view(1, 3, 1, 1)
        scale = 1 / torch.tensor(self.std, device=batch.device).view(1, 3, 1, 1)
        return (batch.float() - mean).mul_(scale).contiguous(memory_format=torch.channels_last)

    def views(self, batch: Tensor, views: int = 1) -> Tensor:
        """The views of stored images that a network is evaluated on.

        batch: uint8 (N, S, S, 3). Returns float32 (N * views, 3, input_size, input_size), channels last, normalized;
        view v of image n lies at n * views + v. views: 1, the centre; or 10, the four corners and the centre and
        their mirror images (Krizhevsky et al. 2012, section 4.1).
        """
        check_views(views)
        square = resize_square(batch.permute(0, 3, 1, 2), self.resize)
        margin, size = self.resize - self.input_size, self.input_size
        middle = margin // 2
        corners = [(middle, middle)]
        if views == 10:
            corners = [(0, 0), (0, margin), (margin, 0), (margin, margin), *corners]
        crops = [square[:, :, top : top + size, left : left + size] for top, left in corners]
        if views == 10:
            crops += [crop.flip(3) for crop in crops]
        return self.normalize(torch.stack(crops, 1).flatten(0, 1))


def check_views(views: int) -> None:
    """UsageError for a number of views that there is not."""
    if views not in VIEWS:
        raise UsageError(f"views is {views}; take 1 (the centre) or 10 (the paper's)")


def resize_square(batch: Tensor, size: int) -> Tensor:
    """uint8 (N, 3, S, S) -> uint8 (N, 3, size, size): bilinear, antialiased; unchanged where S is `size` already."""
    if batch.shape[-1] == size:
        return batch
    return resize(batch, size)


def resize(batch: Tensor, size: int) -> Tensor:
    """uint8 (N, 3, H, W) -> uint8 (N, 3, size, size), bilinear and antialiased, on any device.

    The processor has a uint8 kernel of its own; other devices compute in float32 and round.
    """
    if batch.device.type == "cpu":
        return F.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    scaled = F.interpolate(batch.float(), size=(size, size), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)
