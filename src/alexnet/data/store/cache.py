"""From data to its store: the user's own folder, or one in the cache."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, TypeGuard

from alexnet.data.extent import Extent
from alexnet.data.form import Form
from alexnet.data.images import ValueRange, inspect
from alexnet.data.samples import Source, each_image
from alexnet.data.sources import KNOWN, Data, open_source, spec_of
from alexnet.data.sources.download import cache_folder
from alexnet.data.sources.told import tell_twins
from alexnet.data.store.format import FACTS, cache_name
from alexnet.data.store.reader import Store, open_store
from alexnet.data.store.writer import NAMED_BAD, Progress, pack, refuse_settings, warn_of_images
from alexnet.data.value_range import AUTO, range_text
from alexnet.data.workers import ordered_map
from alexnet.errors import DataError
from alexnet.files import exclusive_lock

log = logging.getLogger(__name__)

Asked: TypeAlias = ValueRange | Literal["own", "auto"] | None  # as `named_store` takes it


def packed(
    source: Source,
    size: int | None = None,
    max_bad: float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    fit: str = "crop",
    value_range: ValueRange | None = None,
    exact: bool = False,
    packer: Callable[..., Store] = pack,
) -> Store:
    """The store of a source in the cache; packed if it is missing or damaged.

    size: side of the stored images in pixels, None for the source's own; otherwise arguments and errors as for `pack`.
    packer: replaces `pack`.
    Any change of a source leads to a new store. A store packed with a larger `max_bad` is reused: its gaps were
    accepted then. Of several processes that need the same store one packs it, the others wait. Stores of other versions
    of the format have other names and stay untouched. Logs when and why it packs or waits.
    """
    form = Form(source.store_size if size is None else size, fit, value_range, exact)
    fingerprint = source.fingerprint()
    folder = _cached(source, form, fingerprint)
    with suppress(DataError):  # missing or damaged: handled below, under the lock
        store = open_store(folder)
        warn_of_images(store, NAMED_BAD)
        return store
    refuse_settings(folder, form.size, max_bad)
    with exclusive_lock(folder, lambda: log.info("waiting for another process that packs %s", source.name)):
        try:
            return open_store(folder)  # packed by another process in the meantime
        except DataError as damage:
            if packer is pack:
                _log_packing(source, folder, damage)
        return packer(
            source, folder, max_bad=max_bad, workers=workers, progress=progress, fingerprint=fingerprint, **vars(form)
        )


def _log_packing(source: Source, folder: Path, damage: DataError) -> None:
    if folder.exists():
        log.warning("%s; packing it again now", damage)
    else:
        log.info("packing %s images of %s into %s, this once", f"{len(source.samples):,}", source.name, folder)


def named_store(
    data: Data,
    *,
    size: int | None = None,
    fit: str | None = None,
    value_range: Asked = "own",
    exact: bool | None = None,
    progress: Progress | None = None,
    max_bad: float | None = None,
    look: Callable[[Source], object] | None = None,
    opener: Callable[[Data], Source] = open_source,
) -> Store:
    """The store of `data`: the folder itself if it is a store, else the cache's store of `open_source(data)`.

    size: required side of the stored images in pixels, None for the store's or source's own. fit: required, None for
    the store's own, or "crop". value_range: required, None for that of each file's format; "own" for the store's, or
    that of the format; "auto" for that of all images of the source (`found_range`). exact: required, None for the
    store's own, or no. look: called with the source before any image is read, and with `Store.source()`; raises to
    refuse the data. opener: replaces `open_source`. Errors as for `open_source` and `packed`; DataError for
    a store of another form.
    """
    if is_store(data):
        store = open_store(Path(spec_of(data)).expanduser())
        tell_twins(store.name, store.class_names)
        _refuse_other_form(store, data, size, fit, value_range, exact)
    else:
        source = opener(data)
        if look is not None:
            look(source)
        form = form_of(source, size, fit, value_range, exact, progress=progress)
        store = packed(source, max_bad=max_bad, progress=progress, **vars(form))
    if look is not None:
        look(store.source())
    return store


def _refuse_other_form(
    store: Store, data: Data, size: int | None, fit: str | None, value_range: Asked, exact: bool | None
) -> None:
    """DataError for a store whose images have another form than the one that is needed."""
    if value_range == AUTO:
        raise DataError(
            f"{data} is a packed store, whose images keep nothing of their files' values; give the folder it was made "
            f"from, or write another with: alexnet pack DATA --value-range auto --out FOLDER"
        )
    own = store.value_range if isinstance(value_range, str) else value_range
    needed = Form(size or store.size, fit or store.fit, own, store.exact if exact is None else exact)
    if needed != store.form:
        raise DataError(
            f"store {data} has images of {store.form}, {needed} are needed; "
            f"write another with: alexnet pack DATA {needed.options()} --out FOLDER"
        )


def form_of(
    source: Source,
    size: int | None = None,
    fit: str | None = None,
    value_range: Asked = "own",
    exact: bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Form:
    """The form in which a source is packed; the arguments are those of `named_store`. UsageError for an unknown fit."""
    form = Form(source.store_size if size is None else size, fit or "crop", exact=bool(exact))
    if value_range == AUTO:
        return replace(form, value_range=found_range(source, workers, progress))
    return form if value_range == "own" else replace(form, value_range=value_range)


def found_range(source: Source, workers: int | None = None, progress: Progress | None = None) -> ValueRange | None:
    """The range of the values in the files of a source's images, those aside that it gives to val and test.

    As in `Extent.full_range`. Decodes every image; those that cannot be read are passed over. Logs what it found.
    """
    extent = Extent()
    with ordered_map(partial(inspect, value_range=(0, 1)), each_image(source), workers) as results:
        for done, (sample, facts) in enumerate(zip(source.samples, results, strict=True), 1):
            if facts.values is not None and sample.split in ("", "train"):
                extent.add(sample.path, facts.width, facts.height, facts.values)
            if progress is not None:
                progress(done, len(source.samples))
    if values := extent.full_range():
        spread = extent.outliers()
        aside = f", a few pixels aside that reach from {range_text(spread, ' to ')}" if spread else ""
        log.info("value range of %s images: %s%s", f"{extent.images:,}", range_text(values), aside)
    return values


def is_store(data: Data) -> TypeGuard[str | os.PathLike[str]]:
    """Whether `data` is a folder that holds a store, intact or damaged; a known name never is."""
    if isinstance(data, tuple):
        return False
    spec = spec_of(data)
    try:
        return spec not in KNOWN and (Path(spec).expanduser() / FACTS).is_file()
    except OSError:
        return False  # reported by `open_source`


def verified(
    data: Data,
    size: int | None = None,
    fit: str | None = None,
    value_range: Asked = "own",
    exact: bool | None = None,
) -> Store:
    """The store of `data` as in `named_store`, never packed, with every checksum compared.

    Raises DataError that names everything missing or damaged.
    """
    if is_store(data):
        return open_store(Path(spec_of(data)).expanduser(), verify=True)
    source = open_source(data)
    form = form_of(source, size, fit, value_range, exact)
    return open_store(_cached(source, form, source.fingerprint()), verify=True)


def _cached(source: Source, form: Form, fingerprint: str) -> Path:
    """The folder of a source's store in the cache."""
    return cache_folder() / "stores" / cache_name(source.name, form, fingerprint)
