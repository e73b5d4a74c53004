"""The kernels' library: found, checked, loaded, and called.

ALEXNET_NATIVE=off leaves it unused; ALEXNET_NATIVE=avx2 (avx512bf16, avx512, portable) takes that instruction set in
place of the best one that the processor has. Where it is missing everything is computed in plain torch, which is slower
and right, and that is said once.
"""

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch  # loads the OpenMP library that the kernels share, too

from alexnet.errors import UsageError, unknown_name
from alexnet.ops.native.builder import LIBRARY, REASON, instruction_sets, source_hash

FOLDER = Path(__file__).parent
VARIABLE = "ALEXNET_NATIVE"
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}

_chosen: str | None = None  # by `using`


@cache
def library() -> ctypes.CDLL | None:
    """The library; None where there is none that belongs to these sources, which is said once, with what to do."""
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
    """The library; LookupError with the reason where there is none that fits."""
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
    """The name of the instruction set that kernels are called for now; None where they are not to be used."""
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


# What torch.compiler.assume_constant_result does, which imports the whole compiler: three seconds at every start.
instruction_set._dynamo_marked_constant = True  # type: ignore[attr-defined]


@contextmanager
def using(name: str) -> Iterator[None]:
    """Inside the block kernels of this instruction set are called; "off": none, "auto": the best."""
    global _chosen
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def call(kernel: str, *arguments: Any) -> None:
    """Call `kernel` for the present instruction set: ctypes values and tensors, of which the address is handed on.

    The interpreter lock is released. Shapes, types and memory layouts are the caller's to check.
    """
    function = getattr(library(), f"{kernel}_{instruction_set()}")
    function.restype = None
    function(*(ctypes.c_void_p(each.data_ptr()) if isinstance(each, torch.Tensor) else each for each in arguments))
