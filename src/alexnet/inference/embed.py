"""Feature vectors of every image of some data, written as one .npz file."""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.sources import Data, open_images
from alexnet.data.store import Store, named_store
from alexnet.errors import UsageError
from alexnet.evaluation.features import check_layers, hidden_layer, of_store
from alexnet.files import whole_file
from alexnet.inference.classifier import Classifier
from alexnet.runs.place import check_writable

COPIED = 1 << 20  # bytes at once
TABLES = ("paths", "labels", "splits", "class_names")

Progress = Callable[[int, int], None]


def embed(
    classifier: Classifier,
    data: Data,
    out: Path,
    layers: Sequence[str] = (),
    pool: str = "average",
    packing: Progress | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the features of all images of `data`, with their paths and labels, to `out`, whole or not at all.

    data: as for training, or a folder of images without classes. layers: the stages to take; empty: the last hidden
    values (`hidden_layer`). pool: "average" or "none", as for `Classifier.embed`. `out`, a .npz file for numpy.load,
    has by stage float32 (N, D), and paths (N,), labels int64 (N,) into class_names (K,), and splits (N,), "train",
    "val", "test", or "" where the data gives none.

    Returns {"file", "images", "classes", "layers": {stage: D}, "skipped": number of images that cannot be read}.
    UsageError for unknown layers and another suffix, before an image is read; errors of the data as for training.
    """
    check_out(out)
    store, chosen = embedded(classifier, data, layers, pool, packing)
    parts = (classifier.network, classifier.preprocessing, store, chosen, pool, classifier.device, classifier.precision)
    batches = ({name: each.numpy() for name, each in batch.items()} for batch in of_store(*parts, progress=progress))
    return write_all(out, batches, store)


def check_out(out: Path) -> None:
    """UsageError for another suffix than .npz, AlexNetError where nothing can be written."""
    if out.suffix != ".npz":
        raise UsageError(f"{out} does not end in .npz, the one format of features; rename it")
    check_writable(out)


def embedded(
    classifier: Classifier, data: Data, layers: Sequence[str], pool: str, packing: Progress | None
) -> tuple[Store, list[str]]:
    """The images and the stages that are taken, as for `embed`; refused before an image is read."""
    chosen = list(layers) or [hidden_layer(classifier.network)]
    check_layers(classifier.network, chosen, pool)
    store = named_store(data, **vars(classifier.preprocessing.form), progress=packing, opener=open_images)
    store.warn_of_extent(crop=False)
    return store, chosen


def write_all(out: Path, batches: Iterable[dict[str, NDArray[np.float32]]], store: Store) -> dict[str, Any]:
    """Write the features of all of a store's images, some rows of all stages at a time; returns what `embed` does."""
    widths = _write(out, batches, len(store), _tables(store))
    counts = {"images": len(store), "classes": len(store.class_names)}
    return {"file": str(out), **counts, "layers": widths, "skipped": len(store.skipped)}


def _tables(store: Store) -> dict[str, NDArray[Any]]:
    """What stands beside the features."""
    columns = (np.array(store.paths, str), store.labels, np.array(store.splits, str), np.array(store.class_names, str))
    return dict(zip(TABLES, columns, strict=True))


def _write(
    out: Path, batches: Iterable[dict[str, NDArray[np.float32]]], rows: int, tables: dict[str, NDArray[Any]]
) -> dict[str, int]:
    """Write an .npz of `batches` and `tables`; returns the width of each layer's vectors.

    A zip takes one member after the other, and a batch has rows of all: they wait in unnamed files beside `out`.
    """
    with ExitStack() as spooled, whole_file(out, "wb") as file:
        spools = _spool(spooled, out.parent, batches)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, (spool, width) in spools.items():
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    _copy(spool, member, (rows, width))
            for name, column in tables.items():
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, column, allow_pickle=False)
        return {name: width for name, (_, width) in spools.items()}


def _member(name: str) -> zipfile.ZipInfo:
    """Of the oldest date that a zip can have: equal features are equal files."""
    found = zipfile.ZipInfo(f"{name}.npy")
    found.external_attr = 0o600 << 16
    return found


def begin_array(file: IO[bytes], shape: tuple[int, int]) -> None:
    """Write the head of a .npy file of float32 (N, D), whose rows follow."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _spool(
    spooled: ExitStack, folder: Path, batches: Iterable[dict[str, NDArray[np.float32]]]
) -> dict[str, tuple[IO[bytes], int]]:
    """By layer a temporary file with its rows, and their width."""
    found: dict[str, tuple[IO[bytes], int]] = {}
    for batch in batches:
        for name, values in batch.items():
            if name not in found:
                spool = spooled.enter_context(TemporaryFile(dir=folder))  # noqa: SIM115 - the stack closes it
                found[name] = (spool, values.shape[1])
            found[name][0].write(np.ascontiguousarray(values, "<f4").data)
    return found


def _copy(spool: IO[bytes], member: IO[bytes], shape: tuple[int, int]) -> None:
    """The spooled rows as the .npy file of an array."""
    begin_array(member, shape)
    spool.seek(0)
    copyfileobj(spool, member, COPIED)
