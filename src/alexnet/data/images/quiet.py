"""libtiff writes what it finds wrong with a file to standard error itself; while we read, it is told not to.

Pillow raises an error for the same, which we give in one line. libtiff's handlers belong to the whole process, so they
are put back when no one reads any more. Where Pillow hides the functions, as on Windows, nothing changes.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from PIL import _imaging

HANDLERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")


def silence() -> Callable[[], None]:
    """Silence libtiff; gives the function that lets it speak as before."""
    before = [(setter, setter(None)) for setter in _setters()]

    def restore() -> None:
        for setter, handler in before:
            setter(handler)

    return restore


@lru_cache(1)
def _setters() -> list[Any]:
    """libtiff's functions, which take a handler or NULL and return the one before, in the library Pillow has loaded."""
    try:
        library = ctypes.CDLL(_imaging.__file__)
        setters = [getattr(library, name) for name in HANDLERS]
    except (AttributeError, OSError, TypeError):
        return []
    for setter in setters:
        setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
    return setters
