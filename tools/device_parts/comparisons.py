"""What a device computes, beside the processor in float64: used by the part `correctness` and by the tests.

All errors are relative: the norm of the difference by the norm of the reference.
"""

import contextlib
import copy
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.bench.pictures import noise_store
from alexnet.console import TrainingBar
from alexnet.data.store import open_store
from alexnet.device import autocast, pick_device
from alexnet.networks import create
from alexnet.ops import LocalResponseNorm
from alexnet.runs.checkpoint import Progress, load_checkpoint, take_snapshot, write_snapshot
from alexnet.training.loop import train_epoch
from alexnet.training.recipes import recipe
from alexnet.training.recorded import USUAL
from alexnet.training.saving import Saver
from alexnet.training.supervised import Supervised, build

# What cuBLAS needs to be deterministic; it looks when a process first multiplies.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

CLASSES, IMAGES, BATCH = 4, 64, 16  # of the store that short runs train on
PLAIN = {"augment": "", "mixup": 0.0, "cutmix": 0.0, "dropout": 0.0, "warmup_epochs": 0.0, "label_smoothing": 0.0}
# (logits, gradients): what rounding makes of them, measured on the processor, with room. BatchNorm over few values
# magnifies it, and where rounding changes the sign of an activation, its gradient is there or not.
LIMITS = {torch.float32: (1e-4, 5e-3), torch.bfloat16: (0.03, 0.2)}
BATCH_NORM_LIMITS = {torch.float32: (1e-3, 0.05), torch.bfloat16: (0.1, 0.5)}
BATCH_NORM = ("article", "modern")
NORM_LIMITS = {torch.float32: 1e-5, torch.bfloat16: 0.01}


@dataclass(frozen=True)
class ShortRun:
    """A run of eight steps in float32, and how far its losses may be from the processor's, relative to them."""

    network: str
    optimizer: str
    rate: float
    limit: float


# On the processor two ways of computing float32, the native kernels and plain torch, give losses that differ by 9e-8
# ("bvlc"), 9e-4 and 4e-4 ("modern", Nesterov and Muon) at these rates. "modern" at a rate of .02: by .067 and .039, as
# BatchNorm over 16 images and activations that change their sign magnify rounding from step to step. What must be
# found: SGD in the place of Nesterov's (.035 and .045), a rate a tenth too high (.008 and .015). A GPU's gradients of
# 5 x 5 weights are right to 4e-4 (convolutions.py), and Muon computes in bfloat16 where the device has it.
SHORT_RUNS = {
    "bvlc, nesterov": ShortRun("bvlc", "nesterov", 0.01, 1e-3),
    "modern, nesterov": ShortRun("modern", "nesterov", 0.001, 1e-2),
    "modern, muon": ShortRun("modern", "muon", 0.001, 5e-2),
}
NORMS = {  # the published settings (see alexnet.ops.lrn)
    "the paper's text": LocalResponseNorm(5, 1e-4, 0.75, 2.0, alpha_over_size=False),
    "the 2012 code, between channels": LocalResponseNorm(5, 1e-4, 0.75, 2.0, groups=2),
    "the 2012 code, within a channel": LocalResponseNorm(5, 1e-3, 0.75, 1.0, within_channel=True),
    "Caffe, between channels": LocalResponseNorm(5, 1e-4, 0.75, 1.0),
}


def relative(found: Tensor, right: Tensor) -> float:
    """The norm of their difference by the norm of the reference."""
    right = right.detach().double().cpu()
    return float((found.detach().double().cpu() - right).norm() / right.norm().clamp_min(1e-30))


def network_limits(name: str, dtype: torch.dtype) -> tuple[float, float]:
    """The largest errors of logits and of gradients that are no fault."""
    return (BATCH_NORM_LIMITS if name in BATCH_NORM else LIMITS)[dtype]


def within(found: Sequence[float], limits: Sequence[float]) -> bool:
    """Whether each error is at most its limit."""
    return all(error <= limit for error, limit in zip(found, limits, strict=True))


def network_errors(name: str, device: str, size: int | None = None) -> dict[torch.dtype, tuple[float, float]]:
    """By type the errors of a network's logits and of its weights' gradients in training, without dropout.

    size: pixels a side, the network's own unless given. Eight images of noise, ten classes.
    """
    pick_device(device)
    torch.manual_seed(0)
    network = create(name, 10, size, dropout=0.0)
    images = torch.randn(8, 3, network.input_size, network.input_size)
    labels = torch.arange(8)
    right = _gradients(copy.deepcopy(network).double(), images.double(), labels, torch.float64)
    placed = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    errors = {}
    for dtype in LIMITS:
        found = _gradients(placed, images.to(device, dtype), labels.to(device), dtype)
        errors[dtype] = (relative(found[0], right[0]), relative(found[1], right[1]))
    return errors


def _gradients(network: nn.Module, images: Tensor, labels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits, and all gradients in one row."""
    network.zero_grad(set_to_none=True)
    where = torch.device(images.device.type)
    with contextlib.nullcontext() if dtype == torch.float64 else autocast(where, dtype):
        logits = network(images.contiguous(memory_format=torch.channels_last))
    F.cross_entropy(logits if dtype == torch.float64 else logits.float(), labels).backward()
    return logits, torch.cat([p.grad.flatten().cpu() for p in network.parameters() if p.grad is not None])


def norm_errors(norm: LocalResponseNorm, device: str, dtype: torch.dtype) -> tuple[float, float]:
    """The errors of a normalisation and of its gradient on a map whose energies matter beside k."""
    torch.manual_seed(0)
    x = (100 * torch.randn(2, 96, 13, 13)).to(dtype)
    upstream = torch.randn(2, 96, 13, 13).to(dtype)
    found, right = (
        _through(norm, x.to(device), upstream.to(device)),
        _through(norm, x.double(), upstream.double()),
    )
    return relative(found[0], right[0]), relative(found[1], right[1])


def _through(norm: nn.Module, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    y = norm(x)
    y.backward(upstream)
    assert x.grad is not None
    return y, x.grad


def store(folder: Path) -> str:
    """A packed store of noise that short runs learn by heart."""
    return noise_store(folder, IMAGES, CLASSES, size=64)


def short_run(packed: str, device: str, network: str = "modern", **changes: object) -> Supervised:
    """A run in float32 at 64 px, whose images are as good as the same on all devices."""
    settings = {"input_size": 64, "train_scale": 1.0, "first_train_scale": 1.0, "batch_size": BATCH, "workers": 0}
    every = {**PLAIN, **settings, "validation": 0.0, "test": 0.0, "epochs": 2, "precision": "float32", **changes}
    return build(open_store(packed), recipe(network, device=device, **every))


def losses(packed: str, device: str, run: ShortRun) -> list[float]:
    """The losses of two epochs, four steps each."""
    task = short_run(packed, device, run.network, optimizer=run.optimizer, lr=run.rate)
    task.begin_epoch(0)
    return [
        float(task.step(batch, epoch, step)[0])
        for epoch in range(2)
        for step, batch in enumerate(task.state.loader.batches(epoch))
    ]


def largest_difference(found: Sequence[float], right: Sequence[float]) -> float:
    """Of two rows of losses, relative to the right one."""
    return max(abs(one - other) / abs(other) for one, other in zip(found, right, strict=True))


def resumed_otherwise(packed: str, device: str, network: str, folder: Path) -> tuple[list[str], list[str]]:
    """Two epochs, and two with a checkpoint, another process' worth of new objects and a resume between them.

    Returns the names of the tensors that are not equal to the bit, and the operations that torch says are not
    deterministic.
    """
    settings = {"lr": 0.01, "dropout": 0.5, "augment": "crop,flip"}
    with deterministic() as warned:
        whole = short_run(packed, device, network, **settings)
        progress = Progress()
        _epoch(whole, progress)
        state = whole.state
        write_snapshot(folder, take_snapshot(progress, state.network, state.average, state.optimizer))
        _epoch(whole, progress)
        again = short_run(packed, device, network, **settings)
        state = again.state
        found = load_checkpoint(folder, state.network, state.average, state.optimizer)
        assert found is not None
        state.working.refresh()
        _epoch(again, found)
    right = whole.kept.state_dict()
    return [name for name, tensor in again.kept.state_dict().items() if not torch.equal(tensor, right[name])], warned


def _epoch(task: Supervised, progress: Progress) -> None:
    train_epoch(task, progress, TrainingBar(0), threading.Event(), Saver(minutes=60, size=0))
    progress.epoch, progress.step = progress.epoch + 1, 0


@contextlib.contextmanager
def deterministic() -> Iterator[list[str]]:
    """Inside the block torch takes deterministic algorithms where it has any; gives what it warned of, each once."""
    names: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield names
        finally:
            torch.use_deterministic_algorithms(False)
            messages = [str(each.message) for each in caught]
            names += dict.fromkeys(each.split(" ")[0] for each in messages if "deterministic" in each)


def synchronisations(task: Supervised) -> list[str]:
    """The lines, "file:line", that let the processor wait for the GPU in one training step, once it has warmed up."""
    task.begin_epoch(0)
    batch = next(iter(task.state.loader.batches(0)))
    for step in range(USUAL + 1):  # a step that is recorded waits, once
        task.step(batch, 0, step)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            task.step(batch, 0, USUAL + 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    messages = [each for each in caught if "called a synchronizing" in str(each.message)]
    return [f"{Path(each.filename).name}:{each.lineno}" for each in messages]
