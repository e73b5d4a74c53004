"""Load the library of native kernels and call its functions.

ALEXNET_NATIVE=off disables it; ALEXNET_NATIVE=avx2 (avx512bf16, avx512, portable) selects an instruction set instead of
the best one of the CPU. Without the library plain torch computes the same results more slowly, with one warning.
"""

import ctypes
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch  # also loads the OpenMP library that the kernels link to

from alexnet.errors import UsageError, unknown_name
from alexnet.ops.native.builder import LIBRARY, REASON, instruction_sets, source_hash

FOLDER = Path(__file__).parent
VARIABLE = "ALEXNET_NATIVE"
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}

_chosen: str | None = None  # set by `using`
_of_thread = threading.local()


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None, with a warning, if there is none that was built from these sources."""
    try:
        return _load()
    except LookupError as error:
        warnings.warn(
            f"no native operators: {error.args[0]}; plain torch computes instead, several times slower; to build them"
            " install a C++ compiler and run: python -m alexnet.ops.native",
            stacklevel=2,
        )
        return None


def _load() -> ctypes.CDLL:
    """The library; raises LookupError with the reason if there is none that matches the sources."""
    if not (FOLDER / LIBRARY).is_file():
        reason = FOLDER / REASON
        raise LookupError(
            reason.read_text(encoding="utf-8").strip() if reason.is_file() else "this installation has none"
        )
    try:
        loaded = ctypes.CDLL(str(FOLDER / LIBRARY))
        loaded.alexnet_sources.restype = loaded.alexnet_instruction_set.restype = ctypes.c_char_p
        built_from = loaded.alexnet_sources().decode()
    except (OSError, AttributeError) as error:
        raise LookupError(f"{LIBRARY} cannot be loaded: {error}") from error
    if built_from != source_hash(FOLDER):
        raise LookupError(f"{LIBRARY} was built from other sources")
    return loaded


def instruction_set() -> str | None:
    """The instruction set of the kernels in use, or None if they are disabled or missing."""
    wanted = _chosen or os.environ.get(VARIABLE) or "auto"
    if wanted == "off":
        return None
    if wanted != "auto" and wanted not in instruction_sets():
        raise unknown_name(VARIABLE, wanted, ["auto", "off", *instruction_sets()])
    found = library()
    if found is None:
        return None
    best = found.alexnet_instruction_set().decode()
    if wanted == "auto":
        return str(best)
    known = list(instruction_sets())
    if known.index(wanted) < known.index(best):
        raise UsageError(f"{VARIABLE} is {wanted!r}, which this processor lacks; it has {best}: take auto")
    return wanted


# The effect of torch.compiler.assume_constant_result, which would import the compiler: three seconds at every start.
instruction_set._dynamo_marked_constant = True  # type: ignore[attr-defined]


@contextmanager
def using(name: str) -> Iterator[None]:
    """Context manager: use the kernels of one instruction set; "off" disables them, "auto" takes the best."""
    global _chosen
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def threads() -> int:
    """Threads that a kernel called from this thread may take: PyTorch's number, or what `limit_threads` set."""
    return getattr(_of_thread, "count", None) or torch.get_num_threads()


def limit_threads(count: int) -> None:
    """Let this thread, one of several that share the cores, compute with `count` of them.

    That holds for kernels, and for PyTorch where the library shares its OpenMP: each thread that calls would have as
    many helpers as there are cores.
    """
    _of_thread.count = count
    torch.get_num_threads()  # when a thread first asks, PyTorch sets its own number
    if instruction_set() is not None:
        with suppress(AttributeError):  # built without OpenMP
            getattr(library(), "omp_set_num_threads")(count)  # noqa: B009 - this thread's number alone


def call(kernel: str, *arguments: Any) -> None:
    """Call `kernel` of the instruction set in use; arguments are ctypes values and tensors, passed by address.

    Releases the GIL. The caller must check shapes, dtypes and memory layouts.
    """
    function = getattr(library(), f"{kernel}_{instruction_set()}")
    function.restype = None
    function(*(ctypes.c_void_p(each.data_ptr()) if isinstance(each, torch.Tensor) else each for each in arguments))
