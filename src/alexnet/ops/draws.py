"""Random numbers of many independent streams at once: NumPy's, by a native kernel or by NumPy's own generators.

A stream is NumPy's Philox-4x64-10, a counter-based generator (Salmon et al. 2011), under a key of two words. What is
drawn from it equals, to the last bit, what `numpy.random.Generator` draws in the same order.
"""

import ctypes
import math
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.errors import UsageError
from alexnet.ops import native

LAYERS = 256  # of the ziggurat
TAIL = 3.6541528853610088  # where its tail begins, for 256 layers of equal area (Doornik 2005, table 1)
LEAST = 1e-100  # parameter of a beta distribution whose values are not all 0 or 1 in double precision
WORDS = 4  # that a counter gives

# `struct Stream` of draws.cpp.
_STREAM = np.dtype(
    [
        ("key", np.uint64, 2),
        ("counter", np.uint64),
        ("words", np.uint64, WORDS),
        ("used", np.int32),
        ("waits", np.int32),
        ("half", np.uint32),
    ],
    align=True,
)


class _Ziggurat(ctypes.Structure):
    """`struct Ziggurat` of draws.cpp."""

    _fields_ = (
        ("width", LAYERS * ctypes.c_float),
        ("height", LAYERS * ctypes.c_float),
        ("sure", LAYERS * ctypes.c_uint32),
        ("end", ctypes.c_float),
        ("inverse", ctypes.c_float),
    )


class Streams:
    """N independent random streams, one a key; each draw takes from every stream.

    The kernel draws as long as it can: without it, and for what it has not, NumPy's generators take the streams over
    where they stand, for good.
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        """keys: uint64 (N, 2), the words of Philox's keys."""
        self._state = np.zeros(len(keys), _STREAM)
        self._state["key"], self._state["used"] = keys, WORDS
        self._generators: list[np.random.Generator] | None = None

    def __len__(self) -> int:
        return len(self._state)

    def uniform(self, low: float, high: float, count: int = 1) -> Tensor:
        """float32 (N, count) in [low, high)."""
        if self._native():
            drawn = self._drawn("uniform_float32", np.float32, (count,), ctypes.c_int64(count))
        else:
            drawn = _stacked([stream.random(count, np.float32) for stream in self.generators()], (count,))
        drawn *= np.float32(high - low)
        drawn += np.float32(low)
        return torch.from_numpy(drawn)

    def normal(self, *shape: int) -> Tensor:
        """float32 (N, *shape), standard normal."""
        if self._native():
            numbers = (ctypes.c_int64(math.prod(shape)), ctypes.byref(_ziggurat()))
            return torch.from_numpy(self._drawn("normal_float32", np.float32, shape, *numbers))
        rows = [stream.standard_normal(shape, np.float32) for stream in self.generators()]
        return torch.from_numpy(_stacked(rows, shape))

    def integers(self, high: int) -> list[int]:
        """N integers in [0, high); UsageError unless 1 <= high < 2^32."""
        if not 1 <= high < 2**32:
            raise UsageError(f"integers below {high}; the bound must be at least 1 and less than 2^32")
        if self._native():
            drawn: list[int] = self._drawn("below_int64", np.int64, (), ctypes.c_uint32(high - 1)).tolist()
            return drawn
        return [int(stream.integers(high)) for stream in self.generators()]

    def keys(self) -> Tensor:
        """int64 (N,), uniform over all values: keys for random numbers drawn elsewhere."""
        if self._native():
            return torch.from_numpy(self._drawn("keys_int64", np.int64, ()))
        drawn = [stream.integers(-(2**63), 2**63, dtype=np.int64) for stream in self.generators()]
        return torch.tensor(drawn, dtype=torch.int64)

    def beta(self, a: float) -> Tensor:
        """float32 (N,) from Beta(a, a); UsageError unless a > 0."""
        if not a > 0:
            raise UsageError(f"Beta({a}, {a}); the parameter must be above 0")
        if LEAST <= a <= 1 and self._native():  # above, NumPy divides gamma variates
            return torch.from_numpy(self._drawn("beta_float32", np.float32, (), ctypes.c_double(a)))
        return torch.tensor([stream.beta(a, a) for stream in self.generators()], dtype=torch.float32)

    def generators(self) -> list[np.random.Generator]:
        """NumPy's generators of the streams, which draw from now on."""
        if self._generators is None:
            self._generators = [_generator(state) for state in self._state]
        return self._generators

    def _native(self) -> bool:
        return self._generators is None and native.instruction_set() is not None

    def _drawn(self, kernel: str, dtype: type[np.generic], shape: tuple[int, ...], *arguments: Any) -> NDArray[Any]:
        """(N, *shape) by a kernel."""
        result = np.empty((len(self), *shape), dtype)
        places = (ctypes.c_void_p(array.ctypes.data) for array in (self._state, result))
        native.call(f"draws_{kernel}", ctypes.c_int64(len(self)), next(places), *arguments, next(places))
        return result


def _stacked(rows: list[NDArray[np.float32]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.stack(rows) if rows else np.empty((0, *shape), np.float32)


def _generator(state: np.void) -> np.random.Generator:
    """NumPy's generator of a stream, where it stands."""
    philox = np.random.Philox(key=state["key"])
    if state["counter"] or state["waits"]:
        counter = np.zeros(4, np.uint64)
        counter[0] = state["counter"]
        philox.state = {
            "bit_generator": "Philox",
            "state": {"counter": counter, "key": state["key"]},
            "buffer": state["words"],
            "buffer_pos": int(state["used"]),
            "has_uint32": int(state["waits"]),
            "uinteger": int(state["half"]),
        }
    return np.random.Generator(philox)


@cache
def _ziggurat() -> _Ziggurat:
    """256 layers of equal area under exp(-x^2 / 2), the lowest with the tail (Marsaglia and Tsang 2000).

    `ends` go from the widest layer to the narrowest: the layer that ends at x reaches from exp(-x^2 / 2) up by
    area / x, where the next one begins.
    """
    area = TAIL * _density(TAIL) + math.sqrt(math.pi / 2) * math.erfc(TAIL / math.sqrt(2))
    ends = [TAIL]
    while len(ends) < LAYERS - 1:
        ends.append(math.sqrt(-2 * math.log(area / ends[-1] + _density(ends[-1]))))
    base = area / _density(TAIL)  # the lowest layer as wide as a rectangle of its area
    widths = [base, *ends[::-1]]
    inner = [TAIL, 0.0, *ends[:0:-1]]  # of each layer: how far every point lies under the curve
    sure = [int(within / width * 2**23) for within, width in zip(inner, widths, strict=True)]
    scaled = [width / 2**23 for width in widths]
    heights = [1.0, *(_density(end) for end in ends[::-1])]
    return _Ziggurat(_floats(scaled), _floats(heights), (LAYERS * ctypes.c_uint32)(*sure), TAIL, 1 / TAIL)


def _density(x: float) -> float:
    return math.exp(-x * x / 2)


def _floats(values: list[float]) -> Any:
    return (LAYERS * ctypes.c_float)(*values)
