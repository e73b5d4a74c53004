"""Kernels for GPUs, written in Triton.

ALEXNET_TRITON=off does without them.
"""

import importlib.util
import os
import warnings
from functools import cache

import torch

VARIABLE = "ALEXNET_TRITON"
LEAST_CAPABILITY = (8, 0)  # bfloat16 is there, and Triton is tested on


def usable(device: torch.device) -> bool:
    """Whether kernels run on this CUDA device; says once why not."""
    return os.environ.get(VARIABLE) != "off" and _usable(device.index or 0)


@cache
def _usable(index: int) -> bool:
    reason = _missing(index)
    if reason:
        warnings.warn(f"no GPU kernels: {reason}; plain torch computes instead", stacklevel=2)
    return reason is None


def _missing(index: int) -> str | None:
    """Why there are no kernels for the CUDA device, or None."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; where it is to be had: pip install triton"
    found = torch.cuda.get_device_capability(index)
    if found < LEAST_CAPABILITY:
        return f"the GPU has compute capability {found[0]}.{found[1]}; they take {LEAST_CAPABILITY[0]}.0 or more"
    return None
