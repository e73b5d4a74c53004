"""Sources from folders with a sub-folder for each class."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from alexnet.data.samples import Sample, Source, natural_key, normal_name, some_names
from alexnet.data.sources.parts import ACCEPTED, is_unlabelled, part_named
from alexnet.data.sources.told import OUTSIDE, UNLABELLED_IMAGE, passed_over
from alexnet.data.sources.walk import Walk, is_image
from alexnet.errors import DataError

TABLES = (".csv", ".tsv")  # suffixes of files that list images
UNNAMED = frozenset(["images", "image", "imgs", "img", "photos", "all", "data", "unknown"])  # no class's name in a test


log = logging.getLogger(__name__)


class ClassFolder(NamedTuple):
    """A folder of images of one class, in one part or in none ("")."""

    folder: str  # relative to the root
    name: str
    part: str


def read_folder(root: Path) -> Source:
    """The images of `root/<class>/...`, of `root/<part>/<class>/...`, or of `root/<class>/<part>/...`.

    <part> is any name that `part_named` knows, in any case: train, Training, seg_train, valid, dev, Testing, ... The
    second and third layouts apply if every folder there has such a name. Sub-folders of a class are read, too. A part
    for testing may hold unlabelled images: they are listed in `other_files`, as are all files that are no images;
    litter, such as thumbnails and names that begin with a dot, is counted.
    Raises DataError for an empty folder, images without class folders, class folders without images, part folders next
    to others, and folders that look like parts but are not named so.
    """
    walk = Walk(root)
    if wrapped := _wrapped(walk):
        return wrapped
    classes = _class_folders(walk)
    found = [(path, each.name, each.part) for each in classes for path in walk.images(each.folder)]
    others = [*walk.others, *strays(walk, classes)]
    if not found or _is_one_heap(classes, others):
        raise _no_images(root, classes, others)
    names = {each.name for each in classes}
    source = labelled_source(root.resolve().name or "folder", root, names, found, others)
    return replace(source, litter=dict(walk.litter))


def read_images(root: Path) -> Source:
    """All images below a folder as one class named `images`.

    A tenth is to be drawn for val. Other files are listed in `other_files`, litter is counted.
    """
    walk = Walk(root)
    found = [(path, "images", "") for path in walk.images()]
    source = labelled_source(root.resolve().name or "folder", root, {"images"}, found, walk.others)
    return replace(source, fractions=(0.1, 0.0), litter=dict(walk.litter))


def holds_images(root: Path) -> bool:
    """Whether the folder itself holds images, outside any class folder."""
    return root.is_dir() and any(is_image(entry.name) and entry.is_file() for entry in Walk(root).entries())


# --- which folders are classes ---


def _wrapped(walk: Walk) -> Source | None:
    """The source of the only folder in the root if that holds the parts, as unpacked archives do."""
    tops = walk.subfolders()
    inside = walk.subfolders(tops[0]) if len(tops) == 1 and not part_named(tops[0]) else []
    if not inside or not all(part_named(name) and walk.subfolders(f"{tops[0]}/{name}") for name in inside):
        return None
    source = read_folder(walk.root / tops[0])
    outside = [f"../{name}: {OUTSIDE}" for name in walk.files()]
    litter = Counter(walk.litter) + Counter(source.litter)
    log.info("%s: read as %s, the only folder in it", walk.root, walk.root / tops[0])
    return replace(source, other_files=[*source.other_files, *outside], litter=dict(litter))


def _is_one_heap(classes: Sequence[ClassFolder], others: Sequence[str]) -> bool:
    """Whether the images lie in one folder such as `images`, beside a list of them."""
    heap = len({each.name for each in classes}) == 1 and classes[0].name.casefold() in UNNAMED
    return heap and any(line.partition(":")[0].lower().endswith(TABLES) for line in others)


def _class_folders(walk: Walk) -> list[ClassFolder]:
    """Every class folder, in the layout that the names show."""
    tops = walk.subfolders()
    parts = {top: part_named(top) for top in tops}
    holding = [top for top in tops if parts[top] and walk.subfolders(top)]
    if any(parts.values()) and all(parts[top] or is_unlabelled(top) for top in tops):
        return _in_parts(walk, {top: part for top, part in parts.items() if part})
    if holding:
        strangers = [top for top in tops if not parts[top] and not is_unlabelled(top) and _has_images(walk, top)]
        if strangers:
            raise _beside_parts(walk.root, holding[0], strangers[0])
        return _in_parts(walk, {top: part for top, part in parts.items() if part})
    inner = {top: walk.subfolders(top) for top in tops}
    if not any(is_image(name) for top in tops for name in walk.files(top)):
        if tops and all(names and all(map(part_named, names)) for names in inner.values()):
            return [ClassFolder(f"{top}/{name}", top, part_named(name)) for top in tops for name in inner[top]]
        _refuse_alike(walk.root, inner)
    return [ClassFolder(top, top, "") for top in tops]


def _in_parts(walk: Walk, parts: dict[str, str]) -> list[ClassFolder]:
    """The class folders of `root/<part>/<class>`, without those of unlabelled images in a test part."""
    inner = {top: _unwrapped(walk, top, part) for top, part in parts.items()}
    known = {
        normal_name(name) for top, folder in inner.items() if parts[top] != "test" for name in walk.subfolders(folder)
    }
    return [
        ClassFolder(f"{folder}/{name}", name, parts[top])
        for top, folder in inner.items()
        for name in walk.subfolders(folder)
        if normal_name(name) in known or parts[top] != "test" or not _is_no_class(name)
    ]


def _unwrapped(walk: Walk, folder: str, part: str) -> str:
    """The folder itself, or the only one in it if that is named after the same part: `seg_train/seg_train/<class>`."""
    inside = walk.subfolders(folder)
    return f"{folder}/{inside[0]}" if len(inside) == 1 and part_named(inside[0]) == part else folder


def _is_no_class(name: str) -> bool:
    return name.casefold() in UNNAMED or is_unlabelled(name) or part_named(name) == "test"


def _has_images(walk: Walk, folder: str) -> bool:
    """Whether there is an image anywhere below."""
    return any(not reason for _, reason in Walk(walk.root).found(folder))


def _refuse_alike(root: Path, inner: dict[str, list[str]]) -> None:
    """DataError where all folders hold the same sub-folders: they are parts then, or the sub-folders are no classes."""
    sets = sorted(({normal_name(name).casefold() for name in names} for names in inner.values()), key=len)
    if len(sets) < 2 or len(sets[0]) < 2 or not all(few <= more for few, more in pairwise(sets)):
        return
    tops, names = list(inner), next(names for names in inner.values() if len(names) == len(sets[0]))
    raise DataError(
        f"{root}: the folders {some_names(tops)} hold the same sub-folders, {some_names(names)}; if they are parts of "
        f"the data, rename each to {ACCEPTED}; if they are the classes, move their images out of the sub-folders, or "
        "list the images in a CSV path,label"
    )


def _beside_parts(root: Path, part: str, stranger: str) -> DataError:
    return DataError(
        f"{root} holds the split folder {part!r} and {stranger!r}, which is no split; "
        f"rename it to {ACCEPTED} if it is one, else move other folders elsewhere, or rename the classes"
    )


# --- what is left over ---


def strays(walk: Walk, classes: Sequence[ClassFolder]) -> list[str]:
    """Files outside the class folders, "path: reason" each."""
    inside = {each.folder for each in classes}
    above = {parent for folder in inside for parent in _parents(folder)}
    found = []
    for folder in ["", *walk.subfolders()]:
        if folder == "" or folder in above:
            found += [(f"{folder}/{name}" if folder else name) for name in walk.files(folder)]
            lower = [f"{folder}/{name}" for name in walk.subfolders(folder)] if folder else []
            found += [path for each in lower if each not in inside for path in _all_files(walk, each, above)]
        elif folder not in inside:
            found += _all_files(walk, folder, above)
    return [f"{path}: {_stray(path)}" for path in sorted(found, key=natural_key)]


def _parents(folder: str) -> list[str]:
    steps = folder.split("/")
    return ["/".join(steps[:count]) for count in range(1, len(steps))]


def _all_files(walk: Walk, folder: str, above: set[str]) -> list[str]:
    """All files below a folder that is no class; of one that holds classes its own files."""
    if folder in above:
        return [f"{folder}/{name}" for name in walk.files(folder)]
    before = len(walk.others)
    images = [path for path, _ in walk.found(folder)]
    others = [line.rpartition(": ")[0] for line in walk.others[before:]]
    del walk.others[before:]  # the caller gives another reason
    return images + others


def _stray(path: str) -> str:
    top, _, below = path.partition("/")
    to_test = bool(below) and (part_named(top) == "test" or is_unlabelled(top))
    return UNLABELLED_IMAGE if to_test and is_image(path) else OUTSIDE


def _no_images(root: Path, classes: Sequence[ClassFolder], others: Sequence[str]) -> DataError:
    """The error for a folder without images in class folders."""
    form = f"put the images of each class into a folder {root}/<class>/"
    tables = [name for name in Walk(root).files() if name.lower().endswith(TABLES)]
    if tables:
        return DataError(f"{root} has no class folders with images but lists: give {root / tables[0]}, or {form}")
    if not Walk(root).entries():
        return DataError(f"{root} is empty; {form}")
    if classes:
        left = f" ({passed_over(0, others)})" if others else ""
        return DataError(f"{root} has {len(classes)} class folders but no images in them{left}; {form}")
    return DataError(f"{root} has {len(others)} files but no class folders; {form}, or list them in a CSV path,label")


def labelled_source(
    name: str, root: Path, names: set[str], found: Sequence[tuple[str, str, str]], others: list[str]
) -> Source:
    """A source of files. found: (path, class name, split) of each image; names: of all classes, also empty ones."""
    forms = Counter(map(normal_name, names))
    class_names = sorted(forms, key=natural_key)
    label = {name: index for index, name in enumerate(class_names)}
    samples = [Sample(path, label[normal_name(name)], split) for path, name, split in found]
    merged = [name for name in class_names if forms[name] > 1]
    return Source(name=name, root=root, class_names=class_names, samples=samples, other_files=others, merged=merged)
