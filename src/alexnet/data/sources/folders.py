"""Sources from folders with a sub-folder for each class."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from alexnet.data.images import IMAGE_SUFFIXES
from alexnet.data.samples import Sample, Source, natural_key, normal_name
from alexnet.errors import DataError

# Accepted names of the splits in folders and CSV files, in any case.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_folder(root: Path) -> Source:
    """The images of `root/<class>/...`, or of `root/{train,val|valid|validation,test}/<class>/...`.

    The second layout applies if every folder in `root` has one of those names. Sub-folders of a class are read, too.
    Names that begin with a dot are ignored; other files are listed in `other_files`.
    Raises DataError for an empty folder, images without class folders, class folders without images, and split folders
    next to others.
    """
    others: list[str] = []
    classes = _class_folders(root)
    found = [(path, name, split) for folder, name, split in classes for path in images_below(root, folder, others)]
    others += _strays(root, classes)
    if not found:
        raise _no_images(root, classes, others)
    names = {name for _, name, _ in classes}
    return labelled_source(root.resolve().name or "folder", root, names, found, others)


def read_images(root: Path) -> Source:
    """All images below a folder as one class named `images`.

    A tenth is to be drawn for val. Other files are listed in `other_files`.
    """
    others: list[str] = []
    found = [(path.removeprefix("./"), "images", "") for path in images_below(root, ".", others)]
    source = labelled_source(root.resolve().name or "folder", root, {"images"}, found, others)
    return replace(source, fractions=(0.1, 0.0))


def holds_images(root: Path) -> bool:
    """Whether the folder itself holds images, outside any class folder."""
    return root.is_dir() and any(
        Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and entry.is_file() for entry in _entries(root)
    )


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, links included, in natural order; names that begin with a dot are ignored."""
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def images_below(root: Path, folder: str, others: list[str]) -> Iterator[str]:
    """Paths, relative to `root`, of the images below `root/folder`, in natural order.

    Ignored files are appended to `others`, with the reason. Links to folders are not followed: they can form a cycle.
    """
    for entry in _entries(root / folder):
        path, suffix = f"{folder}/{entry.name}", Path(entry.name).suffix
        if entry.is_dir(follow_symlinks=False):
            yield from images_below(root, path, others)
        elif not entry.is_file():
            others.append(f"{path}: neither a file nor a folder of its own (links to folders are not followed)")
        elif suffix.lower() not in IMAGE_SUFFIXES:
            others.append(f"{path}: {suffix or 'no suffix'} is not an image file's")
        else:
            yield path


def _class_folders(root: Path) -> list[tuple[str, str, str]]:
    """(folder relative to root, class name, split) of every class folder."""
    splits = {folder: SPLIT_NAMES.get(folder.casefold(), "") for folder in subfolders(root)}
    if all(splits.values()):
        return [(f"{top}/{name}", name, split) for top, split in splits.items() for name in subfolders(root / top)]
    nested = [folder for folder, split in splits.items() if split and subfolders(root / folder)]
    if nested:
        stranger = next(folder for folder, split in splits.items() if not split)
        raise DataError(
            f"{root} holds the split folder {nested[0]!r} and {stranger!r}, which is no split; "
            "move other folders elsewhere, or rename the classes"
        )
    return [(folder, folder, "") for folder in splits]


def _strays(root: Path, classes: Sequence[tuple[str, str, str]]) -> list[str]:
    """Files outside the class folders."""
    class_folders = {folder for folder, _, _ in classes}
    tops = [root, *(root / folder for folder in subfolders(root) if folder not in class_folders)]
    files = (Path(entry.path) for top in tops for entry in _entries(top) if not entry.is_dir())
    paths = sorted((str(file.relative_to(root)) for file in files), key=natural_key)
    return [f"{path}: outside any class folder" for path in paths]


def _no_images(root: Path, classes: Sequence[tuple[str, str, str]], others: Sequence[str]) -> DataError:
    """The error for a folder without images in class folders."""
    form = f"put the images of each class into a folder {root}/<class>/"
    if not _entries(root):
        return DataError(f"{root} is empty; {form}")
    if classes:
        return DataError(f"{root} has {len(classes)} class folders but no images in them; {form}")
    return DataError(f"{root} has {len(others)} files but no class folders; {form}, or list them in a CSV path,label")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}; check its name and permissions") from error
    return sorted(visible, key=lambda entry: natural_key(entry.name))


def labelled_source(
    name: str, root: Path, names: set[str], found: Sequence[tuple[str, str, str]], others: list[str]
) -> Source:
    """A source of files. found: (path, class name, split) of each image; names: of all classes, also empty ones."""
    class_names = sorted({normal_name(name) for name in names}, key=natural_key)
    label = {name: index for index, name in enumerate(class_names)}
    samples = [Sample(path, label[normal_name(name)], split) for path, name, split in found]
    return Source(name=name, root=root, class_names=class_names, samples=samples, other_files=others)
