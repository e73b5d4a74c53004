"""Packing divided among machines: one part's images decoded and kept, or the store written from all parts.

A part has `pixels.bin`, uint8 (rows, S, S, 3), and `images.jsonl`, a line for each sample: what packing notes of it, or
the reason why it cannot be used. The store is written from these as from the images themselves, so that it equals, byte
for byte, the one that a single command packs.
"""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alexnet import __version__
from alexnet.data.form import Form, Packed
from alexnet.data.images import ValueRange, Values
from alexnet.data.samples import Source, each_image
from alexnet.data.store.format import VERSION, row_bytes
from alexnet.data.store.reader import Store
from alexnet.data.store.writer import (
    SHARD_BYTES,
    Prepared,
    Progress,
    prepared,
    refuse_bad,
    refuse_full_disk,
    refuse_settings,
    refuse_values,
    write,
)
from alexnet.data.workers import ordered_map
from alexnet.errors import DataError
from alexnet.processes.parts import Kept, Parts
from alexnet.processes.shards import Shard

PIXELS, IMAGES = "pixels.bin", "images.jsonl"


def pack_part(
    source: Source,
    folder: Path,
    shard: Shard,
    form: Form,
    max_bad: float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Kept:
    """Decode one part of a source's images and keep it in a folder of parts.

    max_bad: as for `pack`, of all images: a part is refused only where it alone has more that cannot be used.
    """
    refuse_values(form.size, max_bad)
    low, high = shard.bounds(len(source.samples), 1)

    def fill(part: Path) -> int:
        refuse_full_disk(folder, part, (high - low) * row_bytes(form.size))
        with (
            ordered_map(partial(prepared, form), each_image(source, low, high), workers) as images,
            (part / PIXELS).open("wb") as pixels,
            (part / IMAGES).open("w", encoding="utf-8") as lines,
        ):
            skipped = []
            for done, (sample, image) in enumerate(zip(source.samples[low:high], images, strict=True), 1):
                if isinstance(image, str):
                    skipped.append((sample.path, image))
                    refuse_bad(skipped, len(source.samples), max_bad)
                else:
                    pixels.write(image[0].pixels.data)
                lines.write(json.dumps(image if isinstance(image, str) else _noted(*image)) + "\n")
                if progress is not None:
                    progress(done, high - low)
        return high - low

    return _parts(source, folder, form, source.fingerprint()).keep(shard, fill)


def pack_whole(
    parts: Path,
    source: Source,
    folder: str | Path,
    size: int = 256,
    max_bad: float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
    fingerprint: str | None = None,
    fit: str = "crop",
    value_range: ValueRange | None = None,
    exact: bool = False,
) -> Store:
    """As `pack`, from the parts in a folder; nothing is decoded, and `workers` has no part in it."""
    form, fingerprint = Form(size, fit, value_range, exact), fingerprint or source.fingerprint()
    refuse_settings(Path(folder), size, max_bad)
    kept = _parts(source, parts, form, fingerprint).all()
    return write(nullcontext(_images(kept, size)), source, folder, form, max_bad, progress, shard_bytes, fingerprint)


def _parts(source: Source, folder: Path, form: Form, fingerprint: str) -> Parts:
    told = {"command": "pack", "alexnet": __version__, "store": VERSION, "data": fingerprint}
    return Parts(folder, {**told, **asdict(form)})


def _images(kept: list[Kept], size: int) -> Iterator[Prepared]:
    """Every image of all parts, in order, as `prepared` gave it; DataError for a part whose files disagree."""
    for part in kept:
        with (part.folder / PIXELS).open("rb") as pixels, (part.folder / IMAGES).open(encoding="utf-8") as lines:
            for line in lines:
                noted = json.loads(line)
                yield noted if isinstance(noted, str) else _read(noted, pixels.read(row_bytes(size)), size, part.folder)
            if pixels.read(1):
                raise DataError(f"part {part.folder} has more pixels than images; remove it and make it again")


def _noted(image: Packed, digest: str) -> dict[str, Any]:
    """What packing notes about an image, without its pixels, as JSON values."""
    return {**image._asdict(), "pixels": digest, "values": image.values._asdict()}


def _read(noted: dict[str, Any], pixels: bytes, size: int, part: Path) -> Prepared:
    """The image that `_noted` wrote down."""
    if len(pixels) != row_bytes(size):
        raise DataError(f"part {part} has fewer pixels than images; remove it and make it again")
    values = Values(**{**noted["values"], "usual": _tuple(noted["values"]["usual"])})
    image = np.frombuffer(pixels, np.uint8).reshape(size, size, 3)
    rest = (noted["width"], noted["height"], values, _tuple(noted["color"]), tuple(noted["notes"]))
    return Packed(image, *rest), noted["pixels"]


def _tuple(found: list[Any] | None) -> Any:
    return None if found is None else tuple(found)
