"""Which store belongs to which data: the user's own folder, or the cache's."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from alexnet.data.samples import Source
from alexnet.data.sources import KNOWN, Data, open_source, spec_of
from alexnet.data.sources.download import cache_folder, one_process
from alexnet.data.store.format import FACTS, cache_name
from alexnet.data.store.reader import Store, open_store
from alexnet.data.store.writer import MAX_BAD, Progress, pack, refuse_settings
from alexnet.errors import DataError

log = logging.getLogger(__name__)


def packed(
    source: Source,
    size: int | None = None,
    max_bad: float = MAX_BAD,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """The store of this source in the cache: the one that is there, or, if it is missing or damaged, a new one.

    size: pixels a side, None for what suits the source; the rest and the errors as for `pack`. A source that changed in
    any way gets a new store. One that was packed with a larger `max_bad` is taken: its gaps were accepted then. Packing
    is logged, with the reason. Of several processes that want the same store one packs it. A store that another version
    of this program packed has another place in the cache and stays as it is.
    """
    size = source.store_size if size is None else size
    fingerprint = source.fingerprint()
    folder = _cached(source, size, fingerprint)
    with suppress(DataError):  # missing or damaged: looked into again below
        return open_store(folder)
    refuse_settings(folder, size, max_bad)
    with one_process(folder, f"packs {source.name} into {folder}"):
        try:
            return open_store(folder)  # another process may have packed it while this one waited
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
    """The store that a user means by `data`: one in the folder of that name, else that of `open_source(data)`.

    size: pixels a side, None for what there is or suits the source. look: raises what speaks against the data; it sees
    the source before any image is read, and what the store kept of it. opener: turns `data` into a source. Errors as in
    `open_source` and `packed`; DataError for a store of another size.
    """
    if is_store(data):
        store = open_store(Path(spec_of(data)).expanduser())
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
    """Whether `data` is a folder that holds a store, sound or not; a known name never is."""
    if isinstance(data, tuple):
        return False
    spec = spec_of(data)
    try:
        return spec not in KNOWN and (Path(spec).expanduser() / FACTS).is_file()
    except OSError:
        return False  # `open_source` says what is wrong with it


def verified(data: Data, size: int | None = None) -> Store:
    """The store in the folder `data`, or that of `open_source(data)` in the cache, once every checksum is right.

    Raises DataError that names all that is missing or damaged.
    """
    if is_store(data):
        return open_store(Path(spec_of(data)).expanduser(), verify=True)
    source = open_source(data)
    size = source.store_size if size is None else size
    return open_store(_cached(source, size, source.fingerprint()), verify=True)


def _cached(source: Source, size: int, fingerprint: str) -> Path:
    """Where the cache has, or would have, this source's store."""
    return cache_folder() / "stores" / cache_name(source.name, size, fingerprint)
