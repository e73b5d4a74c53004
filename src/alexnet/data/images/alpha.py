"""Transparent pictures: laid over white, unless nothing would be left to see."""

from PIL import Image

from alexnet.data.images.tiff import has_undeclared_band

IGNORED = "alpha ignored: "
OVER_BLACK = "alpha laid over black: blank over white"


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
