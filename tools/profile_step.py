"""Profile a training step: milliseconds by kind of operation.

    python tools/profile_step.py                          # bvlc, batch 128, the machine's best precision
    python tools/profile_step.py --recipe krizhevsky2012 --precision float32

Runs the training step of `alexnet train` repeatedly on one batch under PyTorch's profiler and prints medians. The
overhead of the profiler is part of "everything else"; the last line is a whole step without it.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from alexnet.bench.pictures import noise_store
from alexnet.bench.train import RATE, prepared
from alexnet.training.supervised import Supervised

STEPS = 7
KINDS = {  # prefix of an operator's name -> kind; the first match counts
    "alexnet::image_conv_backward": "conv1, gradient",
    "aten::convolution_backward": "other convolutions, gradients",
    "aten::mkldnn_convolution": "convolutions, forward",
    "alexnet::image_conv": "convolutions, forward",
    "alexnet::": "layers between two convolutions",
    "aten::addmm": "dense layers, forward",
    "aten::mm": "dense layers, gradients",
    "aten::native_dropout": "dropout",
    "step": "update of the weights",
}


def main() -> None:
    """Measure, and print a line per kind."""
    parser = argparse.ArgumentParser(description="Profile a training step.")
    parser.add_argument("--recipe", default="bvlc")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-size", type=int, default=128)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = 16 * given.batch_size
        store = noise_store(Path(folder), images, images // 2)
        changes = {"batch_size": given.batch_size, "precision": given.precision, "lr": RATE}
        run = prepared(store, given.recipe, changes, "cpu")
        steps, whole = measured(run)
    for kind in sorted(steps[0], key=lambda kind: -statistics.median(each[kind] for each in steps)):
        print(f"{kind:40}{statistics.median(each[kind] for each in steps):8.1f} ms")
    print(f"{'a whole step, without the profiler':40}{1e3 * statistics.median(whole):8.1f} ms")


def measured(task: Supervised) -> tuple[list[dict[str, float]], list[float]]:
    """Milliseconds by kind of each profiled step, and seconds of each step without the profiler."""
    task.begin_epoch(0)
    batch = next(iter(task.state.loader.batches(0, size=task.image_size(0))))
    seconds, steps = [], []
    for number in range(STEPS + 2):
        began = time.perf_counter()
        task.step(batch, 0, number)
        seconds.append(time.perf_counter() - began)
    for number in range(STEPS):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            began = time.perf_counter()
            task.step(batch, 0, number)
            took = time.perf_counter() - began
        steps.append(by_kind(profiler.events() or [], 1e3 * took))
    return steps, seconds[2:]


def by_kind(events: list[FunctionEvent], whole: float) -> dict[str, float]:
    """Milliseconds of one step of `whole` ms. Of nested operators only the outermost that has a kind counts."""
    found: dict[str, float] = defaultdict(float)
    for event in events:
        kind = kind_of(event)
        if kind and not any(kind_of(parent) for parent in parents(event)):
            found[kind] += event.cpu_time_total / 1e3
    return {**{kind: found[kind] for kind in KINDS.values()}, "everything else": whole - sum(found.values())}


def kind_of(event: FunctionEvent) -> str | None:
    """The kind of an operator; None if no prefix matches."""
    name = "step" if event.name.startswith("Optimizer.step") else event.name
    return next((kind for start, kind in KINDS.items() if name.startswith(start)), None)


def parents(event: FunctionEvent) -> list[FunctionEvent]:
    """The operators that called this one, innermost first."""
    found = []
    while event.cpu_parent is not None:
        event = event.cpu_parent
        found.append(event)
    return found


if __name__ == "__main__":
    main()
