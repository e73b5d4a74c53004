"""Turning pixels upright, as the EXIF tag of the file says."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The transform that undoes each EXIF orientation (tag 0x0112, Exif 2.32 section 4.6.4), on pixels (H, W, 3). Pillow's
# ImageOps.exif_transpose re-encodes all tags and fails if an unrelated one is damaged.
_ORIENTATION_TAG = 0x0112
UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 (upright) if there is none, if it is invalid or if EXIF is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # pixels are usable without metadata
        return 1
    return value if value in UPRIGHT else 1
