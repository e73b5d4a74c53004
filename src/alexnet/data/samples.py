"""Source: labelled samples and how to read each image."""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import DataError


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: its path, its label and its given split."""

    path: str  # relative to the source's root for a file, else a name for messages; unique within a source
    label: int  # index into the source's class_names
    split: str = ""  # "train", "val", "test", or "" if none is given


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A set of labelled images, files below `root`. Picklable."""

    name: str  # used in the names of runs and stores
    root: Path | None  # base folder of the samples' paths; None if the images are not files
    class_names: list[str]  # in the order of the labels; a class may be without images
    samples: list[Sample]
    fractions: tuple[float, float] = (0.1, 0.1)  # share of each class to draw for val and test if no split is given
    store_size: int = 256  # recommended side of the stored images, in pixels
    other_files: list[str] = field(default_factory=list)  # "path: reason" of each file that was ignored
    litter: dict[str, int] = field(default_factory=dict)  # files that no one means as data, counted by name
    merged: list[str] = field(default_factory=list)  # class names that are written composed and decomposed

    def read(self, index: int) -> Path | NDArray[np.uint8]:
        """Input for `images.decode`: the path of sample `index`, or its pixels (uint8)."""
        return (self.root or Path()) / self.samples[index].path

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over class names, paths, labels, splits and the state of each file.

        The state of a file is its size and modification time: reading a million files takes hours, their metadata a
        minute. `Store.content` is the hash that depends on pixels instead.
        """
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        for index, sample in enumerate(self.samples):
            line = f"{sample.path}\0{sample.label}\0{sample.split}\0{self._stamp(index)}\n"
            digest.update(os.fsencode(line))
        return digest.hexdigest()

    def _stamp(self, index: int) -> str:
        return _file_stamp((self.root or Path()) / self.samples[index].path)


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySource(Source):
    """Images in memory."""

    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]  # N of (H, W, 3), RGB, or (H, W), gray, 0..255

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) or (H, W), 0..255."""
        image: NDArray[np.uint8] = self.images[index]
        return image

    def _stamp(self, index: int) -> str:
        return hashlib.sha256(self.images[index].tobytes()).hexdigest()


RECORD = 1 + 3 * 32 * 32  # bytes of a CIFAR-10 image: label, then 32 x 32 red, green and blue values


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordSource(Source):
    """Images in CIFAR-10's binary files; a sample's path is "file#row"."""

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 (32, 32, 3), RGB."""
        file, row = self.samples[index].path.split("#")
        offset = int(row) * RECORD + 1
        planes = np.fromfile((self.root or Path()) / file, np.uint8, count=RECORD - 1, offset=offset)
        return np.ascontiguousarray(planes.reshape(3, 32, 32).transpose(1, 2, 0))

    def _stamp(self, index: int) -> str:
        return _file_stamp((self.root or Path()) / self.samples[index].path.split("#")[0])


def each_image(source: Source, low: int = 0, high: int | None = None) -> Iterator[Path | NDArray[np.uint8]]:
    """`source.read` of every sample, in order; of the samples [low, high) alone, where these are given.

    Raises DataError if a file that holds many images cannot be read; `images.decode` reports files of one image.
    """
    for index, sample in enumerate(source.samples[low:high], low):
        try:
            yield source.read(index)
        except OSError as error:
            raise DataError(f"{source.name}: cannot read {sample.path}: {error.strerror}; check the file") from error


def check_classes(source: Source) -> None:
    """Refuse data that cannot train a classifier.

    Raises DataError if fewer than two classes have images, or if a class has images in val and test only.
    """
    filled = {sample.label for sample in source.samples}
    if len(filled) < 2:
        found = ", ".join(repr(source.class_names[label]) for label in filled) or "none"
        inner = {sample.path.split("/")[1] for sample in source.samples if sample.path.count("/") > 1}
        hint = f", or give the folder {found} itself if its sub-folders are the classes" if len(inner) > 1 else ""
        raise DataError(f"{source.name}: only one class has images ({found}); add a second class{hint}")
    trained = {sample.label for sample in source.samples if sample.split in ("", "train")}
    if untrained := [source.class_names[label] for label in sorted(filled - trained)]:
        raise DataError(
            f"{source.name}: no training images of {some_names(untrained)}, only in val or test; "
            "add some to train, or check the spelling of folders or labels"
        )


def some_names(names: Sequence[str], limit: int = 3) -> str:
    """The first names, quoted, and the number of the others.

    >>> some_names(["ant", "bee", "cat", "dog"])
    "'ant', 'bee', 'cat' and 1 more"
    """
    shown = ", ".join(map(repr, names[:limit]))
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def normal_name(name: str) -> str:
    """A class name in Unicode NFC: file systems store the same letter composed or decomposed."""
    return unicodedata.normalize("NFC", name)


def natural_key(text: str) -> tuple[list[tuple[str, int]], str]:
    """Sort key for natural order: 2 before 10, case ignored; names that differ in case only stay distinct."""
    pairs = re.findall(r"([^0-9]*)([0-9]*)", text)
    return [(letters.casefold(), int(digits or -1)) for letters, digits in pairs], text


def _file_stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "gone"  # reported when the file is read
    return f"{stat.st_size} {stat.st_mtime_ns}"
