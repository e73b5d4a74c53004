"""Training steps of stock networks under torch.compile, which takes most of its time before the first step."""

import time

import torch

from alexnet.bench.worker import Work
from device_parts.record import Record
from device_parts.steps import NETWORKS, batches, contest, stock


def run(record: Record) -> None:
    """Every network at every batch size, until the part's time is over."""
    if record.small:
        record.pass_over("not measured on a GPU: there is none")
        return
    for batch_size in batches(record):
        for network in NETWORKS:
            contest(
                record, network, batch_size, {"torch.compile": lambda n=network, b=batch_size: compiled(record, n, b)}
            )


def compiled(record: Record, network: str, batch_size: int) -> Work:
    """The work, once it is compiled for this shape alone."""
    torch.compiler.reset()
    began = time.monotonic()
    work = stock(record, network, batch_size, compiled=True)()
    record.add(f"{network}, batch {batch_size}: compiling and three steps", "s", time.monotonic() - began)
    return work
