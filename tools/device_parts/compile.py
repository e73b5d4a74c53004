"""Our training steps beside stock networks under torch.compile, which takes most of its time before the first step."""

import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from alexnet.bench.pictures import noise_store
from alexnet.bench.worker import Work
from device_parts.record import Record
from device_parts.steps import CLASSES, NETWORKS, batches, contenders, contest, stock


def run(record: Record) -> None:
    """Every network at the smallest batch size, until the part's time is over."""
    if record.small:
        record.pass_over("not measured on a GPU: there is none")
        return
    batch_size = batches(record)[0]
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), batch_size, CLASSES)
        for network in NETWORKS:
            ours = contenders(record, network, batch_size, store)["ours"]
            theirs = partial(compiled, record, network, batch_size)
            contest(record, network, batch_size, {"ours": ours, "torch.compile": theirs})


def compiled(record: Record, network: str, batch_size: int) -> Work:
    """The work, once it is compiled for this shape alone."""
    torch.compiler.reset()
    began = time.monotonic()
    work = stock(record, network, batch_size, compiled=True)()
    record.add(f"{network}, batch {batch_size}: compiling and three steps", "s", time.monotonic() - began)
    return work
