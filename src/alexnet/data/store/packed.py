"""The store: every image decoded once, in the form that training reads without decoding it again.

A store is a folder, written whole or not at all, of S x S images:

    store.json       format and version; name, fingerprint, fractions and class names of the source; size (S); images;
                     files: bytes and SHA-256 of each other file; seal: SHA-256 of all this
    samples.csv      path,label,split: a line for each row, in the order of the rows; label indexes the class names,
                     split is "train", "val", "test" or empty
    skipped.csv      path,reason: a line for each image that could not be used
    shard-00000.bin  rows, uint8 (rows, S, S, 3), RGB, C order, nothing else; each shard but the last as many rows,
    shard-00001.bin  about a gigabyte
    ...

Rows stand in the order of the source's samples. N is the number of rows.
"""

import csv
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.images import Pixels, stored_form
from alexnet.data.samples import Sample, Source, some_names
from alexnet.data.sources import KNOWN, open_source
from alexnet.data.sources.download import cache_folder
from alexnet.data.workers import ordered_map
from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.files import exclusive_lock, recover, refuse_strangers, whole_folder

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (images done, images in all)

FORMAT = "alexnet store"
FACTS = "store.json"
VERSION = 1  # to be raised whenever other bytes would be stored for the same images
SHARD_BYTES = 2**30
MAX_BAD = 0.01
NAMED_BAD = 3  # so many bad images are named in an error
VERIFIED_BYTES = 4 * 2**30  # hashing this many takes some seconds; larger stores are only measured when opened
OPEN_SHARDS = 128  # each holds a file handle, of which macOS grants 256


@dataclass(eq=False)
class Store:
    """A sound store, its images left on disk."""

    folder: Path
    name: str  # the source's
    fingerprint: str  # the source's, when it was packed
    size: int  # pixels a side
    class_names: list[str]  # in the order of the labels
    fractions: tuple[float, float]  # shares for val and test where no split is given
    paths: list[str]  # N, as the source names them
    labels: NDArray[np.int64]  # (N,)
    splits: NDArray[np.str_]  # (N,) "train", "val", "test", or "" where the source does not say
    skipped: list[tuple[str, str]]  # path and reason of each image that could not be used
    shard_rows: int  # rows in every shard but the last

    def __post_init__(self) -> None:
        self._shard = lru_cache(OPEN_SHARDS)(self._map_shard)

    def __len__(self) -> int:
        return len(self.labels)

    def source(self) -> Source:
        """What the store kept of its source: classes and samples, to be checked as a source is, not to be read."""
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
        """Copies of these rows, in this order: uint8 (n, size, size, 3), RGB, contiguous; negative ones from the end.

        Raises IndexError for a row that does not exist, DataError when the files went away since they were checked.
        """
        rows = np.arange(len(self))[indices]
        images = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        shards, offsets = np.divmod(rows, self.shard_rows)
        for shard in np.unique(shards):
            here = shards == shard
            images[here] = self._shard(int(shard))[offsets[here]]
        return images

    def mapped(self, indices: NDArray[np.int64]) -> list[Pixels]:
        """These rows in the files' mapped memory, not copied, only to be read; errors as for `images`."""
        rows = np.arange(len(self))[indices]
        places = zip(*np.divmod(rows, self.shard_rows), strict=True)
        return [np.asarray(self._shard(int(shard)))[offset] for shard, offset in places]

    def _map_shard(self, shard: int) -> Pixels:
        rows = min(self.shard_rows, len(self) - shard * self.shard_rows)
        path = self.folder / _shard_name(shard)
        try:
            return np.memmap(path, np.uint8, "r", shape=(rows, self.size, self.size, 3))
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, f"{path.name}: {error}") from error


def pack(
    source: Source,
    folder: str | Path,
    size: int = 256,
    max_bad: float = MAX_BAD,
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
    fingerprint: str | None = None,
) -> Store:
    """Write the store of a source into `folder`, replacing a store that stands there.

    size: pixels a side; max_bad: largest share, 0..1, of images that may be skipped because they cannot be used;
    workers: threads, None for one a core; fingerprint: the source's, where it is known already.

    Raises DataError when more images are bad or a class is left with none, UsageError when `folder` holds something
    else than a store, AlexNetError when it cannot be written. Nothing is left behind then, nor after Ctrl-C. If images
    were skipped, that is said on the standard error.
    """
    folder = Path(folder)
    _refuse_settings(folder, size, max_bad)
    shard_rows = max(1, shard_bytes // _row_bytes(size))
    fingerprint = fingerprint or source.fingerprint()
    with whole_folder(folder.resolve()) as beside:  # a link stays a link
        _refuse_full_disk(folder, beside, len(source.samples) * _row_bytes(size))
        with _Files(beside, shard_rows) as files:
            _fill(files, source, size, max_bad, workers, progress)
        _refuse_empty_classes(source, files)
        _write_facts(files, source, size, fingerprint)
    if files.skipped:
        images = "1 image" if len(files.skipped) == 1 else f"{len(files.skipped):,} images"
        logger.info(f"{images} skipped, see {folder / 'skipped.csv'}")
    return open_store(folder, verify=False)


def packed(
    source: Source,
    size: int | None = None,
    max_bad: float = MAX_BAD,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """The store of this source in the cache: the one that is there, or, if it is missing or damaged, a new one.

    size: pixels a side, None for what suits the source; the rest and the errors as for `pack`. A source that changed in
    any way gets a new store. One that was packed with a larger `max_bad` is taken: its gaps were accepted then. That it
    is packed now, and why, is said on the standard error. Of several processes that want the same store one packs it.
    """
    size = source.store_size if size is None else size
    fingerprint = source.fingerprint()
    folder = _cached(source, size, fingerprint)
    with suppress(DataError):  # missing or damaged: looked into again below
        return open_store(folder)
    _refuse_settings(folder, size, max_bad)
    with exclusive_lock(folder):
        try:
            return open_store(folder)  # another process may have packed it while this one waited
        except DataError as damage:
            images = f"{len(source.samples):,} images of {source.name}"
            again = f"{damage}; packing it again now"
            logger.info(again if folder.exists() else f"packing {images} into {folder}, this once")
        return pack(source, folder, size, max_bad, workers, progress, fingerprint=fingerprint)


def named_store(
    data: str,
    split_seed: int = 0,
    size: int | None = None,
    progress: Progress | None = None,
    max_bad: float = MAX_BAD,
    *,
    look: Callable[[Source], object] | None = None,
    opener: Callable[[str, int], Source] = open_source,
) -> Store:
    """The store that a user means by `data`: one in the folder of that name, else that of `open_source(data)`.

    size: pixels a side, None for what there is or suits the source. look: raises what speaks against the data; it sees
    the source before any image is read, and what the store kept of it. opener: what reads `data` and the seed. A store
    has the given splits that it was packed with, whatever the `split_seed`. Errors as in `open_source` and `packed`;
    DataError for a store of another size.
    """
    if is_store(data):
        store = open_store(Path(data).expanduser())
        if size not in (None, store.size):
            raise DataError(
                f"store {data} has images of {store.size} px a side, {size} are needed; "
                f"write another with: alexnet pack DATA --size {size} --out FOLDER"
            )
    else:
        source = opener(data, split_seed)
        if look is not None:
            look(source)
        store = packed(source, size, max_bad, progress=progress)
    if look is not None:
        look(store.source())
    return store


def is_store(data: str) -> bool:
    """Whether `data` is a folder that holds a store, sound or not; a known name never is."""
    try:
        if data in KNOWN:
            return False
        folder = Path(data).expanduser()
        if not folder.exists():
            recover(folder)  # its writer was killed while it replaced an old store
        return (folder / FACTS).is_file()
    except OSError:
        return False  # `open_source` says what is wrong with it


def verified(data: str, size: int | None = None) -> Store:
    """The store in the folder `data`, or that of `open_source(data)` in the cache, once every checksum is right.

    Raises DataError that names all that is missing or damaged.
    """
    if is_store(data):
        return open_store(Path(data).expanduser(), verify=True)
    source = open_source(data)
    size = source.store_size if size is None else size
    return open_store(_cached(source, size, source.fingerprint()), verify=True)


def open_store(folder: str | Path, verify: bool | None = None) -> Store:
    """The store in a folder, once all its files are found, of the right size and, if verified, with the right bytes.

    verify: whether to read all images and compare checksums; None: if they are at most 4 GB.
    Raises DataError that names all that is missing or damaged.
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
        raise _damaged(folder, "; ".join(damages))
    return _read_store(folder, facts)


def each_image(source: Source) -> Iterator[Path | Pixels]:
    """What `images.decode` takes for each sample, in order.

    Raises DataError when a file that holds many images cannot be read; one that holds one is left to `decode`.
    """
    for index, sample in enumerate(source.samples):
        try:
            yield source.read(index)
        except OSError as error:
            raise DataError(f"{source.name}: cannot read {sample.path}: {error.strerror}; check the file") from error


# --- writing ---


def _fill(
    files: "_Files", source: Source, size: int, max_bad: float, workers: int | None, progress: Progress | None
) -> None:
    """Every image of the source, in order, into the files, or into their list of skipped ones."""
    total = len(source.samples)
    with ordered_map(partial(stored_form, size=size), each_image(source), workers) as results:
        for done, (sample, result) in enumerate(zip(source.samples, results, strict=True), 1):
            if isinstance(result, str):
                files.skip(sample, result)
                if len(files.skipped) >= NAMED_BAD:
                    _refuse_bad(files.skipped, total, max_bad)
            else:
                files.add(sample, result)
            if progress is not None:
                progress(done, total)
    _refuse_bad(files.skipped, total, max_bad)


class _HashedFile:
    """A new file that is hashed while it is written, and on the disk when it is closed."""

    def __init__(self, path: Path) -> None:
        self.name, self.bytes, self._hash = path.name, 0, hashlib.sha256()
        self._file = open(path, "xb")  # noqa: SIM115 - closed by `close`

    def write(self, data: str | memoryview) -> None:
        raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data  # names may be any bytes
        self._file.write(raw)
        self._hash.update(raw)
        self.bytes += len(raw) if isinstance(raw, bytes) else raw.nbytes

    def close(self) -> None:
        if not self._file.closed:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())

    def facts(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "sha256": self._hash.hexdigest()}


class _Files:
    """All files of a store but store.json, written as the images come, in memory that does not grow with them."""

    def __init__(self, folder: Path, shard_rows: int) -> None:
        self.folder, self.shard_rows = folder, shard_rows
        self.images = 0
        self.labels: set[int] = set()  # that have images
        self.skipped: list[tuple[str, str]] = []
        self.written: list[_HashedFile] = []
        self._closing = ExitStack()
        self._shard: _HashedFile  # the one being filled, from the first image on
        self._samples = csv.writer(self._new("samples.csv"), lineterminator="\n")
        self._skipped = csv.writer(self._new("skipped.csv"), lineterminator="\n")
        self._samples.writerow(["path", "label", "split"])
        self._skipped.writerow(["path", "reason"])

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def add(self, sample: Sample, image: Pixels) -> None:
        if self.images % self.shard_rows == 0:
            self._begin_shard(self.images // self.shard_rows)
        self._shard.write(image.data)
        self._samples.writerow([sample.path, sample.label, sample.split])
        self.labels.add(sample.label)
        self.images += 1

    def skip(self, sample: Sample, reason: str) -> None:
        self._skipped.writerow([sample.path, reason])
        self.skipped.append((sample.path, reason))

    def _begin_shard(self, shard: int) -> None:
        if shard > 0:
            self._shard.close()
        self._shard = self._new(_shard_name(shard))

    def _new(self, name: str) -> _HashedFile:
        file = _HashedFile(self.folder / name)
        self._closing.callback(file.close)
        self.written.append(file)
        return file


def _write_facts(files: _Files, source: Source, size: int, fingerprint: str) -> None:
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "name": source.name,
        "fingerprint": fingerprint,
        "size": size,
        "class_names": source.class_names,
        "fractions": source.fractions,
        "images": files.images,
        "shard_rows": files.shard_rows,
        "files": {file.name: file.facts() for file in files.written},
    }
    text = json.dumps({**facts, "seal": _seal(facts)}, indent=1)
    (files.folder / FACTS).write_text(text, encoding="utf-8")


# --- what stops it ---


def _refuse_settings(folder: Path, size: int, max_bad: float) -> None:
    if size < 1:
        raise UsageError(f"size {size}: at least 1 pixel a side is needed, 256 is usual")
    if not 0 <= max_bad <= 1:
        raise UsageError(f"share of bad images {max_bad}: 0 to 1 is accepted, 0.01 for one in a hundred")
    refuse_strangers(folder, _is_ours, "store")


def _refuse_full_disk(folder: Path, beside: Path, needed: int) -> None:
    """Say before hours of decoding what can be known then."""
    free = shutil.disk_usage(beside).free
    if free < needed:
        raise AlexNetError(
            f"cannot write {folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
            "free space or choose another folder"
        )


def _refuse_bad(skipped: list[tuple[str, str]], total: int, max_bad: float) -> None:
    if len(skipped) > max_bad * total:
        first = "; ".join(f"{path}: {reason}" for path, reason in skipped[:NAMED_BAD])
        raise DataError(
            f"at least {len(skipped)} of {total} images cannot be used, {100 * max_bad:g} % may be skipped: {first}; "
            "see all with `alexnet check DATA` and mend or remove them, or skip more with --max-bad 0.5"
        )


def _refuse_empty_classes(source: Source, files: _Files) -> None:
    empty = [label for label in range(len(source.class_names)) if label not in files.labels]
    if empty:
        hint = f" (skipped: {files.skipped[0][0]}: {files.skipped[0][1]})" if files.skipped else ""
        raise DataError(
            f"{source.name}: no usable images of {some_names(source.class_names, empty)}{hint}; add some or remove it"
        )


# --- reading ---


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_bytes())
        seal = facts.pop("seal")
    except FileNotFoundError as error:
        raise _damaged(folder, f"{FACTS} is missing") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(folder, f"{FACTS} cannot be read: {error}") from error
    if seal != _seal(facts):
        raise _damaged(folder, f"{FACTS} was changed: its checksum is wrong")
    if (facts["format"], facts["version"]) != (FORMAT, VERSION):
        raise DataError(
            f"store {folder} has format {facts['format']!r} version {facts['version']}, this program reads "
            f"{FORMAT!r} version {VERSION}"
        )
    return facts


def _damage(file: Path, size: int, sha256: str | None) -> str | None:
    """That a file is missing, of another size or, where a checksum is given, of other content; None if it is sound."""
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
    for path, label, split in _rows(folder / "samples.csv"):
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
        skipped=[(path, reason) for path, reason in _rows(folder / "skipped.csv")],
        shard_rows=facts["shard_rows"],
    )


def _rows(path: Path) -> Iterator[list[str]]:
    """The lines of a CSV file below its header."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        yield from rows


# --- names and sizes ---


def _cached(source: Source, size: int, fingerprint: str) -> Path:
    """Where the cache has, or would have, this source's store."""
    return cache_folder() / "stores" / f"{source.name}-{size}-{fingerprint[:16]}"


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"store {folder} is damaged: {what}")


def _seal(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _row_bytes(size: int) -> int:
    return size * size * 3


def _shard_name(shard: int) -> str:
    return f"shard-{shard:05d}.bin"


def _is_ours(name: str) -> bool:
    return name in (FACTS, "samples.csv", "skipped.csv") or re.fullmatch(r"shard-\d{5,}\.bin", name) is not None
