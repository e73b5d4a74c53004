"""The input path: batches from the packed store on one core, and the store from JPEG files on one core and on two."""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import torch

from alexnet.bench.measure import Contender, Options, race
from alexnet.bench.pictures import noise_store, photographs
from alexnet.bench.table import Row, memory, rate, times_as_fast
from alexnet.bench.train import PAPER, prepared
from alexnet.bench.worker import Work, repeated
from alexnet.data.samples import Sample, Source
from alexnet.data.store import pack
from alexnet.memory import reuse_memory

TIMES = 10  # each JPEG file is packed so often


def measure(options: Options) -> list[Row]:
    """Batches as two recipes make them, and packing."""
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), options.images, options.classes)
        changes = {"batch_size": options.batch_size}
        paper = _batches("batches at 227 px: crop, flip, colour noise; one core", store, options)
        modern = _batches("batches of the recipe modern at 160 px; one core", store, options, name="modern", **changes)
        loaded = race("batches", [paper, modern], options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        names = photographs(Path(folder), max(8, options.images // 5))
        packers = [_packer(folder, names, workers) for workers in (1, 2)]
        made = race("pack", packers, options.repeats)
    one, two = (made[each.name] for each in packers)
    return [
        rate("data", loaded[paper.name], at_least=4000),
        rate("data", loaded[modern.name]),
        memory("data", loaded[paper.name], note="peak, with libraries and the network, without the mapped store"),
        rate("data", one, at_least=400),
        rate("data", two),
        times_as_fast("data", "pack on two cores, by one", two, one, at_least=1.9),
    ]


def _batches(title: str, store: str, options: Options, name: str = "bvlc", **changes: Any) -> Contender:
    changes = {"batch_size": options.batch_size, "augment": PAPER} if name == "bvlc" else changes
    settings = {"store": store, "name": name, "changes": changes, "seconds": options.seconds}
    return Contender(title, f"{__name__}:batches", settings)


def _packer(folder: str, names: list[str], workers: int) -> Contender:
    title = f"pack of JPEG, 500 x 375, {'one core' if workers == 1 else f'{workers} cores'}"
    return Contender(title, f"{__name__}:packing", {"folder": folder, "names": names, "workers": workers})


def batches(store: str, name: str, changes: dict[str, Any], seconds: float, threads: int = 1) -> Work:
    """A recipe's batches, epoch after epoch, at the size of the run's end; none is prepared ahead. Unit: image."""
    torch.set_num_threads(threads)
    state = prepared(store, name, {"workers": 0, **changes}, "cpu").state
    size = round(state.loader.preprocessing.input_size * state.recipe.train_scale)
    found = itertools.chain.from_iterable(state.loader.batches(epoch, size=size) for epoch in itertools.count())
    return repeated(lambda: next(found), state.recipe.batch_size, seconds)


def packing(folder: str, names: list[str], workers: int) -> Work:
    """`pack` of JPEG files by so many threads, from the first file to the finished store. Unit: image."""
    reuse_memory()
    samples = [Sample(name, number % 2) for number, name in enumerate(names * TIMES)]
    source = Source(name="photographs", root=Path(folder), class_names=["0", "1"], samples=samples)

    def once() -> float:
        pack(source, Path(folder) / f"store-{workers}", workers=workers)
        return len(samples)

    once()  # reads the files from the disk
    return once
