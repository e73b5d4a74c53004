"""Reading a store: images are memory-mapped."""

import csv
import hashlib
import json
import logging
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.extent import Extent
from alexnet.data.form import Form
from alexnet.data.images import Pixels, ValueRange, digest
from alexnet.data.samples import Sample, Source
from alexnet.data.store.format import (
    DIGESTS,
    FACTS,
    FORMAT,
    READABLE,
    SAMPLES,
    SKIPPED,
    VERSION,
    content_of,
    damaged,
    seal,
    shard_name,
)
from alexnet.data.store.rows import Rows
from alexnet.data.workers import ordered_map
from alexnet.errors import DataError

log = logging.getLogger(__name__)

VERIFIED_BYTES = 4 * 2**30  # takes seconds to hash; of larger stores only file sizes are checked by default
HASHED = 1024  # images mapped at a time
LEAST_SHARDS, MOST_SHARDS = 128, 4096
"""Shards that stay open, one file handle each: between these, half of what the system allows (macOS 256)."""


def open_shards() -> int:
    """How many shards of a store stay open: ImageNet has 235, and a shard that is opened anew is read anew."""
    try:
        import resource
    except ImportError:  # Windows
        return LEAST_SHARDS
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_SHARDS, max(LEAST_SHARDS, allowed // 2))


@dataclass(eq=False)
class Store:
    """An opened store; its images stay on disk."""

    folder: Path
    name: str  # the source's
    fingerprint: str  # the source's, at packing
    size: int  # pixels a side
    class_names: list[str]  # in the order of the labels
    fractions: tuple[float, float]  # share of each class to draw for val and test if no split is given
    paths: list[str]  # N, the source's
    labels: NDArray[np.int64]  # (N,)
    splits: NDArray[np.str_]  # (N,) "train", "val", "test", or "" if none is given
    skipped: list[tuple[str, str]]  # (path, reason) of each unusable image
    shard_rows: int  # rows in every shard but the last
    content: str  # hexadecimal SHA-256 over class names, samples and pixels, not over times or folders
    fit: str = "crop"  # as in `Form`
    value_range: ValueRange | None = None  # as in `Form`
    exact: bool = False  # as in `Form`
    keeps_digests: bool = False  # whether digests.csv is there
    extent: Extent | None = None  # None in stores of earlier versions, which did not note it
    remarks: tuple[str, ...] = ()  # kinds of images worth a look, with a count; earlier stores lack it

    @property
    def form(self) -> Form:
        """The form of the images."""
        return Form(self.size, self.fit, self.value_range, self.exact)

    def __post_init__(self) -> None:
        self._shard = lru_cache(open_shards())(self._map_shard)

    def __len__(self) -> int:
        return len(self.labels)

    def warn_of_extent(self, crop: bool = True) -> None:
        """Log, as warnings, what the form leaves out of many images.

        crop: also of their area, for uses that still have the choice.
        """
        if self.extent is not None:
            lines = self.extent.warnings(self.form) if crop else self.extent.value_lines(self.value_range)
            for line in lines:
                log.warning("%s: %s", self.name, line)

    @cached_property
    def digests(self) -> list[str]:
        """N hexadecimal digests, equal for equal stored pixels; computed from these if the store does not keep them."""
        if self.keeps_digests:
            return [row[0] for row in _rows(self.folder / DIGESTS)]
        blocks = np.split(np.arange(len(self)), range(HASHED, len(self), HASHED))
        with ordered_map(digest, (image for rows in blocks for image in self.mapped(rows))) as found:
            return [each.hex() for each in found]

    def source(self) -> Source:
        """Classes and samples of the stored images, for checks; its images cannot be read."""
        rows = zip(self.paths, self.labels.tolist(), self.splits.tolist(), strict=True)
        return Source(
            name=self.name,
            root=None,
            class_names=self.class_names,
            samples=[Sample(*row) for row in rows],
            fractions=self.fractions,
            store_size=self.size,
        )

    def images(self, indices: NDArray[Any] | slice) -> Pixels:
        """Copies of rows: uint8 (n, size, size, 3), RGB, contiguous. Negative indices count from the end.

        Raises IndexError for a row that does not exist, DataError if files vanished after the store was opened.
        """
        rows = np.arange(len(self))[indices]
        images = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        shards, offsets = np.divmod(rows, self.shard_rows)
        for shard in np.unique(shards):
            here = shards == shard
            images[here] = self._shard(int(shard))[offsets[here]]
        return images

    def mapped(self, indices: NDArray[np.int64]) -> Sequence[Pixels]:
        """Read-only views of rows in mapped memory, each uint8 (size, size, 3); errors as for `images`."""
        rows = np.where(indices < 0, indices + len(self), indices)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {indices.min()} to {indices.max()} of a store of {len(self)} images")
        shards, offsets = np.divmod(rows, self.shard_rows)
        used, which = np.unique(shards, return_inverse=True)
        return Rows([np.asarray(self._shard(int(shard))) for shard in used], which, offsets)

    def expect(self, indices: NDArray[np.int64]) -> None:
        """Let the system read rows from the disk that will be wanted soon; nothing is waited for.

        Rows as for `mapped`. Without effect where the system has no such advice.
        """
        if not hasattr(mmap.mmap, "madvise"):
            return
        row_bytes = 3 * self.size**2
        for row in np.where(indices < 0, indices + len(self), indices).tolist():
            shard, offset = divmod(row, self.shard_rows)
            memory, first = self._shard(shard).base, offset * row_bytes
            begin = first - first % mmap.PAGESIZE
            if isinstance(memory, mmap.mmap):
                memory.madvise(mmap.MADV_WILLNEED, begin, first + row_bytes - begin)

    def fits_in_memory(self) -> bool:
        """Whether half of this machine's memory holds all images, so that a disk reads each of them once."""
        if not hasattr(os, "sysconf"):
            return True
        return 2 * 3 * self.size**2 * len(self) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def _map_shard(self, shard: int) -> Pixels:
        rows = min(self.shard_rows, len(self) - shard * self.shard_rows)
        path = self.folder / shard_name(shard)
        try:
            return np.memmap(path, np.uint8, "r", shape=(rows, self.size, self.size, 3))
        except (OSError, ValueError) as error:
            raise damaged(self.folder, f"{path.name}: {error}") from error


def open_store(folder: str | Path, verify: bool | None = None) -> Store:
    """Open the store in a folder after checking that its files are complete.

    verify: compare the checksums of the images, too; None: if they are at most 4 GB.
    Raises DataError that names everything missing or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no store at {folder}; write one with: alexnet pack DATA --out {folder}")
    facts = _read_facts(folder)
    if verify is None:
        verify = sum(file["bytes"] for file in facts["files"].values()) <= VERIFIED_BYTES
    checks = (
        _damage(folder / name, file["bytes"], file["sha256"] if verify or name.endswith(".csv") else None)
        for name, file in facts["files"].items()
    )
    if damages := [damage for damage in checks if damage]:
        raise damaged(folder, "; ".join(damages))
    return _read_store(folder, facts)


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_bytes())
        found = facts.pop("seal")
    except FileNotFoundError as error:
        raise damaged(folder, f"{FACTS} is missing") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise damaged(folder, f"{FACTS} cannot be read: {error}") from error
    if found != seal(facts):
        raise damaged(folder, f"{FACTS} was changed: its checksum is wrong")
    if facts["format"] != FORMAT or facts["version"] not in READABLE:
        raise DataError(
            f"store {folder} has format {facts['format']!r} version {facts['version']}, this program reads "
            f"{FORMAT!r} version {VERSION}"
        )
    return facts


def _damage(file: Path, size: int, sha256: str | None) -> str | None:
    """What is wrong with a file: missing, wrong size or, if a checksum is given, wrong content. None if nothing is."""
    try:
        found = file.stat().st_size
        if found != size:
            return f"{file.name} has {found} bytes instead of {size}"
        if sha256 is not None:
            with open(file, "rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
                    return f"the checksum of {file.name} is wrong"
    except OSError as error:
        return f"{file.name}: {error.strerror}"
    return None


def _read_store(folder: Path, facts: dict[str, Any]) -> Store:
    paths, labels, splits = [], [], []
    for path, label, split in _rows(folder / SAMPLES):
        paths.append(path)
        labels.append(int(label))
        splits.append(split)
    return Store(
        folder=folder,
        name=facts["name"],
        fingerprint=facts["fingerprint"],
        size=facts["size"],
        class_names=facts["class_names"],
        fractions=(facts["fractions"][0], facts["fractions"][1]),
        paths=paths,
        labels=np.array(labels, np.int64),
        splits=np.array(splits, "<U5"),
        skipped=[(path, reason) for path, reason in _rows(folder / SKIPPED)],
        shard_rows=facts["shard_rows"],
        content=content_of(facts),
        fit=facts.get("fit", "crop"),  # earlier stores lack these four
        value_range=tuple(facts["value_range"]) if facts.get("value_range") else None,
        exact=facts.get("exact", False),
        extent=Extent.from_json(facts["extent"]) if "extent" in facts else None,
        keeps_digests=DIGESTS in facts["files"],
        remarks=tuple(facts.get("remarks", ())),
    )


def _rows(path: Path) -> Iterator[list[str]]:
    """Rows of a CSV file without its header."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        yield from rows
