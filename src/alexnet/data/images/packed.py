"""TIFF files of 2 to 15 bits a value, packed without gaps, which tifffile unpacks only with a further package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = (*range(2, 8), *range(9, 16))
COMPRESSIONS = (1, 8, 32946)  # none, and both numbers of deflate
AT_ONCE = 2**20  # bytes of rows that are unpacked at once, for each becomes 24


def is_packed(page: Any) -> bool:
    """Whether a page is of that variety, in strips whose bytes are decoded by `unpacked`."""
    known = page.bitspersample in BITS and page.dtype.kind == "u"
    return known and not page.is_tiled and page.compression in COMPRESSIONS and page.predictor == 1


def unpacked(page: Any, file: Any) -> NDArray[Any]:
    """All values of a page as its type, flat, in the file's order; each row begins with a byte of its own."""
    from tifffile import TIFF

    in_row = page.imagewidth * (page.samplesperpixel if page.planarconfig == 1 else 1)
    weights = 1 << np.arange(page.bitspersample)[::-1]
    size = -(-in_row * page.bitspersample // 8)
    at_once = max(1, AT_ONCE // size)
    parts = []
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(start)
        data = np.frombuffer(TIFF.DECOMPRESSORS[page.compression](file.read(length)), np.uint8)
        rows = data[: data.size // size * size].reshape(-1, size)
        for top in range(0, len(rows), at_once):
            bits = np.unpackbits(rows[top : top + at_once], axis=1)[:, : in_row * page.bitspersample]
            values = bits.reshape(-1, page.bitspersample) @ weights.astype(np.uint16)
            parts.append(values.astype(page.dtype.newbyteorder("=")))
    return np.concatenate(parts)
