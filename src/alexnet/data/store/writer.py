"""Writing a store: decode each image of a source once."""

import csv
import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from alexnet.data.extent import Extent
from alexnet.data.form import Form, Packed
from alexnet.data.images import ImageSource, ValueRange, digest
from alexnet.data.samples import Sample, Source, each_image, some_names
from alexnet.data.store.format import (
    DIGESTS,
    FACTS,
    FORMAT,
    SAMPLES,
    SKIPPED,
    VERSION,
    is_ours,
    row_bytes,
    seal,
    shard_name,
)
from alexnet.data.store.reader import Store, open_store
from alexnet.data.workers import ordered_map
from alexnet.errors import AlexNetError, DataError, ImageError, UsageError
from alexnet.files import refuse_strangers, whole_folder

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (images done, images in all)
Prepared = tuple[Packed, str] | str  # what `prepared` gives

SHARD_BYTES = 2**30
FLUSHED_BYTES = 2**25  # of a file, brought to the disk beside the packing each time that so many are new
MAX_BAD = 0.01
FEW_BAD = 10  # bad images that are skipped in any case where no share is given
NAMED_BAD = 3  # bad images named in an error, and where a store is used again


def pack(
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
    """Write the store of a source into `folder`; an existing store there is replaced.

    size, fit, value_range, exact: as in `Form`. max_bad: accepted share of unusable images, 0..1; None: MAX_BAD, or
    FEW_BAD images if that is more, as long as each class that they are of keeps two images. workers: threads, None for
    one per core. fingerprint: that of the source if already computed.

    Raises DataError if more images are bad or a class has none left, UsageError if `folder` holds anything but a store,
    AlexNetError if it cannot be written. After an error or Ctrl-C no partial store remains. Skipped images and
    images of one colour are logged as warnings.
    """
    form = Form(size, fit, value_range, exact)
    images = ordered_map(partial(prepared, form), each_image(source), workers)
    return write(images, source, folder, form, max_bad, progress, shard_bytes, fingerprint)


def write(
    images: AbstractContextManager[Iterable[Prepared]],
    source: Source,
    folder: str | Path,
    form: Form,
    max_bad: float | None = None,
    progress: Progress | None = None,
    shard_bytes: int = SHARD_BYTES,
    fingerprint: str | None = None,
) -> Store:
    """Write the store of a source from its images, each as `prepared` gives it, in the order of the samples.

    images: begun once nothing speaks against the store. Otherwise as `pack`.
    """
    folder, size = Path(folder), form.size
    refuse_settings(folder, size, max_bad)
    shard_rows = max(1, shard_bytes // row_bytes(size))
    fingerprint = fingerprint or source.fingerprint()
    with whole_folder(folder.resolve()) as beside:  # a link stays a link
        refuse_full_disk(folder, beside, len(source.samples) * row_bytes(size))
        with _Files(beside, shard_rows) as files, images as results:
            _fill(files, results, source, max_bad, progress)
        _refuse_empty_classes(source, files)
        _refuse_small_classes(source, files, max_bad)
        _refuse_blank(source, files, form)
        _write_facts(files, source, form, fingerprint)
    store = open_store(folder, verify=False)
    warn_of_images(store)
    return store


def warn_of_images(store: Store, named: int = FEW_BAD) -> None:
    """Log the images of the source that are missing in the store, in one line, and what is particular about others.

    named: how many of the missing ones are named.
    """
    if store.skipped:
        images = "1 image" if len(store.skipped) == 1 else f"{len(store.skipped):,} images"
        listed = "; ".join(f"{path}: {reason}" for path, reason in store.skipped[:named])
        more = f"; and {len(store.skipped) - named:,} more" if len(store.skipped) > named else ""
        log.warning("%s skipped (%s%s), see %s", images, listed, more, store.folder / SKIPPED)
    if store.remarks:
        log.warning("%s: images worth a look: %s", store.name, "; ".join(store.remarks))


def most_bad(total: int, max_bad: float | None = None) -> float:
    """Number of unusable images among `total` that are skipped; more stop the packing."""
    return max(MAX_BAD * total, FEW_BAD) if max_bad is None else max_bad * total


def _fill(
    files: "_Files", images: Iterable[Prepared], source: Source, max_bad: float | None, progress: Progress | None
) -> None:
    """Store every image of the source in order; list those that cannot be used."""
    total = len(source.samples)
    for done, (sample, result) in enumerate(zip(source.samples, images, strict=True), 1):
        if isinstance(result, str):
            files.skip(sample, result)
            if len(files.skipped) >= NAMED_BAD:
                refuse_bad(files.skipped, total, max_bad)
        else:
            files.add(sample, *result)
        if progress is not None:
            progress(done, total)
    refuse_bad(files.skipped, total, max_bad)


def prepared(form: Form, source: ImageSource) -> Prepared:
    """An image in its stored form and the digest of its pixels; the reason for one that cannot be read."""
    try:
        image = form.pack(source)
    except ImageError as error:
        return str(error)
    return image, digest(image.pixels).hex()


class _HashedFile:
    """A new file, hashed while written. A thread brings it to the disk meanwhile, so that `close` waits for little."""

    def __init__(self, path: Path) -> None:
        self.name, self.bytes, self._hash = path.name, 0, hashlib.sha256()
        self._file = open(path, "xb")  # noqa: SIM115 - closed by `close`
        self._flusher = ThreadPoolExecutor(1, "alexnet-flush")  # starts its thread when it is first needed
        self._flushing: Future[None] | None = None
        self._flushed = 0  # bytes that are on the disk, or soon will be

    def write(self, data: str | memoryview) -> None:
        # File names may hold any bytes.
        raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        self._file.write(raw)
        self._hash.update(raw)
        self.bytes += len(raw) if isinstance(raw, bytes) else raw.nbytes
        if self.bytes - self._flushed >= FLUSHED_BYTES:
            self._flush_beside()

    def _flush_beside(self) -> None:
        """Have all that is written brought to the disk, after the last such order is done; raises the error of that."""
        if self._flushing is not None:
            self._flushing.result()
        self._file.flush()
        self._flushed = self.bytes
        self._flushing = self._flusher.submit(os.fsync, self._file.fileno())

    def close(self) -> None:
        if not self._file.closed:
            with self._file, self._flusher:
                self._file.flush()
                os.fsync(self._file.fileno())
            if self._flushing is not None:
                self._flushing.result()

    def facts(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "sha256": self._hash.hexdigest()}


class _Files:
    """All files of a store except store.json, written one image at a time, in constant memory."""

    def __init__(self, folder: Path, shard_rows: int) -> None:
        self.folder, self.shard_rows = folder, shard_rows
        self.images = 0
        self.labels: Counter[int] = Counter()  # images of each class
        self.lost: set[int] = set()  # classes with skipped images
        self.skipped: list[tuple[str, str]] = []
        self.blank: Counter[tuple[int, ...]] = Counter()  # images of one colour, by colour
        self.kinds: Counter[str] = Counter()  # images by what is to be said of them
        self.first: dict[str, str] = {}  # and the path of the first
        self.extent = Extent()
        self.written: list[_HashedFile] = []
        self._closing = ExitStack()
        self._shard: _HashedFile  # the current one
        self._samples = csv.writer(self._new(SAMPLES), lineterminator="\n")
        self._digests = csv.writer(self._new(DIGESTS), lineterminator="\n")
        self._skipped = csv.writer(self._new(SKIPPED), lineterminator="\n")
        self._samples.writerow(["path", "label", "split"])
        self._digests.writerow(["digest"])
        self._skipped.writerow(["path", "reason"])

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def add(self, sample: Sample, image: Packed, image_digest: str) -> None:
        if self.images % self.shard_rows == 0:
            self._begin_shard(self.images // self.shard_rows)
        self._shard.write(image.pixels.data)
        self._samples.writerow([sample.path, sample.label, sample.split])
        self._digests.writerow([image_digest])
        self.labels[sample.label] += 1
        self.extent.add(sample.path, image.width, image.height, image.values)
        if image.color is not None:
            self.blank[image.color] += 1
        for kind in image.remarks():
            self.kinds[kind] += 1
            self.first.setdefault(kind, sample.path)
        self.images += 1

    def skip(self, sample: Sample, reason: str) -> None:
        self._skipped.writerow([sample.path, reason])
        self.skipped.append((sample.path, reason))
        self.lost.add(sample.label)

    def _begin_shard(self, shard: int) -> None:
        if shard > 0:
            self._shard.close()
        self._shard = self._new(shard_name(shard))

    def _new(self, name: str) -> _HashedFile:
        file = _HashedFile(self.folder / name)
        self._closing.callback(file.close)
        self.written.append(file)
        return file


def _write_facts(files: _Files, source: Source, form: Form, fingerprint: str) -> None:
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "name": source.name,
        "fingerprint": fingerprint,
        **asdict(form),
        "extent": files.extent.to_json(),
        "remarks": _remarks(files),
        "class_names": source.class_names,
        "fractions": source.fractions,
        "images": files.images,
        "shard_rows": files.shard_rows,
        "files": {file.name: file.facts() for file in files.written},
    }
    text = json.dumps({**facts, "seal": seal(facts)}, indent=1)
    (files.folder / FACTS).write_text(text, encoding="utf-8")


def _remarks(files: _Files) -> list[str]:
    """Each kind of image that is not used as it looks elsewhere: how many, and the first of them."""
    return [
        f"{kind}: {count:,} ({files.first[kind]}{', ...' if count > 1 else ''})" for kind, count in files.kinds.items()
    ]


def refuse_settings(folder: Path, size: int, max_bad: float | None) -> None:
    """UsageError for values that no store has, and for a folder that holds anything but a store."""
    refuse_values(size, max_bad)
    refuse_strangers(folder, is_ours, "store")


def refuse_values(size: int, max_bad: float | None) -> None:
    if size < 1:
        raise UsageError(f"size {size}: at least 1 pixel a side is needed, 256 is usual")
    if max_bad is not None and not 0 <= max_bad <= 1:
        raise UsageError(f"share of bad images {max_bad}: 0 to 1 is accepted, 0.01 for one in a hundred")


def refuse_full_disk(folder: Path, beside: Path, needed: int) -> None:
    """Fail before hours of decoding, not after."""
    free = shutil.disk_usage(beside).free
    if free < needed:
        raise AlexNetError(
            f"cannot write {folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
            "free space or choose another folder"
        )


def refuse_bad(skipped: list[tuple[str, str]], total: int, max_bad: float | None) -> None:
    """DataError where more of `total` images cannot be used than may be skipped. skipped: (path, reason) of each."""
    if len(skipped) > most_bad(total, max_bad):
        first = "; ".join(f"{path}: {reason}" for path, reason in skipped[:NAMED_BAD])
        raise DataError(
            f"at least {len(skipped)} of {total} images cannot be used, {_accepted(max_bad)} may be skipped: {first}; "
            "see all with `alexnet check DATA` and repair or remove them, or skip more with --max-bad 0.5"
        )


def _accepted(max_bad: float | None) -> str:
    """The unusable images that may be skipped, in words."""
    return f"{100 * MAX_BAD:g} % or {FEW_BAD}, whichever is more," if max_bad is None else f"{100 * max_bad:g} %"


def _refuse_small_classes(source: Source, files: _Files, max_bad: float | None) -> None:
    """DataError where more than the share was skipped, and with it all but one image of a class."""
    small = [source.class_names[label] for label in sorted(files.lost) if files.labels[label] < 2]
    if small and max_bad is None and len(files.skipped) > MAX_BAD * len(source.samples):
        path, reason = files.skipped[0]
        raise DataError(
            f"{source.name}: one usable image of {some_names(small)}, two are needed (skipped: {path}: {reason}); "
            "add some, or see all skipped ones with `alexnet check DATA`"
        )


def _refuse_empty_classes(source: Source, files: _Files) -> None:
    if empty := [name for label, name in enumerate(source.class_names) if label not in files.labels]:
        hint = f" (skipped: {files.skipped[0][0]}: {files.skipped[0][1]})" if files.skipped else ""
        raise DataError(f"{source.name}: no usable images of {some_names(empty)}{hint}; add some or remove it")


def _refuse_blank(source: Source, files: _Files, form: Form) -> None:
    """A set of pictures without any picture teaches nothing, though training would run."""
    blank = files.blank.total()
    if blank == files.images > 1 and len(files.blank) == 1:
        ((color, _),) = files.blank.items()
        known = "; ".join(files.extent.value_lines(form.value_range))
        raise DataError(
            f"{source.name}: all {blank} images are blank, every pixel is {color} (RGB); "
            + (known or "look at some of them, and see `alexnet check DATA`")
        )
