"""From the bytes of a picture to uint8 RGB pixels: the one way in for training, evaluation and prediction.

H, W are height and width in pixels. Everything here is deterministic, and may run in several threads at once. Formats:
JPEG, PNG, GIF, BMP, TIFF, WebP and PPM, told by content, never by name.
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

# How files of these formats begin. Not BMP's "BM" and PPM's "P6", with which ordinary text may begin.
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

# What undoes each value of the EXIF tag Orientation (0x0112, Exif 2.32 section 4.6.4), on pixels (H, W, 3). Not
# Pillow's ImageOps.exif_transpose, which encodes all tags anew and fails on files where only other tags are damaged.
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
    """What one image is, found by decoding it.

    width, height: in pixels, upright (0 when not even the header could be read); format and mode: Pillow's words, as
    stored, "array" for arrays; notes: what needs care ("16-bit", "CMYK", "palette", "alpha", "grayscale", "1-bit",
    "float", "EXIF orientation 6", "animated", "several pages"); error: why it cannot be used, or None;
    digest: 16 bytes, equal for images whose decoded pixels are equal, empty when there is an error.
    """

    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    notes: tuple[str, ...] = ()
    error: str | None = None
    digest: bytes = b""


def decode(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of a file, of the bytes of a file, of a Pillow image or of a uint8 array (H, W, 3) or (H, W).

    Returns uint8 (H, W, 3), RGB, upright (EXIF orientation applied), contiguous; of an animation the first frame.
    16-bit values are divided by 257, so that 0..65535 covers 0..255. Float pixels are taken as 0..1 when none is above
    1, else as 0..255. Alpha is laid over white. CMYK and YCbCr are converted by Pillow's formulas; colour profiles are
    not applied.

    Raises ImageError, with the reason, for what is missing, empty, truncated, damaged or no image, and, before any
    pixel is decoded, for images of more than `max_pixels` (width x height by the header).
    """
    if isinstance(source, np.ndarray):
        return _array_pixels(source)
    with _opened(source, max_pixels) as image:
        return _upright_pixels(image)


def square(image: Pixels, size: int = 256) -> Pixels:
    """The stored form: the centre square of uint8 (H, W, 3), resized to uint8 (size, size, 3).

    The same as bringing the shorter side to `size` and cropping the centre, without ever making the long side: bilinear
    with antialiasing, never distorted, and an image whose shorter side is `size` is only cropped.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    crop = image[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(crop)
    from alexnet.ops.resize import resize_square  # imports torch, which reading images does without

    return resize_square(crop, size)


def stored_form(source: ImageSource, size: int = 256) -> Pixels | str:
    """`square(decode(source), size)`, or the reason why there is none."""
    try:
        return square(decode(source), size)
    except ImageError as error:
        return str(error)


def inspect(source: ImageSource, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """What an image is, by decoding it as `decode` does; what is wrong with it stands in `error`, nothing is raised."""
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
    return ImageFacts(**facts, digest=digest(pixels))


class _PillowRules:
    """While any thread is inside: Pillow is silent, its size limit is off and truncated files are errors.

    Pillow's limit names no width and height and cannot be raised for one call; ours runs right after the header is
    read. All three are settings of the whole process, so the first thread in sets them and the last one out restores.
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
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors, which we raise, are printed as well


@contextmanager
def _opened(
    source: str | Path | bytes | Image.Image, max_pixels: int, header: dict[str, Any] | None = None
) -> Iterator[Image.Image]:
    """The opened image, its size already allowed; every error in the block becomes an ImageError with the reason.

    header: filled with width, height, format and mode as soon as they are known.
    """
    try:
        with _pillow_rules, _header_read(source) as image:
            if header is not None:
                header.update(width=image.width, height=image.height, format=image.format or "", mode=image.mode)
            _refuse_size(image.width, image.height, max_pixels)
            yield image
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise every kind of exception on damaged files
        raise ImageError(f"cannot be read: {_words(error)}") from error


@contextmanager
def _header_read(source: str | Path | bytes | Image.Image) -> Iterator[Image.Image]:
    """The image with its header read and its pixels not; a file is closed at the end, the caller's image is not."""
    if isinstance(source, Image.Image):
        yield source
    elif isinstance(source, bytes):
        with _identified(io.BytesIO(source)) as image:
            yield image
    elif isinstance(source, str | Path):
        if not stat.S_ISREG(Path(source).stat().st_mode):  # opening a pipe would wait for ever
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
    except Exception as error:  # headers fail in as many ways as pixels
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the file's
            raise
        known = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
        if known is None:
            raise ImageError("not an image: its content is not JPEG, PNG, GIF, BMP, TIFF, WebP or PPM") from error
        raise ImageError(f"truncated or damaged: it begins as {known}, but its header cannot be read") from error


def _refuse_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"gigantic: {width} x {height} pixels by its header, at most {max_pixels:,} in all are decoded"
        )
    if width * height == 0:
        raise ImageError(f"no pixels: {width} x {height} by its header")


def _upright_pixels(image: Image.Image) -> Pixels:
    try:
        image.load()
    except Exception as error:  # as above
        raise ImageError(f"truncated or damaged: {_words(error)}") from error
    # The tag is read after loading: only then has PNG found it, and TIFF, which Pillow turns by itself, dropped it.
    return np.ascontiguousarray(_UPRIGHT[_orientation(image)](_rgb(image)))


def _rgb(image: Image.Image) -> Pixels:
    """uint8 (H, W, 3) as stored, not yet upright, from a loaded image of any mode."""
    if image.mode == "F":
        return _gray_to_rgb(_float_to_8_bit(np.asarray(image)))
    if image.mode.startswith("I"):
        return _gray_to_rgb(_16_to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _16_to_8_bit(values: NDArray[Any]) -> Pixels:
    """Integers 0..65535 to 0..255, rounded: 65535 = 255 * 257. Pillow itself would clip at 255."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"integer pixels from {low} to {high}: 0 to 65535 is accepted; save it as 8 or 16 bits a channel"
        )
    scaled: Pixels = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return scaled


def _float_to_8_bit(values: NDArray[Any]) -> Pixels:
    low, high = float(values.min()), float(values.max())  # both not-a-number where any value is
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
    """EXIF orientation 1..8; 1, upright, where there is none, where it is no such number or where EXIF is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # damaged metadata is no reason to refuse sound pixels
        return 1
    return value if value in _UPRIGHT else 1


def _notes(image: Image.Image) -> tuple[str, ...]:
    """What needs care in an image whose header is read; its pixels are loaded by some of the questions."""
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
    """Whether frames are left out by taking the first. A camera's MPO is one photo and its previews."""
    try:
        return image.format != "MPO" and getattr(image, "is_animated", False)
    except Exception:  # damage in later frames, which are not used
        return False


def _stored_in_16_bit(image: Image.Image) -> bool:
    """By the mode, or, for colour, which Pillow brings to 8 bits itself, by the raw mode of the stored pixels."""
    tiles = getattr(image, "tile", [])
    return image.mode.startswith("I") or any(";16" in str(tile.args) for tile in tiles)


def digest(pixels: Pixels) -> bytes:
    """16 bytes over shape and content."""
    return hashlib.blake2b(pixels.data, digest_size=16, salt=np.array(pixels.shape[:2], "<u4").tobytes()).digest()


def _words(error: Exception) -> str:
    """One line for an error of the system or of Pillow, without the file's name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
