"""Opening of images under fixed rules: the header is read, the size is checked, every failure has its reason."""

import io
import logging
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile

from alexnet.data.images.kinds import FORMATS, NAMES, SNIFFED, is_heif, is_tiff, name_by, refused_kind, strange_jpeg
from alexnet.data.images.quiet import silence
from alexnet.data.images.tiff import open_tiff, reread
from alexnet.errors import ImageError, TooLarge


class _PillowRules:
    """Context in which Pillow gives no warnings, has no size limit and refuses truncated files; libtiff is silent.

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
                self._speak = silence()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._speak()
                self._warnings.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_pillow_rules = _PillowRules()
JPEG = b"\xff\xd8\xff"
AT_ONCE = 2**28  # bytes of a file that are read before it is decoded; more than a JPEG of 179 megapixels has
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else errors, which we raise, are printed, too


@contextmanager
def opened(
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
        raise ImageError(f"cannot be read: {words(error)}") from error


@contextmanager
def _header_read(source: str | Path | bytes | Image.Image) -> Iterator[Image.Image]:
    """The image with only its header read; files are closed at the end, the caller's image is not."""
    if isinstance(source, Image.Image):
        yield reread(source)
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
    start = file.read(SNIFFED)
    if not start:
        raise ImageError("empty: 0 bytes")
    if (kind := refused_kind(start)) is not None:
        raise ImageError(kind)
    if start.startswith(JPEG):
        file = _in_memory(file, start)
    try:
        return _header_of(file, start)
    except ImageError:
        raise
    except ImportError as error:
        missing = (error.name or "").replace("_", "-")
        raise ImageError(f"{name_by(start)} needs a library that is missing: pip install {missing}") from error
    except Exception as error:  # as above
        if isinstance(error, OSError) and error.errno is not None:  # an I/O error, not a damaged file
            raise
        raise ImageError(_damage(file, start)) from error


def _in_memory(file: io.BufferedIOBase, start: bytes) -> io.BufferedIOBase:
    """A file of which `start` is read, in memory unless it is very large.

    Every read of a file gives the interpreter's lock away, and threads then wait for it.
    """
    if isinstance(file, io.BytesIO):
        return file
    rest = file.read(AT_ONCE)
    return io.BytesIO(start + rest) if len(rest) < AT_ONCE else file


def _header_of(file: Any, start: bytes) -> Image.Image:
    file.seek(0)
    if is_tiff(start):
        return open_tiff(file)
    if is_heif(start):
        from pillow_heif import HeifImageFile  # used directly: registered, it would change Pillow for everyone

        heif: Image.Image = HeifImageFile(file)  # type: ignore[no-untyped-call]
        return heif
    return Image.open(file, formats=FORMATS)


def _damage(file: Any, start: bytes) -> str:
    """Why a file that is none of the refused kinds cannot be opened."""
    known = name_by(start)
    if known is None:
        return f"not an image: its content is not {NAMES}"
    strange = strange_jpeg(file) if known == "JPEG" else None
    return strange or f"truncated or damaged: starts like {known}, but the header cannot be read"


def _refuse_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLarge(f"too large: {width} x {height} pixels by its header, at most {max_pixels:,} pixels are decoded")
    if width * height == 0:
        raise ImageError(f"no pixels: {width} x {height} by its header")


def words(error: Exception) -> str:
    """The message of an exception in one line, without the file name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = re.sub(r"^(\w+ )?decoder error -?\d+.*", "its pixels cannot be decoded", text)  # Pillow's codes say nothing
    return " ".join(text.split()) or type(error).__name__
