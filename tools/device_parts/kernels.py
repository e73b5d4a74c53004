"""The Triton kernels between two convolutions: errors beside float64, times beside a copy, and the step without them.

Without a GPU they are compiled for one, where Triton is installed.
"""

import functools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from alexnet.bench.pictures import noise_store
from alexnet.bench.train import step
from alexnet.bench.worker import Work, repeated
from alexnet.ops import triton
from alexnet.ops.native import operators
from alexnet.ops.native.operators import Stage
from alexnet.ops.triton.published import STAGES
from device_parts.comparisons import relative
from device_parts.record import Record, forget, in_rounds, replayed

LIMITS = {torch.float32: 1e-5, torch.bfloat16: 5e-3}
MARKED = "bvlc, after conv1"
COPIES = 4
MOST_REGISTERS = 128
IMAGES, SECONDS, ROUNDS = 128, 0.02, 5
NETWORKS = ("bvlc", "krizhevsky2012")
UNMEASURED = "not measured on a GPU"


def run(record: Record) -> None:
    """Compiled, then right, then fast."""
    try:
        compiled(record)
    except (OSError, ImportError) as error:
        record.missing(f"{MARKED}, sm_90: registers", "registers", f"not compiled: {error}")
    if record.small:
        record.missing(f"{MARKED}, forward and backward: copies of its input", "x", UNMEASURED)
        return
    for name, (kernel, stage, shape) in STAGES.items():
        for dtype, limit in LIMITS.items():
            found = errors(kernel, stage, shape, dtype, record.device)
            for what, error in zip(("output", "gradient", "gradient of the bias"), found, strict=True):
                record.add(f"{name}, {_short(dtype)}: {what}", "error", error, at_most=limit)
    for name in STAGES:
        timed(record, name)
        forget()
    steps(record)


def compiled(record: Record) -> None:
    """Registers and spills of the first stage's kernels, and the widths of their accesses."""
    from alexnet.ops.triton.compiled import launches, report  # needs Triton, which some machines lack

    kernel, stage, (channels, side) = STAGES[MARKED]
    for launch in launches(kernel, stage, channels, side):
        found = report(launch)
        note = f"{found.spilled} bytes spilled, loads up to {found.widest} bytes"
        what = f"{MARKED}, {found.name}, sm_90: registers"
        record.add(what, "registers", found.registers, at_most=MOST_REGISTERS, note=note)


def errors(
    kernel: str, stage: Stage, shape: tuple[int, int], dtype: torch.dtype, device: str, images: int = 3
) -> tuple[float, ...]:
    """Of a stage the errors of its output and of its gradients of input and bias, by the norm of what float64 gives."""
    torch.manual_seed(0)
    channels, side = shape
    x = (100 * torch.randn(images, channels, side, side)).to(device, dtype, memory_format=torch.channels_last)
    bias = torch.randn(channels, device=device)
    dy = torch.randn(images, channels, *(stage.pooled(side),) * 2, device=device).to(dtype)
    apply = functools.partial(operators.apply, kernel, stage=stage)
    found = through(lambda a, b: apply(a, bias=b), x, bias, dy)
    exact = through(lambda a, b: operators.plain(kernel, a, stage, b), x.double(), bias.double(), dy.double())
    return tuple(relative(one, right) for one, right in zip(found, exact, strict=True))


def through(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, bias: Tensor, dy: Tensor) -> tuple[Tensor, ...]:
    """The output, and the gradients of x and of the bias."""
    x, bias = x.detach().requires_grad_(), bias.detach().requires_grad_()
    y = function(x, bias)
    return (y.detach(), *torch.autograd.grad(y, (x, bias), dy))


def timed(record: Record, name: str) -> None:
    """Forward and backward in bfloat16, in copies of the stage's input; also as Python asks for them."""
    kernel, stage, (channels, side) = STAGES[name]
    x = torch.randn(IMAGES, channels, side, side, device=record.device).bfloat16()
    x = x.contiguous(memory_format=torch.channels_last)
    bias, other = torch.zeros(channels, device=record.device, requires_grad=True), torch.empty_like(x)
    dy = torch.randn(IMAGES, channels, *(stage.pooled(side),) * 2, device=record.device).bfloat16()
    dy = dy.contiguous(memory_format=torch.channels_last)

    def both() -> None:
        through(lambda a, b: operators.apply(kernel, a, stage, b), x, bias, dy)

    works = {
        "copy": repeated(replayed(lambda: other.copy_(x)), 1, SECONDS, record.device),
        "stage": repeated(replayed(both), 1, SECONDS, record.device),
        "asked": repeated(both, 1, SECONDS, record.device),
    }
    found = in_rounds(works, ROUNDS)
    ratios = [own / copy for own, copy in zip(found["stage"], found["copy"], strict=True)]
    marks = {"at_most": COPIES} if name == MARKED else {}
    stage_us, copy_us, asked_us = (1e6 * statistics.median(found[each]) for each in ("stage", "copy", "asked"))
    note = f"{stage_us:.0f} us, a copy {copy_us:.0f} us; {asked_us:.0f} us where Python asks for it"
    record.add(f"{name}, forward and backward: copies of its input", "x", *ratios, note=note, **marks)


def steps(record: Record) -> None:
    """Whole training steps with and without these kernels, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), IMAGES, IMAGES)
        for network in NETWORKS:
            changes = {"batch_size": IMAGES, "precision": "bfloat16", "workers": 0}
            build = functools.partial(step, store, network, changes, 0.1, record.device)
            found = in_rounds({"with": build(), "without": _without(build)}, ROUNDS)
            for name, times in found.items():
                what = f"{network}, batch {IMAGES}: a step {name} the kernels"
                record.add(what, "images/s", *(1 / each for each in times))
            forget()


def _without(build: Callable[[], Work]) -> Work:
    """The same work, by plain torch."""
    with triton.without():
        work = build()

    def plainly() -> float:
        with triton.without():
            return work()

    return plainly


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
