"""Transparent pictures: laid over white, unless nothing would be left to see."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.data.images.tiff import has_undeclared_band

IGNORED = "alpha ignored: "
OVER_BLACK = "alpha laid over black: blank over white"


def transparent_value(image: Image.Image) -> Any:
    """The one value, or colour, that a PNG file of 2, 4 or 16 bits a channel declares transparent; None for others.

    Pillow compares it with values that it has made 8 bits of, and leaves that of 16-bit grey alone. Of an image that is
    not loaded; scaled to the values that it has once it is.
    """
    key, tiles = image.info.get("transparency"), getattr(image, "tile", [])
    raw = tiles[0].args if tiles and image.format == "PNG" else ""
    if raw in ("L;2", "L;4"):
        return key if key is None else key * (85 if raw == "L;2" else 17)
    return key if raw in ("I;16B", "RGB;16B") else None


def without_value(pixels: NDArray[np.uint8], values: NDArray[Any], key: Any) -> tuple[NDArray[np.uint8], str | None]:
    """RGB pixels with those transparent whose values are `key`, treated as `opaque` does, and its note."""
    hidden = values == np.array(key)
    rgba = Image.fromarray(pixels)
    rgba.putalpha(Image.fromarray(np.where(hidden.all(2) if hidden.ndim == 3 else hidden, 0, 255).astype(np.uint8)))
    seen, note = opaque(rgba)
    return np.array(seen), note


def opaque(image: Image.Image) -> tuple[Image.Image, str | None]:
    """A loaded image without its transparency, and a note where it is not simply laid over white.

    An alpha of zero everywhere is ignored, as is one that leaves a single colour of a picture that has several; a
    drawing in the alpha alone, of one colour that vanishes over white, is laid over black.
    """
    if has_undeclared_band(image):
        return image.convert("RGB"), None
    if image.mode[0] in "IF" or not image.has_transparency_data:
        return image, None
    rgba = image.convert("RGBA")
    over_white = _laid_over("white", rgba)
    if not _is_blank(over_white):
        return over_white, None
    own, alpha = rgba.convert("RGB"), rgba.getchannel("A")
    if alpha.getextrema() == (0, 0):
        return own, f"{IGNORED}zero everywhere"
    if not _is_blank(own):
        return own, f"{IGNORED}blank over white"
    return (over_white, None) if _is_blank(alpha) else (_laid_over("black", rgba), OVER_BLACK)


def _is_blank(image: Image.Image) -> bool:
    extrema = image.getextrema()
    return all(low == high for low, high in (extrema if isinstance(extrema[0], tuple) else [extrema]))


def _laid_over(color: str, rgba: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", rgba.size, color), rgba).convert("RGB")
