"""Fixtures for the tests of kernels for GPUs, without one: what they compute, interpreted, and what they compile to."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def interpreted() -> dict[str, dict[str, Any]]:
    """What the checks of `interpreted_steps.py` found, in a process of their own."""
    pytest.importorskip("triton")
    path = os.pathsep.join([str(Path(__file__).parents[3] / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(Path(__file__).with_name("interpreted_steps.py"))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    return found


@dataclass(frozen=True)
class Compiled:
    """A kernel in the assembly of an H100."""

    ptx: str
    registers: int  # of a thread
    spilled: int  # bytes of a thread

    def accesses(self, kind: str) -> int:
        """How many instructions of this kind there are, such as ld.global.v4.b32."""
        name, _, width = kind.partition(".global")
        return len(re.findall(rf"\b{re.escape(name)}\.global[.\w]*{re.escape(width)}\b", self.ptx))


def compile_kernel(
    kernel: Any, arguments: Mapping[str, str], constants: Mapping[str, Any], options: dict[str, Any]
) -> Compiled:
    """Compile a kernel whose pointers are multiples of 16 for compute capability 9.0.

    arguments: the kinds of those that are no constants, in order, such as *fp32 or i32.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name, kind in arguments.items() if kind[0] == "*"}
    signature = {name: "constexpr" if name in constants else arguments[name] for name in names}
    values = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, constexprs=values, attrs=aligned)
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        command = [tool, "--dump-resource-usage", file.name]
        used = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", used)}
    return Compiled(built.asm["ptx"], figures["REG"], figures["STACK"] + figures["LOCAL"])


@pytest.fixture
def compiled() -> Callable[..., Compiled]:
    """`compile_kernel`; skips without Triton."""
    pytest.importorskip("triton")
    return compile_kernel
