"""Two images, or two folders of images paired by name, compared by their perceptual distance."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any

from alexnet.data.images import Pixels, decode
from alexnet.data.samples import natural_key, normal_name
from alexnet.data.sources.told import tell_passed_over
from alexnet.data.sources.walk import Walk
from alexnet.errors import DataError, Diverged, ImageError, UsageError
from alexnet.inference.perceptual import PerceptualDistance, pixels_tensor

AHEAD = 8  # pairs that are decoded at once


@dataclass(frozen=True)
class Pair:
    """Two images that belong together."""

    name: str  # path below both folders; of two images the first one's
    a: Path
    b: Path


@dataclass(frozen=True)
class Pairs:
    """What two folders have in common, and what only one of them has: paths below it."""

    pairs: list[Pair]
    only_a: list[str]
    only_b: list[str]


@dataclass(frozen=True)
class Compared:
    """The distance of a pair, or the reason why there is none."""

    name: str
    a: str
    b: str
    distance: float | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """{"name", "a", "b", "distance", "error"}."""
        return asdict(self)


def paired(a: Path, b: Path) -> Pairs:
    """The images to compare: the two given, or those of both folders that have the same path below them.

    The suffix may differ, such as in a folder of PNG and one of JPEG files, where each folder has the name once.
    UsageError for an image beside a folder, DataError for what is not there and for folders without a pair.
    """
    for path in (a, b):
        if not path.exists():
            raise DataError(f"there is nothing at {path}; give two images, or two folders of images")
    if a.is_dir() != b.is_dir():
        raise UsageError(f"one of {a} and {b} is a folder, the other is not; give two images or two folders")
    if not a.is_dir():
        return Pairs([Pair(str(a), a, b)], [], [])
    return _matched(a, b, _images(a), _images(b))


def compared(
    distance: PerceptualDistance, pairs: Sequence[Pair], progress: Callable[[int, int], None] | None = None
) -> Iterator[Compared]:
    """The distance of each pair in turn; of images of two sizes, and of those that cannot be read, the reason.

    progress: called with (pairs done, all pairs). Diverged for a network that gives values that are not finite.
    """
    waiting = iter(pairs)
    done = 0
    with ThreadPoolExecutor() as readers:
        while batch := list(islice(waiting, AHEAD)):
            for pair, found in zip(batch, readers.map(_decoded, batch), strict=True):
                yield _compared(distance, pair, found)
                done += 1
                if progress:
                    progress(done, len(pairs))


def read_pair(pair: Pair) -> tuple[Pixels, Pixels]:
    """Both images at their own size, uint8 (H, W, 3). ImageError names the file that cannot be read, or both sizes."""
    images = []
    for path in (pair.a, pair.b):
        try:
            images.append(decode(path))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
    one, other = images
    if one.shape != other.shape:
        sizes = (f"{path} is {each.shape[1]} x {each.shape[0]} px" for path, each in ((pair.a, one), (pair.b, other)))
        raise ImageError(f"{', '.join(sizes)}; distances need equal sizes: resize one")
    return one, other


def summary(answers: Sequence[Compared]) -> dict[str, Any]:
    """{"pairs": compared ones, "mean", "median", "largest": its name}; None where nothing was compared."""
    found = [(each.distance, each.name) for each in answers if each.distance is not None]
    values = [distance for distance, _ in found]
    return {
        "pairs": len(values),
        "mean": fmean(values) if values else None,
        "median": median(values) if values else None,
        "largest": max(found)[1] if values else None,
    }


def _compared(distance: PerceptualDistance, pair: Pair, found: tuple[Pixels, Pixels] | ImageError) -> Compared:
    names = (pair.name, str(pair.a), str(pair.b))
    if isinstance(found, ImageError):
        return Compared(*names, error=str(found))
    try:
        value = float(distance(*map(pixels_tensor, found)))
    except UsageError as error:  # too small
        return Compared(*names, error=f"{pair.name}: {error}")
    if value != value or value == float("inf"):
        raise Diverged(f"network {distance.network_name!r} gave a distance of {value}; its weights may have diverged")
    return Compared(*names, value)


def _decoded(pair: Pair) -> tuple[Pixels, Pixels] | ImageError:
    try:
        return read_pair(pair)
    except ImageError as error:
        return error


def _images(folder: Path) -> dict[str, str]:
    """By name the path below the folder of each image; what cannot be read is found again when it is compared."""
    walk = Walk(folder)
    found = [name for name, _ in walk.found()]
    tell_passed_over(str(folder), len(found), walk.others, walk.litter)
    if not found:
        raise DataError(f"{folder} is a folder without images; give two folders of images")
    return {normal_name(name): name for name in found}


def _matched(a: Path, b: Path, ones: dict[str, str], others: dict[str, str]) -> Pairs:
    """Paths equal letter by letter go first; then those that are equal without suffix, where that is unambiguous."""
    both = {name: name for name in ones if name in others}
    left, right = (_by_stem(names, both) for names in (ones, others))
    both |= {left[stem]: right[stem] for stem in left.keys() & right.keys()}
    order = sorted(both, key=natural_key)
    pairs = [Pair(ones[name], a / ones[name], b / others[both[name]]) for name in order]
    taken = set(both.values())
    only_a = [path for name, path in ones.items() if name not in both]
    only_b = [path for name, path in others.items() if name not in taken]
    if not pairs:
        raise DataError(
            f"no image of {a} has the name of one of {b}, such as {only_a[0]} and {only_b[0]}; name them alike"
        )
    return Pairs(pairs, only_a, only_b)


def _by_stem(names: dict[str, str], without: dict[str, str]) -> dict[str, str]:
    """By path without suffix each name that is the only one of its stem."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(os.path.splitext(name)[0], []).append(name)  # noqa: PTH122 - folders stay
    return {stem: each[0] for stem, each in found.items() if len(each) == 1 and each[0] not in without}
