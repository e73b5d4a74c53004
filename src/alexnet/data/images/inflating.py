"""Compressed parts of a TIFF file that unpack to far more than the picture has, refused before they fill the memory.

tifffile unpacks a part whole, whatever its length, so that a megabyte could become a gigabyte. Each is therefore
unpacked once before, and no further than its limit.
"""

import lzma
import zlib
from typing import Any

from alexnet.data.images.lzw import segment_bytes
from alexnet.errors import ImageError

DECODERS: dict[int, Any] = {8: zlib.decompressobj, 32946: zlib.decompressobj, 34925: lzma.LZMADecompressor}
ROOM = 2  # times the bytes of a part: some writers fill up the last one


def refuse_bombs(page: Any, file: Any) -> None:
    """ImageError for a page of tifffile of which a part unpacks to more than ROOM times its bytes."""
    if page.compression not in DECODERS:
        return
    most = ROOM * max(segment_bytes(page))
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(start)
        if len(DECODERS[page.compression]().decompress(file.read(length), most + 1)) > most:
            raise ImageError(f"damaged, or made to fill the memory: a part unpacks to more than {most:,} bytes")
