"""Compile the kernels for a GPU that need not be there, and read from the machine code what they take.

    python -m alexnet.ops.triton.compiled        # the stages of the published networks, for sm_90 (H100, H200)

Registers and spilled bytes are ptxas's; widths are those of the loads from and stores to global memory in the machine
code. It needs Triton, which brings ptxas and cuobjdump along.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from alexnet.ops.native.operators import Stage
from alexnet.ops.triton import norm
from alexnet.ops.triton.launch import OPTIONS, Launch, backward_launches, forward_launches
from alexnet.ops.triton.published import NORMS, STAGES

CAPABILITY = 90
TYPES = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32", torch.uint8: "*u8"}
ALIGNED = [["tt.divisibility", 16]]  # what PyTorch's memory is, and what Triton finds out at the launch


@dataclass(frozen=True)
class Report:
    """What a compiled kernel takes."""

    name: str
    registers: int  # of a thread
    spilled: int  # bytes of a thread
    shared: int  # bytes of a program
    loads: dict[int, int]  # bytes of a load or store -> how many of them the machine code has

    @property
    def widest(self) -> int:
        """Bytes of the widest access to global memory."""
        return max(self.loads)


def report(launch: Launch, capability: int = CAPABILITY) -> Report:
    """Compile a launch's kernel for a compute capability such as 90."""
    names = launch.kernel.arg_names
    signature = {name: "constexpr" if name in launch.constants else _kind(launch.arguments[name]) for name in names}
    tensors = [index for index, name in enumerate(names) if isinstance(launch.arguments.get(name), Tensor)]
    source = ASTSource(
        launch.kernel,
        signature,
        constexprs={(names.index(name),): value for name, value in launch.constants.items()},
        attrs={(index,): ALIGNED for index in tensors},
    )
    built = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": launch.warps, **OPTIONS}
    )
    return read(launch.kernel.__name__, built.asm["cubin"], built.metadata.shared)


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return TYPES[value.dtype]
    return "i32" if isinstance(value, int) else "fp32"


def read(name: str, cubin: bytes, shared: int) -> Report:
    """The report of a kernel's machine code. shared: bytes that it is given at each launch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        used, code = (_told(option, path) for option in ("--dump-resource-usage", "--dump-sass"))
    figures = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", used)}
    spilled = figures["STACK"] + figures["LOCAL"]
    return Report(name, figures["REG"], spilled, shared, widths(code))


def _told(option: str, path: Path) -> str:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return subprocess.run([tool, option, path], capture_output=True, text=True, check=True).stdout


def widths(code: str) -> dict[int, int]:
    """Bytes of an access to global memory -> how many there are in this machine code."""
    found = Counter[int]()
    for kinds in re.findall(r"\b(?:LDG|STG)((?:\.\w+)+)", code):
        sizes = [int(bits) // 8 for bits in re.findall(r"\.(?:[US])?(8|16|64|128)\b", kinds)]
        found[sizes[0] if sizes else 4] += 1
    return dict(found)


def launches(
    kernel: str, stage: Stage, channels: int, side: int, dtype: torch.dtype = torch.bfloat16, images: int = 128
) -> Iterator[Launch]:
    """What a training step launches for a stage, of tensors on the meta device."""
    x = torch.empty(images, channels, side, side, device="meta", dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    y = x.new_empty(images, channels, *(stage.pooled(side),) * 2).contiguous(memory_format=torch.channels_last)
    winners = torch.empty_like(y, dtype=torch.uint8) if stage.pools else y.new_empty(0, dtype=torch.uint8)
    bias = x.new_empty(channels)
    yield from forward_launches(kernel, x, bias, stage, y, winners)
    yield from backward_launches(kernel, x, bias, y, winners, stage, x)


def norm_launches(
    stage: Stage, channels: int, side: int, dtype: torch.dtype = torch.bfloat16, images: int = 128
) -> Iterator[Launch]:
    """What a training step launches for BatchNorm and what follows it, of tensors on the meta device."""
    x = torch.empty(images, channels, side, side, device="meta", dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    held = [torch.empty(channels, device="meta") for _ in range(4)]
    y = x.new_empty(images, channels, *(stage.pooled(side),) * 2).contiguous(memory_format=torch.channels_last)
    winners = torch.empty_like(y, dtype=torch.uint8) if stage.kernel else y.new_empty(0, dtype=torch.uint8)
    yield norm.sums_launch(x)
    yield norm.forward_launch(x, held, y, winners, stage)
    yield from norm.backward_launches(x, y, winners, held, stage, True, x)


def main() -> None:
    """Print a line for each kernel of each stage."""
    print(f"sm_{CAPABILITY}, bfloat16, Triton {triton.__version__}")
    for name, (kernel, stage, shape) in STAGES.items():
        for launch in launches(kernel, stage, *shape):
            print(line(name, report(launch)))
    for name, (stage, shape) in NORMS.items():
        for launch in norm_launches(stage, *shape):
            print(line(name, report(launch)))


def line(name: str, found: Report) -> str:
    """What is printed of a kernel."""
    accesses = ", ".join(f"{count} of {width}" for width, count in sorted(found.loads.items()))
    takes = f"{found.registers:4} registers, {found.spilled} bytes spilled, {found.shared} shared"
    return f"{name:30}{found.name:16}{takes}; bytes an access: {accesses}"


if __name__ == "__main__":
    main()
