"""Preprocessing: stored uint8 images to network input, shared by training, evaluation, prediction and export.

N images of S x S pixels, stored as (N, H, W, C); networks take (N, C, H, W) in channels-last memory.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from alexnet.data.form import Form
from alexnet.data.images import ImageSource, ValueRange
from alexnet.data.places import mirrored, places
from alexnet.errors import UsageError, WeightsError
from alexnet.ops.views import ColorMap, Images, Windows, render

LARGEST = 2**14  # pixels of a side: beyond any network's, and no more memory than a machine has


@dataclass(frozen=True)
class Preprocessing:
    """The steps from an image to a network's input; part of every weights file.

    The image becomes `store_size` x `store_size` pixels by `fit`, `value_range` and `exact`
    (`alexnet.data.form`), is resized to `resize` x `resize`, a view of `input_size` x `input_size` is cropped, and each
    channel is normalized to (value - mean) / std.
    """

    input_size: int  # side of the network's input, pixels
    resize: int  # side of the square that views are cropped from, pixels; >= input_size
    mean: tuple[float, float, float]  # RGB, 0..255
    std: tuple[float, float, float]  # RGB, 0..255
    store_size: int = 256  # side of the stored form, pixels
    fit: str = "crop"  # how an image that is not square becomes the stored form
    value_range: ValueRange | None = None  # file values that become 0 and 255; None: by the file's format
    exact: bool = False  # whether large JPEG files are decoded whole

    @property
    def form(self) -> Form:
        """The steps from a file to the stored form; UsageError for an unknown fit or an empty range."""
        return Form(self.store_size, self.fit, self.value_range, self.exact)

    def __post_init__(self) -> None:
        _ = self.form
        if self.resize < self.input_size:
            raise UsageError(
                f"resize {self.resize} is smaller than the input size {self.input_size}; take {self.input_size} or more"
            )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of numbers and lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`; older cards lack `fit`, `value_range` or `exact` and mean the defaults.

        WeightsError for what is none: the values come from files that others made.
        """
        try:
            given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
            found = cls(**given)
            _check(found)
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(
                f"the card's preprocessing is damaged ({str(error)[:200]}); take a fresh copy"
            ) from error
        return found

    def __call__(self, image: ImageSource) -> Tensor:
        """One image as a network's input: float32 (1, 3, input_size, input_size), the centre view.

        image: a path, the bytes of a file, a Pillow image or a uint8 array (H, W, 3) or (H, W). ImageError if it
        cannot be read.
        """
        return self.views([self.form.read(image)])

    def views(
        self,
        images: Images,
        views: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """The evaluation views of stored images.

        images: N of uint8 (S, S, 3). views: 1, 9 or 10 (`alexnet.data.places`). device: None for that of the images.

        Returns `dtype` (N * views, 3, input_size, input_size), channels last, normalized; view v of image n at index
        n * views + v.
        """
        shown, colors = _drawn(self, len(images[0]), len(images), views)
        repeated = images if views == 1 else [image for image in images for _ in range(views)]
        return render(repeated, shown, colors, self.input_size, dtype, device)


@lru_cache(maxsize=8)  # one image after another is drawn alike; making these takes as long as drawing a small image
def _drawn(how: Preprocessing, side: int, count: int, views: int) -> tuple[Windows, ColorMap]:
    """What `render` is told of all views of `count` images of `side` pixels."""
    with torch.inference_mode(mode=False):  # whoever asks first
        tops, lefts = zip(*places(views, how.resize, how.input_size) * count, strict=True)
        shown = squares(side, tops, lefts, how.resize, how.input_size)
        flips = torch.tensor(mirrored(views) * count)
        return replace(shown, mirrored=flips), ColorMap.identity(len(tops)).normalized(how.mean, how.std)


def squares(side: int, tops: Sequence[int], lefts: Sequence[int], resized: int, size: int) -> Windows:
    """Windows of `size` pixels in images resized from `side` to `resized` pixels.

    tops, lefts: N offsets in the resized images.
    """
    scale = side / resized
    return Windows.square([scale * top for top in tops], [scale * left for left in lefts], scale * size)


def _check(form: Preprocessing) -> None:
    """ValueError for sides and colours that no image has."""
    for name in ("input_size", "resize", "store_size"):
        side = getattr(form, name)
        if not isinstance(side, int) or not 0 < side <= LARGEST:
            raise ValueError(f"{name} is {str(side)[:40]}, not 1 to {LARGEST}")
    for name, values, least in (("mean", form.mean, -math.inf), ("std", form.std, 0.0)):
        if len(values) != 3 or not all(math.isfinite(value) and value > least for value in values):
            raise ValueError(f"{name} is {str(list(values))[:60]}, not three usable numbers")
