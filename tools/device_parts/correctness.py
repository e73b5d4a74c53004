"""What the GPU computes beside the processor, and what a training step lets the processor wait for.

Without a GPU the processor's float32 and bfloat16 are compared, on small images.
"""

import tempfile
from pathlib import Path

import torch

from alexnet.networks import list_networks
from device_parts import comparisons
from device_parts.record import Record, forget

SMALL = {"modern": 64, "cifar-11pct": None}  # networks that are compared without a GPU, pixels a side


def run(record: Record) -> None:
    """Short comparisons first."""
    norms(record)
    with tempfile.TemporaryDirectory() as folder:
        packed = comparisons.store(Path(folder))
        training(record, packed)
        resuming(record, packed, Path(folder))
        if not record.small:
            waiting(record, packed)
    networks(record)


def norms(record: Record) -> None:
    """Every published setting of LRN."""
    for name, norm in comparisons.NORMS.items():
        for dtype, limit in comparisons.NORM_LIMITS.items():
            errors = comparisons.norm_errors(norm, record.device, dtype)
            record.add(f"LRN, {name}, {_short(dtype)}", "error", max(errors), at_most=limit)


def networks(record: Record) -> None:
    """Every network at its own size."""
    for name in SMALL if record.small else list_networks():
        errors = comparisons.network_errors(name, record.device, SMALL[name] if record.small else None)
        for dtype, (logits, gradients) in errors.items():
            limits = comparisons.network_limits(name, dtype)
            record.add(f"{name}, {_short(dtype)}: logits", "error", logits, at_most=limits[0])
            record.add(f"{name}, {_short(dtype)}: gradients", "error", gradients, at_most=limits[1])
        if not record.small:
            forget()


def training(record: Record, packed: str) -> None:
    """The losses of eight steps beside the processor's."""
    for name, run in list(comparisons.SHORT_RUNS.items())[: 1 if record.small else None]:
        right, found = (comparisons.losses(packed, device, run) for device in ("cpu", record.device))
        error = comparisons.largest_difference(found, right)
        note = f"from {right[0]:.3f} to {right[-1]:.3f}"
        record.add(f"losses of 8 steps, float32, {name}", "error", error, at_most=run.limit, note=note)


def resuming(record: Record, packed: str, folder: Path) -> None:
    """To the bit, with deterministic algorithms."""
    for network in ("cifar-19pct",) if record.small else ("modern", "bvlc"):
        differing, warned = comparisons.resumed_otherwise(packed, record.device, network, folder / network)
        note = f"not deterministic: {', '.join(warned)}" if warned else "all operations deterministic"
        what = f"{network}: tensors that differ after a resume"
        record.add(what, "tensors", len(differing), at_most=0, note=note)


def waiting(record: Record, packed: str) -> None:
    """Synchronisations of a step."""
    for network in ("bvlc", "modern"):
        run = comparisons.short_run(packed, record.device, network, precision="bfloat16")
        places = comparisons.synchronisations(run)
        record.add(
            f"{network}: synchronisations of a step", "times", len(places), at_most=0, note=", ".join(places) or "none"
        )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
