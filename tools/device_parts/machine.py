"""What the machine is, and what it does at best: matrix products by precision, copies on the GPU and to it."""

import contextlib
from collections.abc import Iterator

import torch

from alexnet.bench.ceilings import copy_of_buffer, copy_of_map, matrix_product
from alexnet.bench.worker import Work, repeated
from device_parts.record import Record, in_rounds

SECONDS, ROUNDS = 0.2, 5
BUFFER = 2**28  # bytes
PRODUCTS = {"bfloat16": ("bfloat16", "ieee"), "TF32": ("float32", "tf32"), "float32": ("float32", "ieee")}


def run(record: Record) -> None:
    """All, each five times."""
    if not record.small:
        facts(record)
    products(record)
    copies(record)


def facts(record: Record) -> None:
    """The card's own numbers."""
    card = torch.cuda.get_device_properties(0)
    record.add("compute capability", "", float(f"{card.major}.{card.minor}"))
    record.add("memory of the card", "GB", card.total_memory / 1e9)
    record.add("multiprocessors", "", card.multi_processor_count)
    record.add("cuDNN", "", torch.backends.cudnn.version() or 0)


def products(record: Record) -> None:
    """Of square matrices, in the fastest layout."""
    side, seconds = (256, 0.0) if record.small else (8192, SECONDS)
    for name, (precision, kind) in PRODUCTS.items():
        with float32_as(kind):
            work = matrix_product(precision, side, seconds, record.device)
            found = in_rounds({name: work}, ROUNDS)[name]
        record.add(f"matrix product, {name}, {side} cubed", "TFLOP/s", *(1e-12 / each for each in found))


def copies(record: Record) -> None:
    """Bytes read and bytes written count on the device, bytes moved between it and the processor."""
    seconds = 0.0 if record.small else SECONDS
    works: dict[str, Work] = {
        "copy of a map, bfloat16 128 x 96 x 55 x 55": copy_of_map(seconds, record.device),
        "copy of 256 MiB": copy_of_buffer(seconds, record.device, BUFFER),
        **({} if record.small else transfers(seconds, record.device)),
    }
    for name, found in in_rounds(works, ROUNDS).items():
        record.add(name, "GB/s", *(1e-9 / each for each in found))


def transfers(seconds: float, device: str) -> dict[str, Work]:
    """256 MiB to the GPU and back, from memory that the system may move and from memory that it may not."""
    there = torch.empty(BUFFER, dtype=torch.uint8, device=device)
    pageable, pinned = (torch.ones(BUFFER, dtype=torch.uint8, pin_memory=pinned) for pinned in (False, True))
    return {
        "256 MiB to the GPU, pageable": repeated(lambda: there.copy_(pageable), BUFFER, seconds, device),
        "256 MiB to the GPU, pinned": repeated(lambda: there.copy_(pinned, True), BUFFER, seconds, device),
        "256 MiB from the GPU, pinned": repeated(lambda: pinned.copy_(there, True), BUFFER, seconds, device),
    }


@contextlib.contextmanager
def float32_as(kind: str) -> Iterator[None]:
    """How matrix products of float32 are computed inside the block: "ieee" or "tf32"."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = kind
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
