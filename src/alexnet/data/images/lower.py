"""The lower 8 of the 16 bits of colour files, which Pillow leaves out."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pillow reads the upper byte of each value by the byte order in a tile's raw mode, and by the other order the lower.
_OTHER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}


def lower_bytes(image: Image.Image) -> NDArray[np.uint8] | None:
    """uint8 (H, W, 3) of an opened RGB image of 16 bits that is not yet loaded, and stays so.

    None for other images and where there is no file to read again.
    """
    file = getattr(image, "fp", None)
    if file is None or image.mode != "RGB":
        return None
    place = file.tell()
    try:
        file.seek(0)
        again = Image.open(file, formats=(image.format or "",))
        again.tile = [tile._replace(args=_swapped(tile.args)) for tile in again.tile]
        return np.array(again)
    finally:
        file.seek(place)


def _swapped(args: Any) -> Any:
    """The arguments of a tile's decoder, of which the first may be the raw mode, with the other byte order."""
    if isinstance(args, tuple):
        return (_swapped(args[0]), *args[1:])
    for mine, other in _OTHER.items():
        if isinstance(args, str) and args.endswith(mine):
            return args.removesuffix(mine) + other
    return args
