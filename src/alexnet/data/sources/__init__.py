"""Sources of images: `open_source` turns the DATA that a user names into a Source.

| DATA | meaning |
|---|---|
| `digits`, `flowers17`, `cifar10`, `tiny-imagenet` | the known set of that name |
| `flowers17:1`, `flowers17:2`, `flowers17:3` | flowers17 in one of its publisher's three splits |
| `imagenet:/folder` | the ImageNet challenge, unpacked there |
| `photos.csv` | a list `path,label[,split]`, see `tables.read_csv` |
| `photos.csv:species` | the same, with the labels of the column `species` |
| `train.csv,test.csv` | several lists, see `tables.read_tables`; a column may follow as above |
| `Path("photos")` | the folder or CSV file there, whatever its name |
| `(images, labels)` | uint8 arrays in memory, see `arrays.array_source`; class names may follow |
| anything else | a folder `root/<class>/...` or `root/{train,val,test}/<class>/...`, see `folders.read_folder` |

A known name always means the known set; write `./digits` for a folder of that name. What a name means depends neither
on which archives are at hand nor on a seed; a copy with other pixels gets another source name and a warning.
"""

import difflib
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from alexnet.data.samples import Sample, Source, check_classes
from alexnet.data.sources.arrays import Arrays, array_source
from alexnet.data.sources.folders import TABLES, holds_images, read_folder, read_images
from alexnet.data.sources.imagenet import imagenet, tiny_imagenet
from alexnet.data.sources.known import cifar10, digits, flowers17, flowers17_published
from alexnet.data.sources.tables import read_csv, read_tables
from alexnet.data.sources.told import tell
from alexnet.data.splits import assign_splits
from alexnet.errors import DataError, UsageError

__all__ = [
    "ARRAYS",
    "KNOWN",
    "Data",
    "Sample",
    "Source",
    "array_source",
    "assign_splits",
    "check_classes",
    "find_source",
    "open_images",
    "open_source",
    "recorded_name",
    "spec_of",
]

Data: TypeAlias = str | os.PathLike[str] | Arrays  # what a user may give for data

KNOWN: dict[str, Callable[[], Source]] = {
    "digits": digits,
    "flowers17": flowers17,
    **{f"flowers17:{number}": partial(flowers17_published, number) for number in (1, 2, 3)},
    "cifar10": cifar10,
    "tiny-imagenet": tiny_imagenet,
}
IMAGENET = "imagenet:"
ARRAYS = "(arrays)"  # the recorded name of data given as arrays


def open_source(data: Data) -> Source:
    """The source of `data`, see the table above; logs what it passed over.

    Raises DataError if nothing is found there, or no images in classes; UsageError for invalid arrays and for data of
    another type.
    """
    return tell(find_source(data))


def find_source(data: Data) -> Source:
    """As `open_source`, without a word about what was passed over."""
    if isinstance(data, tuple):
        return _from_arrays(data)
    spec = spec_of(data)
    if spec in KNOWN:
        return KNOWN[spec]()
    if spec == ARRAYS:
        raise UsageError("the data was given as arrays, which are not kept; give the same (images, labels) again")
    opener = imagenet if spec.startswith(IMAGENET) else read_folder
    path = Path(spec.removeprefix(IMAGENET)).expanduser()
    try:
        folder, file = path.is_dir(), path.is_file()
    except OSError as error:
        raise DataError(f"cannot look into {spec!r}: {error.strerror}; check its name and permissions") from error
    if folder and spec not in ("", IMAGENET):  # an empty path is the current folder
        return opener(path)
    if file and opener is read_folder and path.suffix.lower() in TABLES:
        return read_csv(path)
    if not file and (named := _tables(spec)):
        return read_tables(*named)
    raise _is_a_file(spec) if file else _not_found(spec)


def open_images(data: Data) -> Source:
    """As `open_source`, for users that need no classes: accepts a folder of images without class folders, too.

    All images below such a folder are of one class.
    """
    if isinstance(data, tuple):
        return _from_arrays(data)
    spec = spec_of(data)
    path = Path(spec).expanduser()
    if spec and spec not in KNOWN and not spec.startswith(IMAGENET) and holds_images(path):
        return tell(read_images(path))
    return open_source(spec)


def spec_of(data: str | os.PathLike[str]) -> str:
    """A string as it is; a path object as an absolute path, which is never taken for a known name.

    Raises UsageError for anything else.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, os.PathLike):
        return str(Path(data).expanduser().absolute())
    raise UsageError(f"data of type {type(data).__name__}; a name, a path or a tuple (images, labels) is needed")


def recorded_name(data: Data) -> str:
    """The name of `data` for a run's config.json, valid from any working folder: paths become absolute.

    Arrays are recorded as `ARRAYS`, which `open_source` refuses: to resume, give the arrays again.
    """
    if isinstance(data, tuple):
        return ARRAYS
    spec = spec_of(data)
    if named := _tables(spec):
        files, column = named
        return ",".join(str(file.absolute()) for file in files) + (f":{column}" if column else "")
    kind = IMAGENET if spec.startswith(IMAGENET) else ""
    path = Path(spec.removeprefix(kind)).expanduser()
    return kind + str(path.absolute()) if spec not in KNOWN and path.exists() else spec


def _from_arrays(data: Arrays) -> Source:
    if len(data) not in (2, 3):
        raise UsageError(f"a tuple of {len(data)}; (images, labels) or (images, labels, class_names) is needed")
    return array_source(*data)


def _tables(spec: str) -> tuple[list[Path], str | None] | None:
    """The files and the column of "photos.csv:column" or "train.csv,test.csv"; None for anything else."""
    before, _, column = spec.rpartition(":")
    for names, wanted in ((spec, None), (before, column or None)):
        files = [Path(name).expanduser() for name in names.split(",")]
        if all(file.suffix.lower() in TABLES and file.is_file() for file in files):
            return files, wanted
    return None


def _is_a_file(spec: str) -> DataError:
    return DataError(
        f"{spec} is a file; a folder with a sub-folder for each class or a .csv with path,label is needed: "
        "unpack an archive first, or put photos into class folders"
    )


def _not_found(spec: str) -> DataError:
    if spec == "-" or re.match(r"(https?|ftp|s3|gs|file):/", spec, re.IGNORECASE):
        return DataError(f"{spec!r}: standard input and addresses are not read; download the data and give its folder")
    written = {**{name: name for name in KNOWN}, "imagenet": f"{IMAGENET}/folder"}
    near = difflib.get_close_matches(spec.casefold(), written, n=1, cutoff=0.5)
    hint = f"did you mean {written[near[0]]!r}? " if near else ""
    return DataError(f"no such folder or file: {spec!r}; {hint}known sets: {', '.join(written.values())}")
