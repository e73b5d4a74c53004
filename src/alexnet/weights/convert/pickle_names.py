"""What the names in a pickle of arrays mean: each to a function of ours that builds the value and calls nothing else.

The state of arrays is that of `numpy.ndarray.__reduce__` and `numpy.dtype.__reduce__`, of old and new versions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

NUMBERS = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
OBJECTS = frozenset({"O", "O4", "O8"})


class Refused(Exception):
    """A step that no file of arrays needs, or that cannot be taken; the message says which."""


@dataclass(eq=False)
class Inert:
    """What stands for an object of a class that the caller knows and has no use for; it does nothing."""

    name: str
    state: Any = None


@dataclass(eq=False)
class Function:
    """A name in a file, and our function that is called for it."""

    call: Callable[..., Any]


@dataclass(eq=False)
class Class:
    """The name of a class whose objects are `Inert`, or of one that is only passed on."""

    name: str


@dataclass(eq=False)
class Type:
    """The type of an array's elements, as NumPy writes it: a name, then the order of bytes."""

    name: str
    order: str = "|"

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.name not in NUMBERS:
            raise Refused(f"it holds an array of {self.name!r}, not of numbers")
        return np.dtype(self.order + self.name)

    def set(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise Refused("it holds an array of records, not of numbers")
        if state[1] not in ("<", ">", "|", "="):
            raise Refused(f"it holds an array in the order of bytes {_short(state[1])}")
        self.order = state[1]


@dataclass(eq=False)
class Array:
    """An array that NumPy creates empty and fills in the next step; and where it is remembered until then."""

    places: list[int] = field(default_factory=list)

    def filled(self, state: Any) -> npt.NDArray[Any]:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array without its five parts")
        _, shape, kind, by_columns, content = state
        return _array(content, kind, shape, "F" if by_columns else "C")


def _array(content: Any, kind: Any, shape: Any, order: str = "C") -> npt.NDArray[Any]:
    """The array of `shape`, if the content is exactly as long as its shape says."""
    if not isinstance(kind, Type) or not isinstance(shape, tuple) or not all(_is_size(side) for side in shape):
        raise Refused("it holds an array without a shape or a type")
    count = math.prod(shape)
    if kind.name in OBJECTS:
        return _of_objects(content, count, shape)
    content, size = _bytes(content), count * kind.dtype.itemsize
    if len(content) != size:
        raise ValueError(f"an array of {shape} needs {size} bytes and has {len(content)}")
    return np.frombuffer(content, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _of_objects(content: Any, count: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if not isinstance(content, list) or len(content) != count:
        raise ValueError(f"an array of {shape} objects has another number of them")
    found = np.empty(count, object)
    for place, value in enumerate(content):
        found[place] = value
    return found.reshape(shape)


def _short(value: Any) -> str:
    """A value for a message; those that nest are not looked into."""
    return repr(value)[:20] if isinstance(value, (str, bytes, int, float)) else type(value).__name__


def _is_size(side: Any) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 2**40


def _bytes(content: Any) -> bytes:
    """Bytes, also from a string of Python 2."""
    if isinstance(content, str):
        return content.encode("latin-1")
    if isinstance(content, (bytes, bytearray)):
        return bytes(content)
    raise Refused(f"it holds {type(content).__name__} where the bytes of an array belong")


def _reconstruct(kind: Any, shape: Any = (), typecode: Any = b"") -> Array:
    if not isinstance(kind, Class) or kind.name != "numpy.ndarray":
        raise Refused("it holds an array of a class other than numpy.ndarray")
    return Array()


def _dtype(name: Any, align: Any = False, copy: Any = False) -> Type:
    if not isinstance(name, str) or name not in NUMBERS | OBJECTS:
        raise Refused(f"it holds an array of {_short(name)}, not of numbers")
    return Type(name)


def _scalar(kind: Any, content: Any = b"") -> Any:
    return _array(content, kind, ())[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"it asks for the encoding {_short(encoding)}")
    return _bytes(text)


def _no_bytes(*args: Any) -> bytes:
    """`bytes()`, as Python 3 writes b"" for Python 2."""
    if args:
        raise Refused("it asks for bytes to be made")
    return b""


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return {key_of(key): value for key, value in pairs}


def object_of(kind: Any, *rest: Any) -> Inert:
    """An object of a class of Python 2 that derives from `object`."""
    if not isinstance(kind, Class) or kind.name.startswith("numpy."):
        raise Refused("it asks for an object to be made")
    return Inert(kind.name)


NAMES: dict[str, Function | Class] = {
    **{f"numpy.{core}.multiarray._reconstruct": Function(_reconstruct) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": Function(_scalar) for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": Function(_array) for core in ("core", "_core")},
    "numpy.ndarray": Class("numpy.ndarray"),
    "numpy.dtype": Function(_dtype),
    "_codecs.encode": Function(_encode),
    "__builtin__.bytes": Function(_no_bytes),
    "builtins.bytes": Function(_no_bytes),
    "collections.OrderedDict": Function(_ordered),
    "copy_reg._reconstructor": Function(object_of),
    "__builtin__.object": Class("object"),
}


def key_of(key: Any) -> Any:
    """A key of a dictionary. Tuples are refused: nested deeply enough, hashing them ends the process."""
    if key is not None and not isinstance(key, (str, bytes, int, float, np.generic)):
        raise Refused(f"it has a dictionary whose key is a {type(key).__name__}")
    return key
