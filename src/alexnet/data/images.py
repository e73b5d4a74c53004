"""Decoding of images to uint8 RGB pixels, the same for training, evaluation and prediction.

H, W are height and width in pixels. All functions are deterministic and thread-safe. Formats: JPEG, PNG, GIF, BMP,
TIFF, WebP and PPM, recognised by content, never by file name.
"""

import hashlib
import io
import logging
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from alexnet.errors import ImageError

Pixels: TypeAlias = NDArray[np.uint8]
ImageSource: TypeAlias = str | Path | bytes | Image.Image | NDArray[Any]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
IMAGE_SUFFIXES = frozenset(  # in lower case
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"]
)
MAX_PIXELS = 178_956_970  # half a gigabyte of RGB; Pillow refuses above the same number

# First bytes by format, for messages. Without BMP's "BM" and PPM's "P6": text files may begin like that.
_MAGIC = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"RIFF": "WebP",
}

# The transform that undoes each EXIF orientation (tag 0x0112, Exif 2.32 section 4.6.4), on pixels (H, W, 3). Pillow's
# ImageOps.exif_transpose re-encodes all tags and fails if an unrelated one is damaged.
_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}

_MODE_NOTES = {
    "1": ("1-bit", "grayscale"),
    "L": ("grayscale",),
    "LA": ("grayscale",),
    "F": ("float", "grayscale"),
    "P": ("palette",),
    "PA": ("palette",),
    "CMYK": ("CMYK",),
}


@dataclass(frozen=True)
class ImageFacts:
    """Properties of an image, found by decoding it.

    width, height: pixels, upright; 0 if the header cannot be read. format, mode: Pillow's names for the stored image,
    "array" for arrays. notes: properties that need conversion ("16-bit", "CMYK", "palette", "alpha", "grayscale",
    "1-bit", "float", "EXIF orientation 6", "animated", "several pages"). error: why it cannot be used, or None.
    digest: 16 bytes, equal for images of equal decoded pixels; look: `alexnet.data.alike.look` of them; both empty if
    there is an error.
    """

    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    notes: tuple[str, ...] = ()
    error: str | None = None
    digest: bytes = b""
    look: bytes = b""


def decode(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode a file, the bytes of a file, a Pillow image or a uint8 array (H, W, 3) or (H, W).

    Returns uint8 (H, W, 3), RGB, upright (EXIF orientation applied), contiguous; the first frame of an animation.
    16-bit values are divided by 257, so that 0..65535 maps to 0..255. Float pixels are read as 0..1 if none exceeds 1,
    else as 0..255. Transparent images are composited on white. CMYK and YCbCr are converted by Pillow's formulas;
    colour profiles are ignored.

    Raises ImageError, with the reason, for missing, empty, truncated and damaged files and for other formats; and,
    before decoding pixels, for images of more than `max_pixels` (width x height in the header).
    """
    if isinstance(source, np.ndarray):
        return _array_pixels(source)
    with _opened(source, max_pixels) as image:
        return _upright_pixels(image)


def square(image: Pixels, size: int = 256) -> Pixels:
    """The stored form: the centre square of uint8 (H, W, 3), resized to uint8 (size, size, 3).

    Bilinear with antialiasing; an image with a shorter side of `size` is only cropped. Cropping first is equivalent to
    resizing the shorter side to `size` and cropping then, and cheaper.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    crop = image[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(crop)
    from alexnet.ops.resize import resize_square  # imports torch, not needed for decoding

    return resize_square(crop, size)


def stored_form(source: ImageSource, size: int = 256) -> Pixels | str:
    """`square(decode(source), size)`, or the message of its ImageError."""
    try:
        return square(decode(source), size)
    except ImageError as error:
        return str(error)


def inspect(source: ImageSource, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Decode an image as `decode` does and describe it; failures are returned in `error`, not raised."""
    facts: dict[str, Any] = {}
    try:
        if isinstance(source, np.ndarray):
            pixels = _array_pixels(source)
            facts = {"format": "array", "mode": "RGB" if source.ndim == 3 else "L"}
            facts["notes"] = () if source.ndim == 3 else ("grayscale",)
        else:
            with _opened(source, max_pixels, facts) as image:
                facts["notes"] = _notes(image)
                pixels = _upright_pixels(image)
    except ImageError as error:
        return ImageFacts(**facts, error=str(error))
    facts["height"], facts["width"] = pixels.shape[:2]
    from alexnet.data.alike import look  # it imports this file

    return ImageFacts(**facts, digest=digest(pixels), look=look(pixels))


class _PillowRules:
    """Context in which Pillow gives no warnings, has no size limit and refuses truncated files.

    `_refuse_size` replaces Pillow's limit, whose message lacks width and height and which cannot be set per call. These
    settings are global: the first thread that enters sets them, the last one that leaves restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
                self._warnings = warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._warnings.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_pillow_rules = _PillowRules()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else errors, which we raise, are printed, too


@contextmanager
def _opened(
    source: str | Path | bytes | Image.Image, max_pixels: int, header: dict[str, Any] | None = None
) -> Iterator[Image.Image]:
    """Open an image and check its size; any error in the block becomes an ImageError with the reason.

    header: receives width, height, format and mode once they are known.
    """
    try:
        with _pillow_rules, _header_read(source) as image:
            if header is not None:
                header.update(width=image.width, height=image.height, format=image.format or "", mode=image.mode)
            _refuse_size(image.width, image.height, max_pixels)
            yield image
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many types for damaged files
        raise ImageError(f"cannot be read: {_words(error)}") from error


@contextmanager
def _header_read(source: str | Path | bytes | Image.Image) -> Iterator[Image.Image]:
    """The image with only its header read; files are closed at the end, the caller's image is not."""
    if isinstance(source, Image.Image):
        yield source
    elif isinstance(source, bytes):
        with _identified(io.BytesIO(source)) as image:
            yield image
    elif isinstance(source, str | Path):
        if not stat.S_ISREG(Path(source).stat().st_mode):  # opening a pipe would block
            raise ImageError("not a file")
        with open(source, "rb") as file, _identified(file) as image:
            yield image
    else:
        raise ImageError(f"{type(source).__name__} is not a path, bytes, a Pillow image or a uint8 array")


def _identified(file: io.BufferedIOBase) -> Image.Image:
    start = file.read(4)
    if not start:
        raise ImageError("empty: 0 bytes")
    try:
        return Image.open(file, formats=FORMATS)  # type: ignore[arg-type]  # a buffered file has all that is asked for
    except Exception as error:  # as above
        if isinstance(error, OSError) and error.errno is not None:  # an I/O error, not a damaged file
            raise
        known = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
        if known is None:
            raise ImageError("not an image: its content is not JPEG, PNG, GIF, BMP, TIFF, WebP or PPM") from error
        raise ImageError(f"truncated or damaged: starts like {known}, but the header cannot be read") from error


def _refuse_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"too large: {width} x {height} pixels by its header, at most {max_pixels:,} pixels are decoded"
        )
    if width * height == 0:
        raise ImageError(f"no pixels: {width} x {height} by its header")


def _upright_pixels(image: Image.Image) -> Pixels:
    try:
        image.load()
    except Exception as error:  # as above
        raise ImageError(f"truncated or damaged: {_words(error)}") from error
    # Read the tag after loading: PNG has found it only then, and TIFF, which Pillow rotates itself, has removed it.
    return np.ascontiguousarray(_UPRIGHT[_orientation(image)](_rgb(image)))


def _rgb(image: Image.Image) -> Pixels:
    """A loaded image of any mode as uint8 (H, W, 3), not yet upright."""
    if image.mode == "F":
        return _gray_to_rgb(_float_to_8_bit(np.asarray(image)))
    if image.mode.startswith("I"):
        return _gray_to_rgb(_16_to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _16_to_8_bit(values: NDArray[Any]) -> Pixels:
    """Integers 0..65535 to 0..255, rounded: 65535 = 255 * 257. Pillow would clip at 255."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"integer pixels from {low} to {high}: 0 to 65535 is accepted; save it as 8 or 16 bits a channel"
        )
    scaled: Pixels = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return scaled


def _float_to_8_bit(values: NDArray[Any]) -> Pixels:
    low, high = float(values.min()), float(values.max())  # NaN if any value is
    if not 0 <= low <= high <= 255:
        raise ImageError(f"float pixels from {low:g} to {high:g}: 0 to 1 or 0 to 255 is accepted; save it as 8 bits")
    scaled: Pixels = np.rint(values * 255 if high <= 1 else values).astype(np.uint8)
    return scaled


def _array_pixels(array: NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8:
        raise ImageError(f"array of {array.dtype}: only uint8, 0 to 255, is accepted; scale and convert it first")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ImageError(f"array of shape {array.shape}: (H, W, 3), RGB, or (H, W) is accepted, with H, W at least 1")
    rgb: Pixels = array if array.ndim == 3 else _gray_to_rgb(array)
    return np.ascontiguousarray(rgb)


def _gray_to_rgb(gray: Pixels) -> Pixels:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 (upright) if there is none, if it is invalid or if EXIF is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # pixels are usable without metadata
        return 1
    return value if value in _UPRIGHT else 1


def _notes(image: Image.Image) -> tuple[str, ...]:
    """Properties that need conversion; some checks load the pixels."""
    notes = list(_MODE_NOTES.get(image.mode, ()))
    if _stored_in_16_bit(image):
        notes += ["16-bit"] if not image.mode.startswith("I") else ["16-bit", "grayscale"]
    if image.has_transparency_data:
        notes.append("alpha")
    if (orientation := _orientation(image)) != 1:
        notes.append(f"EXIF orientation {orientation}")
    if _has_more_frames(image):
        notes.append("several pages" if image.format == "TIFF" else "animated")
    return tuple(notes)


def _has_more_frames(image: Image.Image) -> bool:
    """Whether there are frames after the first. A camera's MPO holds one photo and its previews, so it has none."""
    try:
        return image.format != "MPO" and getattr(image, "is_animated", False)
    except Exception:  # damaged later frames, which are not used
        return False


def _stored_in_16_bit(image: Image.Image) -> bool:
    """By mode; for colour, which Pillow converts to 8 bits, by the raw mode of the stored pixels."""
    tiles = getattr(image, "tile", [])
    return image.mode.startswith("I") or any(";16" in str(tile.args) for tile in tiles)


def digest(pixels: Pixels) -> bytes:
    """16-byte hash of shape and content."""
    return hashlib.blake2b(pixels.data, digest_size=16, salt=np.array(pixels.shape[:2], "<u4").tobytes()).digest()


def _words(error: Exception) -> str:
    """The message of an exception in one line, without the file name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
