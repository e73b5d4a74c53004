"""Resize square uint8 images with Pillow, or with a native kernel that gives the same bits."""

import ctypes
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.ops import native

Integers: TypeAlias = NDArray[np.int32]

BITS = 22  # fractional bits of a weight, as in Pillow's Resample.c


def resize_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """uint8 (S, S, 3) -> uint8 (size, size, 3), bilinear and antialiased as Pillow's BILINEAR.

    `image` may be a crop: its rows need not be contiguous.
    """
    if native.instruction_set() is None:
        return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    if image.strides[1:] != (3, 1):
        image = np.ascontiguousarray(image)
    side = len(image)
    first, count, weights = _line(side, size)
    line = _Line(side, size, weights.shape[1], first.ctypes.data, count.ctypes.data, weights.ctypes.data)
    rows, row = np.empty(3 * side * size + 16, np.uint8), np.empty(3 * side + 16, np.int32)
    result = np.empty((size, size, 3), np.uint8)
    stride, arrays = ctypes.c_int64(image.strides[0]), [each.ctypes for each in (image, rows, row, result)]
    native.call("resize_square_uint8", ctypes.byref(line), stride, *arrays)
    return result


@lru_cache(maxsize=256)
def _line(side: int, size: int) -> tuple[Integers, Integers, Integers]:
    """For each output pixel: first input pixel (size,), number of input pixels (size,), their weights (size, taps).

    The formulas of `precompute_coeffs` and `normalize_coeffs_8bpc` in Pillow's Resample.c, with the same rounding.
    """
    scale = side / size
    support = max(1.0, scale)
    center = (np.arange(size) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int32), 0)
    count = np.minimum((center + support + 0.5).astype(np.int32), side) - first
    taps = np.arange(int(np.ceil(support)) * 2 + 1)
    distance = np.abs((taps + first[:, None] - center[:, None] + 0.5) * (1.0 / support))
    weights = np.where((taps < count[:, None]) & (distance < 1.0), 1.0 - distance, 0.0)
    weights = weights * (1.0 / weights.cumsum(1)[:, -1:])
    return first, count, (0.5 + weights * (1 << BITS)).astype(np.int32)


class _Line(ctypes.Structure):
    """`struct Line` of resize.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("side", "size", "taps")),
        *((name, ctypes.c_void_p) for name in ("first", "count", "weights")),
    )
