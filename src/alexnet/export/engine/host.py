"""The engine in Python, by wasmtime: an exported page's answers without a browser."""

import atexit
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import Pixels
from alexnet.errors import UsageError, WeightsError

Floats = NDArray[np.float32]


class Host:
    """A model in the engine that pages hold: the same bytes, run by wasmtime."""

    def __init__(self, model: bytes, module: bytes) -> None:
        """model: as `alexnet.export.program` writes it. module: the engine's WebAssembly.

        UsageError without wasmtime, WeightsError for bytes that are no model.
        """
        wasmtime, compiled = _wasmtime(), _compiled(module)
        self._store = wasmtime.Store(_engine())
        self._exports = wasmtime.Instance(self._store, compiled, []).exports(self._store)
        self._memory = self._exports["memory"]
        self._memory.write(self._store, model, self._call("model", len(model)))
        if not self._call("prepare"):
            raise WeightsError(f"{len(model)} bytes that begin with {model[:4]!r} are no model; export it anew")
        words = struct.unpack_from("<16i", model)
        self._input, self._classes, self.tells_unknown = words[2], words[6], words[15] > 0

    def answer(self, image: Pixels) -> Floats:
        """uint8 (H, W, 3), upright RGB -> probabilities, float32 (K)."""
        height, width = image.shape[:2]
        rgba = np.full((height, width, 4), 255, np.uint8)
        rgba[:, :, :3] = image
        self._memory.write(self._store, rgba.tobytes(), self._call("picture", width, height))
        return self._floats(self._call("answer"), self._classes)

    def unknown(self) -> float:
        """Of the last answer: the score for 'none of these', above 1 where it is none; -1 where the model has none."""
        return float(self._call("unknown"))

    def heat(self, label: int, count: int) -> Floats:
        """Of the last answer: where the last maps support a class; their `count` values in 0..1, row by row."""
        return self._floats(self._call("heat", label), count)

    def input(self) -> Floats:
        """Of the last answer: the network's input, float32 (S, S, 3), normalised."""
        side = self._input
        return self._floats(self._call("input"), 3 * side * side).reshape(side, side, 3)

    def output(self, place: int, count: int) -> Floats:
        """Of the last answer: the first `count` values of a layer's output, channels last."""
        return self._floats(self._call("output", place), count)

    def _call(self, name: str, *arguments: int) -> Any:
        found = self._exports[name](self._store, *arguments)
        return found & 0xFFFFFFFF if isinstance(found, int) else found

    def _floats(self, at: int, count: int) -> Floats:
        return np.frombuffer(self._memory.read(self._store, at, at + 4 * count), np.float32).copy()


@lru_cache(maxsize=1)
def _engine() -> Any:
    wasmtime = _wasmtime()
    config = wasmtime.Config()
    config.wasm_simd = config.wasm_relaxed_simd = True
    return wasmtime.Engine(config)


@lru_cache(maxsize=4)
def _compiled(module: bytes) -> Any:
    return _wasmtime().Module(_engine(), module)


# At the interpreter's end wasmtime cannot free what is still held.
atexit.register(_engine.cache_clear)
atexit.register(_compiled.cache_clear)


def _wasmtime() -> Any:
    try:
        import wasmtime
    except ImportError as error:
        raise UsageError("proving a page needs the package wasmtime; install it: pip install wasmtime") from error
    return wasmtime
