"""The stored form of an image: a square of uint8 pixels, by a size, a fit and a range of values.

Training, evaluation and prediction store images by the same form; it travels on a model's card and in a store.
H, W are height and width in pixels, S is the side of the stored form.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from alexnet.data.images import (
    MAX_PIXELS,
    ImageSource,
    Pixels,
    ValueRange,
    Values,
    decode_values,
    enough_for,
    is_blank,
    square,
)
from alexnet.data.images.facts import ONE_COLOR, remark_of
from alexnet.data.value_range import check_range, range_text
from alexnet.errors import unknown_name

FITS = ("crop", "pad", "warp", "short")
CROPPING = ("crop", "short")  # fits that cut off what lies beyond the centre square
# RGB of the border that `pad` adds: ImageNet's mean colour (123.675, 116.28, 103.53 in torchvision's transforms),
# rounded. Nearly zero once a network has subtracted its mean, where black would be an edge in every image. It belongs
# to the fit and not to the data or the network, so that one store serves all networks and one image looks the same in
# every set. Another colour makes other stores: raise the store's VERSION with it.
PAD_COLOR = (124, 116, 104)


@dataclass(frozen=True)
class Form:
    """How an image becomes its stored form."""

    size: int = 256  # S
    fit: str = "crop"  # see `fitted`
    value_range: ValueRange | None = None  # file values that become 0 and 255, see `images.decode`; None: by the format
    exact: bool = False  # large JPEG files are decoded whole, which takes twice as long for 12 megapixels

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise unknown_name("fit", str(self.fit), FITS)
        if self.value_range is not None:
            check_range(self.value_range)

    def read(self, source: ImageSource) -> Pixels:
        """The stored form of an image, uint8 (S, S, 3); ImageError if it cannot be read."""
        return self.pack(source).pixels

    def pack(self, source: ImageSource, max_pixels: int = MAX_PIXELS) -> "Packed":
        """As `read`, with what packing notes about the image. TooLarge, before decoding, above `max_pixels`."""
        notes: list[str] = []
        decoded, values = self._decoded(source, notes, max_pixels)
        height, width = decoded.shape[:2]
        pixels = fitted(decoded, self.size, self.fit)
        seen = decoded if self.fit == "pad" else pixels
        color = tuple(seen[0, 0].tolist()) if is_blank(seen) else None
        return Packed(pixels, width, height, values, color, tuple(notes))

    def decode(self, source: ImageSource) -> Pixels:
        """The pixels that the stored form is made of, uint8 (H, W, 3); ImageError if they cannot be read."""
        return self._decoded(source, None)[0]

    def _decoded(
        self, source: ImageSource, notes: list[str] | None, max_pixels: int = MAX_PIXELS
    ) -> tuple[Pixels, Values]:
        at_least = None if self.exact else enough_for(self.size)
        return decode_values(source, max_pixels, at_least, self.value_range, notes)

    def options(self) -> str:
        """The options of `alexnet pack` for this form."""
        fit = "" if self.fit == "crop" else f" --fit {self.fit}"
        values = "" if self.value_range is None else f" --value-range {range_text(self.value_range)}"
        return f"--size {self.size}{fit}{values}{' --exact' if self.exact else ''}"

    def __str__(self) -> str:
        """ "256 px a side", "256 px a side (pad, values 0 to 4095, exact)"."""
        values = "" if self.value_range is None else f"values {range_text(self.value_range, ' to ')}"
        named = ("" if self.fit == "crop" else self.fit, values, "exact" if self.exact else "")
        special = ", ".join(filter(None, named))
        return f"{self.size} px a side" + (f" ({special})" if special else "")


class Packed(NamedTuple):
    """One image in its stored form, and what packing notes about it."""

    pixels: Pixels  # uint8 (S, S, 3)
    width: int  # of the decoded image, pixels
    height: int
    values: Values
    color: tuple[int, ...] | None  # RGB, where it has no other, border aside
    notes: tuple[str, ...]  # properties that need conversion or care, as in `images.ImageFacts`

    def remarks(self) -> list[str]:
        """What is said of it wherever it is used: what is left out of it, and whether there is nothing to see."""
        said = [remark for remark in map(remark_of, self.notes) if remark]
        return said if self.color is None else [*said, ONE_COLOR]


def fitted(image: Pixels, size: int = 256, fit: str = "crop") -> Pixels:
    """uint8 (H, W, 3) -> uint8 (size, size, 3), by Pillow's bilinear filter with antialiasing.

    crop: the centre square, resized. pad: the whole image, resized in proportion, on a square of PAD_COLOR. warp: the
    whole image, each side resized to `size`, as Caffe's ImageNet tools do. short: the shorter side resized to `size`,
    then the centre square, as torchvision's transforms do; up to half a pixel beside `crop`. Square images are the same
    in all four.
    """
    height, width = image.shape[:2]
    if fit == "crop" or height == width:
        return square(image, size)
    if fit == "warp":
        return _resized(image, size, size)
    if fit == "short":
        return _centre(_resized(image, *(int(size * side / min(height, width)) for side in (height, width))), size)
    scale = size / max(height, width)
    return _padded(_resized(image, max(1, round(height * scale)), max(1, round(width * scale))), size)


def _resized(image: Pixels, height: int, width: int) -> Pixels:
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _centre(image: Pixels, size: int) -> Pixels:
    """The centre square, at the offset of torchvision's center_crop: half a pixel is rounded to even."""
    top, left = (round((side - size) / 2) for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + size, left : left + size])


def _padded(image: Pixels, size: int) -> Pixels:
    """The image in the centre of a square of PAD_COLOR."""
    height, width = image.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    padded = np.full((size, size, 3), PAD_COLOR, np.uint8)
    padded[top : top + height, left : left + width] = image
    return padded
