"""Decoding of images to uint8 RGB pixels, the same for training, evaluation and prediction."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.data.images.alpha import opaque, transparent_value, without_value
from alexnet.data.images.facts import BLANK, ImageFacts, notes_of, stored_in_16_bit, turned
from alexnet.data.images.kinds import strange_jpeg
from alexnet.data.images.lower import lower_bytes
from alexnet.data.images.opening import opened, words
from alexnet.data.images.orientation import UPRIGHT, orientation_of
from alexnet.data.images.pixels import Pixels, ValueRange, Values, array_pixels, digest, is_blank, ranged, rgb, to_8_bit
from alexnet.data.images.plain import in_memory, plain_pixels
from alexnet.data.images.shallow import depths, spread
from alexnet.data.images.tiff import WideTiff, foreign_compression, is_negative
from alexnet.data.images.turbo import turbo_pixels
from alexnet.errors import ImageError

ImageSource: TypeAlias = str | Path | bytes | Image.Image | NDArray[Any]
MAX_PIXELS = 178_956_970  # half a gigabyte of RGB; Pillow refuses above the same number


def decode(
    source: ImageSource,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
    value_range: ValueRange | None = None,
) -> Pixels:
    """Decode a file, the bytes of a file, a Pillow image or a uint8 array (H, W, 3) or (H, W).

    Returns uint8 (H, W, 3), RGB, upright (EXIF orientation applied), contiguous; the first frame of an animation.
    16-bit values are divided by 257, so that 0..65535 maps to 0..255. Float pixels are read as 0..1 if none exceeds 1,
    else as 0..255. TIFF's white-is-zero is obeyed at every depth. Transparent images are composited on white, unless
    nothing would be left to see (`alexnet.data.images.alpha`); bands beyond colour and alpha are left out. CMYK and
    YCbCr are converted by Pillow's formulas; colour profiles are ignored.

    at_least: the side in pixels that is enough for the shorter side. A JPEG file is then decoded at the smallest of its
    scales 1/8, 1/4, 1/2 and 1 that gives it (libjpeg's, from the low frequencies of the DCT), a caller's own Pillow
    image never. value_range: file values that become 0 and 255 instead, linearly, clipped; where its upper end is above
    255, images of 8 bits a channel, which it cannot mean, stay as they are.

    Raises ImageError, with the reason, for missing, empty, truncated and damaged files and for other formats; and,
    before decoding pixels, for images of more than `max_pixels` (width x height in the header).
    """
    return decode_values(source, max_pixels, at_least, value_range)[0]


def decode_values(
    source: ImageSource,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
    value_range: ValueRange | None = None,
    notes: list[str] | None = None,
) -> tuple[Pixels, Values]:
    """As `decode`, with the values that the file uses. notes: receives its properties, as in `ImageFacts`."""
    if isinstance(source, np.ndarray):
        return array_pixels(source, value_range)
    source = in_memory(source)
    if isinstance(source, bytes) and (plain := plain_pixels(source, max_pixels, at_least)) is not None:
        return ranged(plain, value_range)
    with opened(source, max_pixels) as image:
        if at_least is not None and image is not source and image.format in ("JPEG", "MPO"):
            image.draft(None, (at_least, at_least))
        return upright_pixels(image, value_range, notes, own=image is source)


def enough_for(size: int) -> int:
    """The shorter side, in pixels, from which a square of `size` is resized as well as from all pixels of a photo.

    Twice the size, and 512 at least, so that photos of a shorter side below 1024 are always decoded whole. Of 4000 x
    3000 pixels at JPEG quality 92, stored at 256, the squares differ from those of the whole photo by 0.25 levels of
    255 in the mean and 3 at most for enlarged photos with noise, by 0.40 and 6 for mosaics of 48 sharp ones.
    """
    return 2 * max(size, 256)


def inspect(source: ImageSource, max_pixels: int = MAX_PIXELS, value_range: ValueRange | None = None) -> ImageFacts:
    """Decode an image as `decode` does and describe it; failures are returned in `error`, not raised."""
    facts: dict[str, Any] = {}
    source = in_memory(source)
    try:
        if isinstance(source, np.ndarray):
            pixels, values = array_pixels(source, value_range)
            facts = {"format": "array", "mode": "RGB" if source.ndim == 3 else "L"}
            facts["notes"] = () if source.ndim == 3 else ("grayscale",)
        elif isinstance(source, bytes) and (plain := plain_pixels(source, max_pixels)) is not None:
            pixels, values = ranged(plain, value_range)
            facts = {"format": "JPEG", "mode": "RGB", "notes": ()}
        else:
            with opened(source, max_pixels, facts) as image:
                facts["notes"] = notes = list[str]()
                pixels, values = upright_pixels(image, value_range, notes, own=image is source)
    except ImageError as error:
        return ImageFacts(**{**facts, "notes": tuple(facts.get("notes", ()))}, error=str(error))
    facts["height"], facts["width"] = pixels.shape[:2]
    if is_blank(pixels):
        facts["color"] = tuple(pixels[0, 0].tolist())
    facts["notes"] = (*facts["notes"], *([BLANK] if "color" in facts else []))
    from alexnet.data.alike import look  # it imports this package

    return ImageFacts(**facts, digest=digest(pixels), look=look(pixels), values=values)


def upright_pixels(
    image: Image.Image, value_range: ValueRange | None = None, notes: list[str] | None = None, own: bool = False
) -> tuple[Pixels, Values]:
    """Load an opened image. notes: receives its properties that need conversion. own: whether it is the caller's."""
    wide = stored_in_16_bit(image)  # which is known only until it is loaded
    if isinstance(image, WideTiff):
        image.value_range = value_range
    key = transparent_value(image)
    lower = lower_bytes(image) if wide and (value_range is not None or key is not None) else None
    if notes is not None:
        notes += notes_of(image)
    if not own and (decoded := turbo_pixels(image)) is not None:
        pixels, values = ranged(decoded, value_range)
        return np.ascontiguousarray(UPRIGHT[orientation_of(image)](pixels)), values
    bits = depths(image)
    _load(image)
    seen, note = opaque(spread(image, bits) if bits else image) if key is None else (_keyless(image), None)
    if isinstance(image, WideTiff) and image.values is not None:  # its colours are of 8 bits by now
        pixels, values = rgb(seen)[0], image.values
    elif lower is not None and value_range is not None:
        pixels, values = to_8_bit(_whole(seen, lower), value_range)
    else:
        pixels, values = rgb(seen, value_range, wide)
    if key is not None:
        pixels, note = without_value(pixels, np.asarray(seen) if lower is None else _whole(seen, lower), key)
    if notes is not None:
        notes += [*(turned(image) if image.format == "PNG" else []), *([] if note is None else [note])]
    # Read the tag after loading: PNG has found it only then, and TIFF, which Pillow rotates itself, has removed it.
    return np.ascontiguousarray(UPRIGHT[orientation_of(image)](255 - pixels if is_negative(image) else pixels)), values


def _keyless(image: Image.Image) -> Image.Image:
    """The loaded image without the value that it declares transparent."""
    copy = image.copy()
    copy.info.pop("transparency", None)
    return copy


def _whole(image: Image.Image, lower: Pixels) -> NDArray[np.uint16]:
    """All 16 bits of colour, of which Pillow has the upper ones."""
    return np.asarray(image).astype(np.uint16) * np.uint16(256) + lower


def _load(image: Image.Image) -> None:
    file, foreign = getattr(image, "fp", None), foreign_compression(image)  # which Pillow forgets while it loads
    try:
        image.load()
    except ImageError:
        raise
    except Exception as error:  # as in `opened`
        known = image.format in ("JPEG", "MPO") and file is not None and not file.closed
        strange = strange_jpeg(file) if file is not None and known else foreign
        raise ImageError(strange or f"truncated or damaged: {words(error)}") from error
