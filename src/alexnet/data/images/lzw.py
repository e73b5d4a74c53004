"""LZW in TIFF files that only tifffile reads, which has no decoder of its own: libtiff's is asked, through Pillow."""

import io
import struct
import zlib
from typing import Any

from PIL import Image

LZW, DEFLATE = 5, 8


def unpacked_page(page: Any, file: Any) -> Any:
    """The page of a TIFF file compressed by LZW, as tifffile's page of a copy compressed by deflate."""
    from tifffile import TiffFile

    file.seek(0)
    copy = bytearray(file.read())
    order = page.parent.byteorder
    sizes = segment_bytes(page)
    tags = {tag.code: tag for tag in page.tags.values()}
    starts, lengths = tags.get(273) or tags[324], tags.get(279) or tags[325]
    for index, (start, length) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        packed = zlib.compress(_lzw_decoded(bytes(copy[start : start + length]), sizes[index % len(sizes)]), 1)
        _patch(copy, order, starts, index, len(copy))
        _patch(copy, order, lengths, index, len(packed))
        copy += packed
    _patch(copy, order, tags[259], 0, DEFLATE)
    return TiffFile(io.BytesIO(copy)).pages[0]


def segment_bytes(page: Any) -> list[int]:
    """Decoded bytes of each strip or tile of one plane."""
    bands = page.samplesperpixel if page.planarconfig == 1 else 1
    row = -(-bands * page.bitspersample * (page.tilewidth or page.imagewidth) // 8)
    if page.is_tiled:
        return [row * page.tilelength]
    step = min(page.rowsperstrip, page.imagelength)
    return [row * min(step, page.imagelength - top) for top in range(0, page.imagelength, step)]


def _patch(copy: bytearray, order: str, tag: Any, index: int, value: int) -> None:
    form = order + {3: "H", 4: "I", 16: "Q"}[int(tag.dtype)]
    struct.pack_into(form, copy, tag.valueoffset + index * struct.calcsize(form), value)


def _lzw_decoded(packed: bytes, size: int) -> bytes:
    """Decode one strip: as a grey picture of 8 bits, one row of `size` pixels."""
    tags = [(256, size), (257, 1), (258, 8), (259, LZW), (262, 1), (273, 122), (277, 1), (278, 1), (279, len(packed))]
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags)
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    with Image.open(io.BytesIO(header + packed), formats=("TIFF",)) as strip:
        return strip.tobytes()
