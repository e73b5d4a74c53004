"""JPEG files by libjpeg-turbo itself: without the interpreter's lock, so that threads do not wait for each other.

Pillow uses the same library and gives the same pixels, but holds the lock while it copies them, from four bytes a pixel
to three and then into an array. Where simplejpeg is missing Pillow reads everything, to the same pixels.
"""

import io

import numpy as np
from PIL import Image

from alexnet.data.images.pixels import Pixels

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

SPACES = {"RGB": "RGB", "L": "GRAY"}  # by Pillow's modes; of CMYK there are varieties, which Pillow tells apart
LEAST = 8  # pixels a side from which each of the library's scales, eighths, has another size


def turbo_pixels(image: Image.Image) -> Pixels | None:
    """The pixels of a JPEG file that Pillow has opened and not loaded: uint8 (H, W, 3), not turned upright.

    H, W are those of `image`, so that they follow the scale that `Image.draft` has chosen. None for what Pillow shall
    read: other formats and modes, files too large to lie in memory, and those that are not wholly sound, of which it
    reads some and refuses others with the reason.
    """
    space, file = SPACES.get(image.mode), getattr(image, "fp", None)
    if simplejpeg is None or image.format not in ("JPEG", "MPO") or space is None or min(image.size) < LEAST:
        return None
    if not isinstance(file, io.BytesIO):
        return None
    pixels = _decoded(file.getvalue(), space, image.height, image.width)
    return np.repeat(pixels, 3, axis=2) if pixels is not None and space == "GRAY" else pixels


def turbo_rgb(data: bytes, height: int, width: int) -> Pixels | None:
    """The pixels of a JPEG file of three components, uint8 (height, width, 3); None as for `turbo_pixels`."""
    return None if simplejpeg is None else _decoded(data, "RGB", height, width)


def _decoded(data: bytes, space: str, height: int, width: int) -> Pixels | None:
    """uint8 (height, width, channels) from a whole file; None for another size, and for any warning of the library."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, space, min_height=height, min_width=width)
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == (height, width) else None
