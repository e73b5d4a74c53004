"""The device and floating-point type that a network computes with: by name, or the best that the machine has."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.errors import UsageError, unknown_name

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name` ("cpu", "cuda", "cuda:1", "mps"); "auto": a GPU if there is one, else the processor.

    Picking a CUDA device makes this process compute float32 as IEEE 754 has it (`whole_float32`). UsageError for a
    device that is unknown or not there.
    """
    device = _found(name)
    if device.type == "cuda":
        whole_float32()
    return device


def whole_float32() -> None:
    """Let CUDA compute convolutions and matrix products of float32 in float32, for this whole process.

    PyTorch lets cuDNN round what a convolution of float32 multiplies to TF32, 10 bits of mantissa in place of 23, and a
    program may have asked for the same in matrix products. Here float32 means float32: for speed there is bfloat16.
    """
    with warnings.catch_warnings():  # torch refuses an older setting that disagrees, and calls it deprecated
        warnings.simplefilter("ignore")
        torch.backends.cudnn.allow_tf32 = False
        if torch.backends.cuda.matmul.fp32_precision == "tf32":
            torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]


@contextlib.contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Context manager: CUDA computes the same bits each time, more slowly; without effect unless `wanted`.

    It takes algorithms that add in a fixed order. cuBLAS looks at its variable when a process first multiplies: enter
    this before. UsageError for an operation that has no such algorithm. Processors compute so in any case.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    filling: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), filling.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    filling.fill_uninitialized_memory = False  # what is read is written before
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        if "CUBLAS_WORKSPACE_CONFIG" in str(error):
            raise UsageError(
                "deterministic: this process has multiplied on the GPU before; set CUBLAS_WORKSPACE_CONFIG=:4096:8 "
                "in its environment"
            ) from error
        name = str(error).split(" ")[0]
        raise UsageError(
            f"deterministic: {name} has no deterministic form on this device; leave the setting out, or take another "
            "network or --device cpu"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        filling.fill_uninitialized_memory = before[1]


def seed(device: torch.device, number: int) -> None:
    """Seed torch's random numbers on the processor and on this device.

    As `torch.manual_seed`, which seeds every device that there is and takes .1 ms of each step for it.
    """
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


def _found(name: str) -> torch.device:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind = name.partition(":")[0]
    if kind not in available:
        raise unknown_name("device", name, DEVICES)
    if not available[kind]:
        raise UsageError(f"device {name!r} is not usable on this machine; take --device auto or cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is none; give one such as cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there; this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The type called `name` ("float32", "bfloat16"); "auto": bfloat16 if the device computes in it, else float32."""
    if name == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise unknown_name("precision", name, ["auto", *PRECISIONS])
    return PRECISIONS[name]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16 itself (AMX, AVX-512 BF16, CUDA from Ampere on)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


_meta = "meta"  # what the meta device stands for: set by `standing_for`


def kind_of(x: Tensor) -> str:
    """The kind of device that computes `x`: "cpu", "cuda", "mps"; of the meta device, what it stands for."""
    return _meta if x.device.type == "meta" else x.device.type


@contextlib.contextmanager
def standing_for(kind: str) -> Iterator[None]:
    """Context manager: tensors of the meta device take the way of `kind`, "cpu" or "cuda", which can so be counted."""
    global _meta
    before, _meta = _meta, kind
    try:
        yield
    finally:
        _meta = before


def has_float64(device: torch.device) -> bool:
    """Whether the device is known to compute in float64; Apple's GPUs (mps) do not."""
    return device.type in ("cpu", "cuda")


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """The context in which a float32 network computes its convolutions and products in `dtype`."""
    if dtype == torch.float32 or device.type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def computed_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """By name the parameters that autocast converts: those of convolutions and dense layers."""
    kinds = nn.Conv2d | nn.Linear
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if isinstance(network.get_submodule(name.rpartition(".")[0]), kinds)
    }


def held_weights(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """By name copies in `dtype` of what autocast would convert anew for each batch; nothing where that is float32.

    For `torch.func.functional_call`. Converting 61 million weights takes three times as long as computing one image.
    """
    if dtype == torch.float32:
        return {}
    return {name: weight.detach().to(dtype) for name, weight in computed_parameters(network).items()}
