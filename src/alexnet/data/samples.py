"""What a source of images is: samples with their labels, and how one image is read."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import DataError


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: where it lies, what it shows, and the part of the data that its source puts it in."""

    path: str  # relative to the source's root where it is a file; else a name to show
    label: int  # index into the source's class_names
    split: str = ""  # "train", "val", "test", or "" where the source does not say


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A set of labelled images that are files below `root`. Can be pickled, for pools of processes."""

    name: str  # used in the names of runs and stores
    root: Path | None  # the folder that the samples' paths start from; None where images are not files
    class_names: list[str]  # in the order of the labels; a class may be without images
    samples: list[Sample]
    fractions: tuple[float, float] = (0.1, 0.1)  # shares of each class for val and test, where no split is given
    store_size: int = 256  # pixels a side of the stored form that suits these images
    other_files: list[str] = field(default_factory=list)  # "path: why it was passed over"

    def read(self, index: int) -> Path | NDArray[np.uint8]:
        """Sample `index` as something that `images.decode` accepts: its file, or its pixels (uint8)."""
        return (self.root or Path()) / self.samples[index].path

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, that changes when a class name, a sample, a label, a split or a file does.

        A file counts by its size and time of change: reading a million files takes hours, asking for these a minute.
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
    """Images that are in memory already."""

    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]  # N of (H, W, 3), RGB, or (H, W), gray, 0..255

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) or (H, W), 0..255."""
        image: NDArray[np.uint8] = self.images[index]
        return image

    def _stamp(self, index: int) -> str:
        return hashlib.sha256(self.images[index].tobytes()).hexdigest()


RECORD = 1 + 3 * 32 * 32  # bytes a CIFAR-10 image: its label, then 32 x 32 of red, of green, of blue


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


def each_image(source: Source) -> Iterator[Path | NDArray[np.uint8]]:
    """What `images.decode` takes for each sample, in order.

    Raises DataError when a file that holds many images cannot be read; one that holds one is left to `decode`.
    """
    for index, sample in enumerate(source.samples):
        try:
            yield source.read(index)
        except OSError as error:
            raise DataError(f"{source.name}: cannot read {sample.path}: {error.strerror}; check the file") from error


def check_classes(source: Source) -> None:
    """Refuse data that no classifier can be trained on.

    Raises DataError when fewer than two classes have images, or when all images of a class are set apart for
    validation and testing.
    """
    filled = {sample.label for sample in source.samples}
    if len(filled) < 2:
        found = ", ".join(repr(source.class_names[label]) for label in filled) or "none"
        raise DataError(f"{source.name}: only one class has images ({found}); add a second class, with its own images")
    trained = {sample.label for sample in source.samples if sample.split in ("", "train")}
    if untrained := sorted(filled - trained):
        raise DataError(
            f"{source.name}: no training images of {some_names(source.class_names, untrained)}, only in val or test; "
            "add some to train, or check how the folders or labels are spelt"
        )


def some_names(class_names: list[str], labels: list[int], limit: int = 3) -> str:
    """A few of these classes by name, and how many more there are."""
    shown = ", ".join(repr(class_names[label]) for label in labels[:limit])
    return shown + (f" and {len(labels) - limit} more" if len(labels) > limit else "")


def natural_key(text: str) -> tuple[list[tuple[str, int]], str]:
    """Sorts as people do: 2 before 10, capitals beside small letters; names equal but for case stay two names."""
    pairs = re.findall(r"([^0-9]*)([0-9]*)", text)
    return [(letters.casefold(), int(digits or -1)) for letters, digits in pairs], text


def _file_stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "gone"  # whoever reads it says so
    return f"{stat.st_size} {stat.st_mtime_ns}"
