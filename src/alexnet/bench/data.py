"""Subject "data": batches from the packed store on one core; packing of JPEG files, small and large.

On one core and on two; large ones also decoded whole, not at the smallest scale that is enough.
"""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.pictures import LARGE, PHOTO, noise_store, photographs
from alexnet.bench.table import Row, memory, rate, times_as_fast
from alexnet.bench.train import PAPER, prepared
from alexnet.bench.worker import Work, repeated
from alexnet.data.images import Pixels
from alexnet.data.samples import Sample, Source
from alexnet.data.store import pack
from alexnet.memory import reuse_memory

TIMES = {PHOTO: 10, LARGE: 4}  # how often each JPEG file is packed


def measure(options: Options) -> Iterator[Row]:
    """Batches of two recipes, then packing."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _batch_rows(noise_store(Path(folder), options.images, options.classes), options)
    with tempfile.TemporaryDirectory() as folder:
        yield from _pack_rows(folder, photographs(Path(folder), max(8, options.images // 5)), options)
    with tempfile.TemporaryDirectory() as folder:
        yield from _large_rows(folder, photographs(Path(folder), max(2, options.images // 256), LARGE), options)


def _batch_rows(store: str, options: Options) -> Iterator[Row]:
    """Images per second of the paper's augmentation and of the recipe modern, and the peak memory of the former."""
    paper = _batches("batches at 227 px: crop, flip, colour noise; one core", store, options, "bvlc", augment=PAPER)
    modern = _batches("batches of the recipe modern at 160 px; one core", store, options, "modern")

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield rate("data", found[paper.name], at_least=4000)
        yield rate("data", found[modern.name])
        note = "peak, with libraries and the network, without the mapped store"
        yield memory("data", found[paper.name], note=note)

    yield from measured("batches", [paper, modern], options.repeats, rows)


def _pack_rows(folder: str, names: list[str], options: Options) -> Iterator[Row]:
    """Images per second of one and of two workers, and their ratio."""
    one, two = (_packer(folder, names, PHOTO, workers) for workers in (1, 2))

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield rate("data", found[one.name], at_least=400)
        yield rate("data", found[two.name])
        yield times_as_fast("data", "pack on two cores, by one", found[two.name], found[one.name], at_least=1.8)

    yield from measured("pack", [one, two], options.repeats, rows)


def _large_rows(folder: str, names: list[str], options: Options) -> Iterator[Row]:
    """The same for photos of 12 megapixels, beside the whole decode: Pillow's, and our own by --exact."""
    pillow, exact = (_packer(folder, names, LARGE, 1, **{how: True}) for how in ("by_pillow", "exact"))
    one, two = (_packer(folder, names, LARGE, workers) for workers in (1, 2))

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield from (rate("data", found[each.name]) for each in (pillow, exact, one, two))
        what = "pack of 12 megapixels, "
        yield times_as_fast("data", f"{what}by Pillow; one core", found[one.name], found[pillow.name], at_least=3)
        yield times_as_fast("data", f"{what}by --exact; one core", found[one.name], found[exact.name])
        yield times_as_fast("data", f"{what}two cores, by one", found[two.name], found[one.name], at_least=1.8)

    yield from measured("pack of large photos", [pillow, exact, one, two], options.repeats, rows)


def _batches(title: str, store: str, options: Options, recipe: str, **changes: Any) -> Contender:
    changes["batch_size"] = options.batch_size
    settings = {"store": store, "name": recipe, "changes": changes, "seconds": options.seconds}
    return Contender(title, f"{__name__}:batches", settings)


def _packer(folder: str, names: list[str], size: tuple[int, int], workers: int, **how: bool) -> Contender:
    cores = "one core" if workers == 1 else f"{workers} cores"
    decoded = {"exact": " --exact", "by_pillow": ", decoded whole by Pillow,"}.get(next(iter(how), ""), "")
    title = f"pack{decoded} of JPEG, {size[0]} x {size[1]}, {cores}"
    settings = {"folder": folder, "names": names * TIMES[size], "workers": workers, **how}
    return Contender(title, f"{__name__}:packing", settings)


@dataclass(frozen=True, kw_only=True, eq=False)
class ByPillow(Source):
    """Files that Pillow decodes whole, as is usual."""

    def read(self, index: int) -> Pixels:
        """uint8 (H, W, 3)."""
        with Image.open((self.root or Path()) / self.samples[index].path) as image:
            return np.array(image.convert("RGB"))


def batches(store: str, name: str, changes: dict[str, Any], seconds: float, threads: int = 1) -> Work:
    """Batches of a recipe, epoch after epoch, at its final image size, without prefetching. Unit: image."""
    torch.set_num_threads(threads)
    state = prepared(store, name, {"workers": 0, **changes}, "cpu").state
    size = round(state.loader.preprocessing.input_size * state.recipe.train_scale)
    found = itertools.chain.from_iterable(state.loader.batches(epoch, size=size) for epoch in itertools.count())
    return repeated(lambda: next(found), state.recipe.batch_size, seconds)


def packing(folder: str, names: list[str], workers: int, exact: bool = False, by_pillow: bool = False) -> Work:
    """`pack` all files with `workers` threads, until the store is finished. Unit: image."""
    reuse_memory()
    samples = [Sample(name, number % 2) for number, name in enumerate(names)]
    kind = ByPillow if by_pillow else Source
    source = kind(name="photographs", root=Path(folder), class_names=["0", "1"], samples=samples)
    store = f"store-{workers}{'-exact' if exact else ''}{'-pillow' if by_pillow else ''}"

    def once() -> float:
        pack(source, Path(folder) / store, workers=workers, exact=exact)
        return len(samples)

    once()  # bring the files into the page cache
    return once
