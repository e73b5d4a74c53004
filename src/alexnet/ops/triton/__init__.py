"""Kernels for GPUs, written in Triton: what stands between two convolutions, in few passes over memory.

They are the "cuda" side of the operators of `alexnet.ops.native.operators`, for channels-last maps in bfloat16, float16
or float32. Without Triton (Windows, some builds of PyTorch) plain torch computes instead, and one warning says so.

ALEXNET_TRITON=off does without them.
"""

import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from alexnet.device import kind_of
from alexnet.ops.native.operators import Stage, plain, transformed

VARIABLE = "ALEXNET_TRITON"
TYPES = (torch.float32, torch.bfloat16, torch.float16)
MOST_CHANNELS = 512
WIDEST = {"size": 9, "within_size": 15, "kernel": 7, "stride": 3}
"""The largest windows: of LRN between channels, of LRN within a map, of a pool, and how far apart these may lie."""
LEAST_CAPABILITY = (8, 0)  # bfloat16 is there, and Triton is tested on
MOST_ERROR = 1e-5  # of a first small result, of values of about 1

_off = False  # set by `without`


def takes(x: Tensor, stage: Stage, dims: int = 4) -> bool:
    """Whether these kernels compute `stage` of x, of `dims` dimensions, channels second, on a GPU; else plain torch."""
    return (
        kind_of(x) == "cuda"
        and x.ndim == dims
        and x.dtype in TYPES
        and x.shape[1] <= MOST_CHANNELS
        and all(getattr(stage, name) <= widest for name, widest in WIDEST.items())
        and not torch.compiler.is_exporting()  # exported graphs must run without the kernels
        and not transformed()
        and usable(x.device)
    )


def usable(device: torch.device) -> bool:
    """Whether kernels run on this device; says once why not. The meta device counts what they would move."""
    if _off or os.environ.get(VARIABLE) == "off":
        return False
    return device.type == "meta" or _usable(device.index or 0)


usable._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch.compile asks once, and looks no further


@cache
def _usable(index: int) -> bool:
    reason = _missing(index)
    if reason:
        warnings.warn(
            f"no GPU kernels: {reason}; plain torch computes instead and moves several times the bytes",
            stacklevel=2,
        )
    return reason is None


def _missing(index: int) -> str | None:
    """Why there are no kernels for the CUDA device, or None."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: pip install triton"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    found = torch.cuda.get_device_capability(index)
    if found < LEAST_CAPABILITY:
        return f"the GPU has compute capability {found[0]}.{found[1]}; they take {LEAST_CAPABILITY[0]}.0 or more"
    try:
        error = _error(torch.device("cuda", index))
    except Exception as failure:  # Triton needs a C compiler and a driver that is new enough
        return f"they do not run here: {type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
    return None if error <= MOST_ERROR else f"a first result differs from the formula by {error:.2g}"


def _error(device: torch.device) -> float:
    """The largest difference that one small stage makes to the formula, by values of about 1."""
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    from alexnet.ops.triton import launch

    stage = Stage(relu=True, size=5, alpha=0.1, kernel=3, stride=2)
    with unset_fake_temporarily(), torch.no_grad():
        x = torch.linspace(-3, 3, 8 * 49).view(1, 8, 7, 7).to(device, memory_format=torch.channels_last)
        y = torch.empty(1, 8, 3, 3, device=device).contiguous(memory_format=torch.channels_last)
        launch.forward("lrn_pool", x, None, stage, y, y.new_empty(0, dtype=torch.uint8))
        return float((y - plain("lrn_pool", x, stage)).abs().max())


@contextmanager
def without() -> Iterator[None]:
    """Context manager: plain torch computes."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before
