"""Values of any depth to uint8 RGB pixels, and the digest of pixels.

H, W are height and width in pixels.
"""

import hashlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.errors import ImageError

Pixels: TypeAlias = NDArray[np.uint8]


def rgb(image: Image.Image) -> Pixels:
    """A loaded image of any mode without transparency as uint8 (H, W, 3), not yet upright."""
    if image.mode[0] in "IF":
        wide = np.asarray(image)
        return _gray_to_rgb(float_to_8_bit(wide) if image.mode == "F" else integers_to_8_bit(wide))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def integers_to_8_bit(values: NDArray[Any]) -> Pixels:
    """Integers 0..65535 to 0..255, rounded: 65535 = 255 * 257. Pillow would clip at 255."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"integer pixels from {low} to {high}: 0 to 65535 is accepted; save it as 8 or 16 bits a channel"
        )
    scaled: Pixels = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return scaled


def float_to_8_bit(values: NDArray[Any]) -> Pixels:
    low, high = float(values.min()), float(values.max())  # NaN if any value is
    if not 0 <= low <= high <= 255:
        raise ImageError(f"float pixels from {low:g} to {high:g}: 0 to 1 or 0 to 255 is accepted; save it as 8 bits")
    scaled: Pixels = np.rint(values * 255 if high <= 1 else values).astype(np.uint8)
    return scaled


def is_blank(pixels: Pixels) -> bool:
    """Whether all pixels have the same colour."""
    first = pixels[0, 0]
    return bool((pixels[0] == first).all()) and bool((pixels == first).all())


def array_pixels(array: NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8:
        raise ImageError(f"array of {array.dtype}: only uint8, 0 to 255, is accepted; scale and convert it first")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ImageError(f"array of shape {array.shape}: (H, W, 3), RGB, or (H, W) is accepted, with H, W at least 1")
    rgb: Pixels = array if array.ndim == 3 else _gray_to_rgb(array)
    return np.ascontiguousarray(rgb)


def _gray_to_rgb(gray: Pixels) -> Pixels:
    return np.repeat(gray[:, :, None], 3, axis=2)


def digest(pixels: Pixels) -> bytes:
    """16-byte hash of shape and content."""
    return hashlib.blake2b(pixels.data, digest_size=16, salt=np.array(pixels.shape[:2], "<u4").tobytes()).digest()
