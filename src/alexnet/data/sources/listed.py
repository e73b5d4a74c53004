"""Files that a table lists, found where people keep them."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from alexnet.data.samples import normal_name
from alexnet.data.sources.parts import part_named
from alexnet.data.sources.walk import Walk, is_image
from alexnet.errors import DataError

_FOLDED = "/"  # before names in lower case: no name begins with it
USUAL = ("images", "image", "imgs", "img", "photos")  # folders searched first


class ListedFiles:
    """Finds the files that a table beside `root` lists, as they are written or nearly so.

    Tried in this order: the path as it is; with / for Windows's backslashes; below `images/`, the folder of the table's
    part or another folder beside the table; the part of the path below a folder of root's name. In each place a name
    may lack its suffix, its letters may be composed or decomposed, or of another case. A name that fits two files is
    refused. part: of all images, such as "train" for train.csv; "" if they are of several.
    """

    def __init__(self, root: Path, part: str = "") -> None:
        self.root, self.part = root, part
        self._above = f"/{root.resolve().name}/"
        self.ways: Counter[str] = Counter()  # how the files were found that are not where the table says
        self._names: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str) -> str:
        """The file's path relative to `root`; "" if there is none. DataError for a path that fits two files."""
        if _is_file(self.root / path):
            return path
        plain = normal_name(path.replace("\\", "/"))
        _, above, tail = f"/{plain}".rpartition(self._above)
        below = [([""], tail)] if above else []
        for group, wanted in [*((group, plain) for group in self._places), *below]:
            if fitting := [found for place in group for found in self._fitting(place, wanted)]:
                if len(fitting) > 1:
                    raise DataError(f"{path!r} fits {len(fitting)} files, {fitting[0]!r} and {fitting[1]!r}; list one")
                self._count(path, plain, fitting[0])
                return fitting[0]
        return ""

    def holds(self, path: str) -> bool:
        """Whether the path fits a file, or several; nothing is counted."""
        before = self.ways.copy()
        try:
            return bool(self.find(path))
        except DataError:
            return True
        finally:
            self.ways = before

    @cached_property
    def _places(self) -> Sequence[Sequence[str]]:
        """Folders to search: the root; those of a usual name; that of the part; all others beside the table."""
        beside = Walk(self.root, strict=False).subfolders()
        usual = [name for name in beside if name.casefold() in USUAL]
        ours = [name for name in beside if self.part and part_named(name) == self.part]
        return [""], usual, ours, [name for name in beside if name not in usual + ours]

    def _fitting(self, place: str, path: str) -> list[str]:
        folder, _, name = path.rpartition("/")
        where = "/".join(filter(None, (place, folder)))
        names = self._listing(where)
        prefix = f"{where}/" if where else ""
        return [prefix + each for each in names.get(name) or names.get(_FOLDED + name.casefold(), [])]

    def _listing(self, folder: str) -> dict[str, list[str]]:
        """Names of the images in a folder, by the full name and by the one without the suffix, also in lower case."""
        if folder not in self._names:
            names = self._names[folder] = {}
            for each in _names_in(self.root / folder):
                if is_image(each):
                    for key in (normal_name(each), normal_name(each.rpartition(".")[0])):
                        names.setdefault(key, []).append(each)
                        names.setdefault(_FOLDED + key.casefold(), []).append(each)
        return self._names[folder]

    def _count(self, path: str, plain: str, found: str) -> None:
        """Note in which ways a file lies elsewhere than written."""
        name, folder = plain.rpartition("/")[2], found.rpartition("/")[0]
        if "\\" in path:
            self.ways["with \\ read as /"] += 1
        if normal_name(found.rpartition("/")[2]) != name:
            same = normal_name(found.rpartition("/")[2]).casefold() == name.casefold()
            self.ways["by names of another case" if same else "by names without a suffix"] += 1
        if normal_name(folder) != plain.rpartition("/")[0].removeprefix("./"):
            self.ways[f"in {folder.partition('/')[0] or '.'}/"] += 1


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []  # the files that are missing are named by the caller


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero
        return False
