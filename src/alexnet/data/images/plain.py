"""JPEG files with nothing particular about them, as most of a data set are: read without Pillow.

Its Python code, run under the interpreter's lock, takes a fifth of what a small photo takes to pack, and threads wait
for each other there. A file is plain by the segments before its pixels (ITU-T T.81, annex B): three components of 8
bits, and nothing that Pillow's reader would act on, such as Exif, XMP or further pictures.
"""

import stat
from pathlib import Path
from typing import TypeVar

from alexnet.data.images import opening
from alexnet.data.images.pixels import Pixels
from alexnet.data.images.turbo import LEAST, turbo_rgb

T = TypeVar("T")

SCAN, PROFILE = 0xDA, 0xE2
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; by Huffman's code
# Segments that say nothing of what is stored here: tables, restarts, JFIF, Adobe's colours (the decoder's), comments.
QUIET = frozenset((0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE))
ICC = b"ICC_PROFILE\0"
HEAD = 10  # bytes of a segment that are looked at; more than these follow in every file that has pixels


def in_memory(source: T) -> T | bytes:
    """The bytes of a JPEG file that is given by its path; anything else, and what cannot be read, as it is."""
    if not isinstance(source, str | Path):
        return source
    try:
        facts = Path(source).stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size >= opening.AT_ONCE:
            return source
        with open(source, "rb") as file:
            start = file.read(len(opening.JPEG))
            return start + file.read() if start == opening.JPEG else source
    except (OSError, ValueError):
        return source  # opened again, and refused with the reason


def plain_pixels(data: bytes, max_pixels: int, at_least: int | None = None) -> Pixels | None:
    """The pixels of a plain JPEG file, uint8 (H, W, 3), upright; None for all that Pillow shall open.

    max_pixels, at_least: as for `decode`; a file that would be decoded at a smaller scale is not plain.
    """
    if not data.startswith(opening.JPEG) or (size := _size(data)) is None:
        return None
    least = min(size)
    if least < LEAST or size[0] * size[1] > max_pixels or (at_least is not None and least >= 2 * at_least):
        return None
    return turbo_rgb(data, *size)


def _size(data: bytes) -> tuple[int, int] | None:
    """Height and width by the header of a plain file; None for others."""
    size, place = None, 2
    while place + HEAD <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == SCAN:
            return size
        if marker in FRAMES and size is None and (data[place + 4], data[place + 9]) == (8, 3):
            size = _whole(data, place + 5), _whole(data, place + 7)
        elif marker not in QUIET and not (marker == PROFILE and data.startswith(ICC, place + 4)):
            return None
        place += 2 + _whole(data, place + 2)
    return None


def _whole(data: bytes, place: int) -> int:
    return data[place] << 8 | data[place + 1]
