"""The one walk through folders of images: what is an image, what is passed over, and which names are litter."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from alexnet.data.images import IMAGE_SUFFIXES
from alexnet.data.samples import natural_key
from alexnet.errors import DataError

# Names, in lower case, that systems and programs leave beside photos; so is every name that begins with a dot.
LITTER = frozenset(
    [
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *(
            "thumbs.db",
            "ehthumbs.db",
            "desktop.ini",
            "$recycle.bin",
            "recycler",
            "system volume information",
        ),  # Windows
        *("@eadir", "@tmp", "@recycle", "#recycle", "@recently-snapshot", "#snapshot"),  # network storage
        "lost+found",  # repaired disks
        *("_vti_cnf", "_vti_pvt"),  # web servers
        *("thumbs", "thumbnail", "thumbnails", "_thumbs", "_thumbnails", "@__thumb"),  # photo managers
    ]
)
RECOVERED = re.compile(r"found\.\d{3}", re.IGNORECASE)  # folders of a disk that Windows repaired
NOT_A_FILE = "neither a file nor a folder of its own (links to folders are not followed)"
OF_ANOTHER_KIND = "is not an image file's"


def is_litter(name: str) -> bool:
    """Whether no one means a file or folder of that name as data."""
    return name.startswith(".") or name.casefold() in LITTER or RECOVERED.fullmatch(name) is not None


def is_image(name: str) -> bool:
    """Whether a file of that name is taken for an image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


class Walk:
    """A look through the folders below `root`, in natural order, that keeps account of what it passes over.

    strict: a folder that cannot be read raises DataError; otherwise it is named among the images, with the reason.
    Folders are named relative to `root`, "" for itself. Links to folders are followed just below the root and its
    sub-folders, where `subfolders` names them, and nowhere else: they can form a cycle.
    """

    def __init__(self, root: Path, strict: bool = True) -> None:
        self.root, self.strict = root, strict
        self.others: list[str] = []  # "path: reason" of each file that is passed over
        self.litter: Counter[str] = Counter()  # by name; a folder's name ends in "/" and counts the files in it
        self._seen: dict[str, list[os.DirEntry[str]]] = {}

    def subfolders(self, folder: str = "") -> list[str]:
        """Names of the folders in a folder, links included, without litter."""
        return [entry.name for entry in self.entries(folder) if entry.is_dir()]

    def files(self, folder: str = "") -> list[str]:
        """Names of all that is no folder in a folder, without litter."""
        return [entry.name for entry in self.entries(folder) if not entry.is_dir()]

    def entries(self, folder: str = "") -> list[os.DirEntry[str]]:
        """What is in a folder, without litter, which is counted once however often this is asked."""
        if folder not in self._seen:
            self._seen[folder] = self._scan(folder)
        return self._seen[folder]

    def images(self, folder: str = "") -> Iterator[str]:
        """Paths relative to `root` of all images in a folder and below; all other files are added to `others`."""
        for path, reason in self.found(folder):
            if reason:
                self.others.append(f"{path}: {reason}")
            else:
                yield path

    def found(self, folder: str = "") -> Iterator[tuple[str, str]]:
        """As `images`, with images and, if not strict, folders that cannot be read: (path, "" or the reason)."""
        try:
            entries = self._seen.pop(folder) if folder in self._seen else self._scan(folder)
        except OSError as error:
            yield folder, f"cannot be read: {error.strerror}"
            return
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self.found(path)
            elif is_image(entry.name):
                yield path, "" if entry.is_file() else NOT_A_FILE
            else:
                self.others.append(f"{path}: {_other(entry)}")

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        """What is in a folder, in natural order; litter is counted and left out."""
        kept = []
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if is_litter(entry.name):
                        self._count_litter(entry)
                    else:
                        kept.append(entry)
        except OSError as error:
            if not self.strict:
                raise
            where = self.root / folder
            raise DataError(
                f"cannot read the folder {where}: {error.strerror}; check its name and permissions"
            ) from error
        return sorted(kept, key=lambda entry: natural_key(entry.name))

    def _count_litter(self, entry: os.DirEntry[str]) -> None:
        if not entry.is_dir(follow_symlinks=False):
            self.litter["._*" if entry.name.startswith("._") else entry.name] += 1
        elif entry.name.startswith("."):  # may hold a program's whole history
            self.litter[f"{entry.name}/"] += 1
        else:
            self.litter[f"{entry.name}/"] += max(1, sum(len(files) for _, _, files in os.walk(entry.path)))


def _other(entry: os.DirEntry[str]) -> str:
    """Why an entry that is neither an image nor a folder is passed over."""
    return f"{Path(entry.name).suffix or 'no suffix'} {OF_ANOTHER_KIND}" if entry.is_file() else NOT_A_FILE
