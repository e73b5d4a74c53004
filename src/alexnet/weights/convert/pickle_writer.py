"""Arrays and their containers written as a pickle that Python 2 and NumPy 1 read, too."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

BINARY_STRING = 2**31 - 1  # bytes; the longest that Python 2 reads


def dump(value: Any) -> Iterator[bytes]:
    """The pickle of arrays, dict, list, tuple, str, bytes and numbers, in parts, as Python 2 and NumPy 1 read it.

    Text of ASCII becomes a str of Python 2. TypeError for a value of another type, and for arrays beyond 2 GB.
    """
    yield b"\x80\x02"
    yield from _written(value)
    yield b"."


def _written(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield from _written_array(value)
    elif isinstance(value, dict):
        yield b"}("
        for key, item in value.items():
            yield from _written(key)
            yield from _written(item)
        yield b"u"
    elif isinstance(value, (list, tuple)):
        yield b"](" if isinstance(value, list) else b"("
        for item in value:
            yield from _written(item)
        yield b"e" if isinstance(value, list) else b"t"
    else:
        yield _written_scalar(value)


def _written_scalar(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str) and not value.isascii():
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, (str, bytes)):
        text = value.encode() if isinstance(value, str) else value
        return b"T" + struct.pack("<i", len(text)) + text
    raise TypeError(f"{type(value).__name__} cannot be written")


def _written_array(array: npt.NDArray[Any]) -> Iterator[bytes]:
    """An array as NumPy 1 and Python 2 write it, in C order; of objects as a list of them."""
    objects = array.dtype.hasobject
    content = np.ascontiguousarray(array)
    if not objects and content.nbytes > BINARY_STRING:
        raise TypeError(f"an array of {content.nbytes} bytes is longer than this format holds")
    yield b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    yield from _written((0,))
    yield b"U\x01btR(K\x01"
    yield from _written(array.shape)
    yield from _written_type(content.dtype)
    yield b"\x89"
    if objects:
        yield from _written(list(array.reshape(-1)))
    else:
        yield b"T" + struct.pack("<i", content.nbytes)
        yield content.tobytes()
    yield b"tb"


def _written_type(dtype: np.dtype[Any]) -> Iterator[bytes]:
    """The type of an array's elements: its name, then the order of bytes."""
    objects = dtype.hasobject
    yield b"cnumpy\ndtype\n"
    yield from _written(("O8" if objects else dtype.str[1:], 0, 1))
    yield b"R"
    yield from _written((3, dtype.str[0], None, None, None, -1, -1, 63 if objects else 0))
    yield b"b"
