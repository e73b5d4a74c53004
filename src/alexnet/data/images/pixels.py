"""Values of any depth to uint8 RGB pixels, and the digest of pixels.

H, W are height and width in pixels.
"""

import hashlib
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.errors import ImageError

Pixels: TypeAlias = NDArray[np.uint8]
ValueRange: TypeAlias = tuple[float, float]  # the file's values that become 0 and 255

WHITE_8, WHITE_16 = 255, 65535
EIGHT_BITS = "8-bit"
SEEN = 2**20  # values of an image that are looked at for its usual range


class Values(NamedTuple):
    """The values that an image's file uses, over all pixels and channels."""

    low: float
    high: float
    white: float  # what its format shows as white: 255 or 65535; of floats 1 where none exceeds it, else 255
    kind: str = EIGHT_BITS  # "8-bit", "16-bit", "32-bit" or "float"
    usual: tuple[float, float] | None = None  # lowest and highest without the outermost pixels, see `usual_range`


def rgb(image: Image.Image, value_range: ValueRange | None = None, wide: bool = False) -> tuple[Pixels, Values]:
    """A loaded image of any mode without transparency as uint8 (H, W, 3), not yet upright, and the values of its file.

    wide: whether the file has 16 bits a channel, of which Pillow reads the upper 8 in colour images.
    """
    if image.mode[0] in "IF":
        pixels, values = to_8_bit(np.asarray(image), value_range)
        return _gray_to_rgb(pixels), values
    return ranged(np.array(image if image.mode == "RGB" else image.convert("RGB")), value_range, 257 if wide else 1)


def to_8_bit(array: NDArray[Any], value_range: ValueRange | None = None) -> tuple[Pixels, Values]:
    """Integers of 16 or 32 bits, or floats, as uint8 of the same shape, and their values.

    value_range: becomes 0..255, linearly, rounded and clipped. Without one: integers 0..65535 become 0..255, rounded
    (65535 = 255 * 257; Pillow would clip at 255); floats are read as 0..1 if none exceeds 1, else as 0..255.
    ImageError for values that are not finite and, without a range, for others.
    """
    floats = array.dtype.kind == "f"
    low, high = array.min().item(), array.max().item()  # NaN if any value is
    white = (1 if high <= 1 else WHITE_8) if floats else WHITE_16
    kind = "float" if floats else f"{8 * array.itemsize}-bit"
    values = Values(low, high, white, kind, usual_range(array))
    if not -np.inf < low <= high < np.inf:
        raise ImageError(f"float pixels from {low:g} to {high:g}: 0 to 1 or 0 to 255 is accepted; save it as 8 bits")
    if value_range is not None:
        return mapped(array, value_range), values
    if low < 0 or high > white:
        named, accepted = ("float", "0 to 1 or 0 to 255") if floats else ("integer", "0 to 65535")
        raise ImageError(
            f"{named} pixels from {low:.12g} to {high:.12g}: {accepted} is accepted; save it as 8 or 16 bits a "
            f"channel, or train with --value-range {low:.12g},{high:.12g}"
        )
    if floats:
        return np.rint(array * WHITE_8 if high <= 1 else array).astype(np.uint8), values
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8), values


def usual_range(array: NDArray[Any]) -> tuple[float, float]:
    """The lowest and highest of all values but a thousandth at either end, where detectors have hot and dead pixels.

    Of more than a million values a million or fewer, evenly spread, stand for all.
    """
    flat = array.reshape(-1)
    flat = flat[:: 1 + flat.size // SEEN]
    spare = flat.size // 1000
    ordered = np.partition(flat, (spare, flat.size - 1 - spare))
    return ordered[spare].item(), ordered[-1 - spare].item()


def mapped(array: NDArray[Any], value_range: ValueRange) -> Pixels:
    """Values of any shape and type as uint8: the range becomes 0..255, linearly, rounded and clipped."""
    low, high = value_range
    scaled: Pixels = (
        np.rint((array.astype(np.float64) - low) * (WHITE_8 / (high - low))).clip(0, WHITE_8).astype(np.uint8)
    )
    return scaled


def ranged(pixels: Pixels, value_range: ValueRange | None, step: int = 1) -> tuple[Pixels, Values]:
    """8-bit pixels by a range of values; a range above what a file of 8 bits can hold is meant for other images.

    step: of the file's values from one pixel value to the next: 1, or 257 for files of 16 bits.
    """
    kind = EIGHT_BITS if step == 1 else "16-bit"
    values = Values(int(pixels.min()) * step, int(pixels.max()) * step, WHITE_8 * step, kind)
    if value_range is None or (kind == EIGHT_BITS and value_range[1] > WHITE_8):
        return pixels, values
    return mapped(np.arange(256) * step, value_range)[pixels], values


def is_blank(pixels: Pixels) -> bool:
    """Whether all pixels have the same colour."""
    first = pixels[0, 0]
    return bool((pixels[0] == first).all()) and bool((pixels == first).all())


def array_pixels(array: NDArray[Any], value_range: ValueRange | None = None) -> tuple[Pixels, Values]:
    """uint8 (H, W, 3) or (H, W) as uint8 (H, W, 3), contiguous, and its values; ImageError for anything else."""
    if array.dtype != np.uint8:
        raise ImageError(f"array of {array.dtype}: only uint8, 0 to 255, is accepted; scale and convert it first")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ImageError(f"array of shape {array.shape}: (H, W, 3), RGB, or (H, W) is accepted, with H, W at least 1")
    rgb: Pixels = array if array.ndim == 3 else _gray_to_rgb(array)
    return ranged(np.ascontiguousarray(rgb), value_range)


def _gray_to_rgb(gray: Pixels) -> Pixels:
    return np.repeat(gray[:, :, None], 3, axis=2)


def digest(pixels: Pixels) -> bytes:
    """16-byte hash of shape and content."""
    return hashlib.blake2b(pixels.data, digest_size=16, salt=np.array(pixels.shape[:2], "<u4").tobytes()).digest()
