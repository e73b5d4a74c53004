"""From data to its store: the user's own folder, or one in the cache."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from alexnet.data.samples import Source
from alexnet.data.sources import KNOWN, Data, open_source, spec_of
from alexnet.data.sources.download import cache_folder
from alexnet.data.sources.told import tell_twins
from alexnet.data.store.format import FACTS, cache_name
from alexnet.data.store.reader import Store, open_store
from alexnet.data.store.writer import MAX_BAD, Progress, pack, refuse_settings, warn_of_skipped
from alexnet.errors import DataError
from alexnet.files import exclusive_lock

log = logging.getLogger(__name__)


def packed(
    source: Source,
    size: int | None = None,
    max_bad: float = MAX_BAD,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """The store of a source in the cache; packed if it is missing or damaged.

    size: side of the stored images in pixels, None for the source's own; otherwise arguments and errors as for `pack`.
    Any change of a source leads to a new store. A store packed with a larger `max_bad` is reused: its gaps were
    accepted then. Of several processes that need the same store one packs it, the others wait. Stores of other versions
    of the format have other names and stay untouched. Logs when and why it packs or waits.
    """
    size = source.store_size if size is None else size
    fingerprint = source.fingerprint()
    folder = _cached(source, size, fingerprint)
    with suppress(DataError):  # missing or damaged: handled below, under the lock
        store = open_store(folder)
        warn_of_skipped(store)
        return store
    refuse_settings(folder, size, max_bad)
    with exclusive_lock(folder, lambda: log.info("waiting for another process that packs %s", source.name)):
        try:
            return open_store(folder)  # packed by another process in the meantime
        except DataError as damage:
            _log_packing(source, folder, damage)
        return pack(source, folder, size, max_bad, workers, progress, fingerprint=fingerprint)


def _log_packing(source: Source, folder: Path, damage: DataError) -> None:
    if folder.exists():
        log.warning("%s; packing it again now", damage)
    else:
        log.info("packing %s images of %s into %s, this once", f"{len(source.samples):,}", source.name, folder)


def named_store(
    data: Data,
    *,
    size: int | None = None,
    progress: Progress | None = None,
    max_bad: float = MAX_BAD,
    look: Callable[[Source], object] | None = None,
    opener: Callable[[Data], Source] = open_source,
) -> Store:
    """The store of `data`: the folder itself if it is a store, else the cache's store of `open_source(data)`.

    size: required side of the stored images in pixels, None for the store's or source's own. look: called with the
    source before any image is read, and with `Store.source()`; raises to refuse the data. opener: replaces
    `open_source`. Errors as for `open_source` and `packed`; DataError for a store of another size.
    """
    if is_store(data):
        store = open_store(Path(spec_of(data)).expanduser())
        tell_twins(store.name, store.class_names)
        if size not in (None, store.size):
            raise DataError(
                f"store {data} has images of {store.size} px a side, {size} are needed; "
                f"write another with: alexnet pack DATA --size {size} --out FOLDER"
            )
    else:
        source = opener(data)
        if look is not None:
            look(source)
        store = packed(source, size, max_bad, progress=progress)
    if look is not None:
        look(store.source())
    return store


def is_store(data: Data) -> TypeGuard[str | os.PathLike[str]]:
    """Whether `data` is a folder that holds a store, intact or damaged; a known name never is."""
    if isinstance(data, tuple):
        return False
    spec = spec_of(data)
    try:
        return spec not in KNOWN and (Path(spec).expanduser() / FACTS).is_file()
    except OSError:
        return False  # reported by `open_source`


def verified(data: Data, size: int | None = None) -> Store:
    """The store of `data` as in `named_store`, never packed, with every checksum compared.

    Raises DataError that names everything missing or damaged.
    """
    if is_store(data):
        return open_store(Path(spec_of(data)).expanduser(), verify=True)
    source = open_source(data)
    size = source.store_size if size is None else size
    return open_store(_cached(source, size, source.fingerprint()), verify=True)


def _cached(source: Source, size: int, fingerprint: str) -> Path:
    """The folder of a source's store in the cache."""
    return cache_folder() / "stores" / cache_name(source.name, size, fingerprint)
