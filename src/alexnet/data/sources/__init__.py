"""Where images come from: `open_source` turns what a user writes into a Source.

| written | meaning |
|---|---|
| `digits`, `flowers17`, `cifar10`, `tiny-imagenet` | the known set of that name |
| `flowers17:1`, `flowers17:2`, `flowers17:3` | flowers17 in one of its publisher's three splits |
| `imagenet:/folder` | the ImageNet challenge, unpacked there |
| `photos.csv` | a list `path,label[,split]` |
| anything else | a folder `root/<class>/...` or `root/{train,val,test}/<class>/...` |

A known name is always the known set; a folder of the same name is written `./digits`.
"""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from alexnet.data.samples import Sample, Source, check_classes
from alexnet.data.sources.folders import holds_images, read_folder, read_images
from alexnet.data.sources.imagenet import imagenet, tiny_imagenet
from alexnet.data.sources.known import cifar10, digits, flowers17, flowers17_published
from alexnet.data.sources.tables import read_csv
from alexnet.data.splits import assign_splits
from alexnet.errors import DataError

__all__ = ["KNOWN", "Sample", "Source", "assign_splits", "check_classes", "open_images", "open_source"]

KNOWN: dict[str, Callable[[], Source]] = {
    "digits": digits,
    "flowers17": flowers17,
    **{f"flowers17:{number}": partial(flowers17_published, number) for number in (1, 2, 3)},
    "cifar10": cifar10,
    "tiny-imagenet": tiny_imagenet,
}
IMAGENET = "imagenet:"


def open_source(spec: str) -> Source:
    """The source that `spec` names, as in the table above.

    Raises DataError, with what to do, when there is no such thing, when it is empty or when it shows no classes.
    """
    if spec in KNOWN:
        return KNOWN[spec]()
    opener = imagenet if spec.startswith(IMAGENET) else read_folder
    path = Path(spec.removeprefix(IMAGENET)).expanduser()
    try:
        folder, file = path.is_dir(), path.is_file()
    except OSError as error:
        raise DataError(f"cannot look into {spec!r}: {error.strerror}; check its name and permissions") from error
    if folder and spec not in ("", IMAGENET):  # an empty path would mean this folder
        return opener(path)
    if file and opener is read_folder and path.suffix.lower() == ".csv":
        return read_csv(path)
    raise _is_a_file(spec) if file else _not_found(spec)


def open_images(spec: str) -> Source:
    """The source that `spec` names, where no classes are needed: also a folder in which the images lie as they are.

    Such a folder's images, those of its sub-folders with them, are all of one class.
    """
    path = Path(spec).expanduser()
    if spec and spec not in KNOWN and not spec.startswith(IMAGENET) and holds_images(path):
        return read_images(path)
    return open_source(spec)


def _is_a_file(spec: str) -> DataError:
    return DataError(
        f"{spec} is a file; a folder with a sub-folder for each class or a .csv with path,label is needed: "
        "unpack an archive first, or put photos into class folders"
    )


def _not_found(spec: str) -> DataError:
    written = {**{name: name for name in KNOWN}, "imagenet": f"{IMAGENET}/folder"}
    near = difflib.get_close_matches(spec.casefold(), written, n=1, cutoff=0.5)
    hint = f"did you mean {written[near[0]]!r}? " if near else ""
    return DataError(f"no such folder or file: {spec!r}; {hint}known sets: {', '.join(written.values())}")
