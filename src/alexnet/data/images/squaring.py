"""The stored form of pixels: the centre square at a fixed size."""

import sys

import numpy as np
from PIL import Image

from alexnet.data.images.pixels import Pixels


def square(image: Pixels, size: int = 256) -> Pixels:
    """The stored form: the centre square of uint8 (H, W, 3), resized to uint8 (size, size, 3).

    Bilinear with antialiasing; an image with a shorter side of `size` is only cropped. Cropping first is equivalent to
    resizing the shorter side to `size` and cropping then, and cheaper. Where torch is imported already, a native kernel
    computes it, which gives the bits that Pillow gives.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    crop = image[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(crop)
    if "torch" not in sys.modules:  # an export in use, which is not to wait seconds for it
        return np.array(Image.fromarray(crop).resize((size, size), Image.Resampling.BILINEAR))
    from alexnet.ops.resize import resize_square

    return resize_square(crop, size)
