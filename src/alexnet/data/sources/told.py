"""What every command says of data before it reads it: what was passed over, and names that look alike."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alexnet.data.samples import Source, some_names
from alexnet.data.sources.walk import OF_ANOTHER_KIND, is_image

log = logging.getLogger(__name__)

UNLABELLED_IMAGE = "an unlabelled image, in no class folder"
OUTSIDE = "outside any class folder"
NO_SUFFIX = "without a suffix"
UNLABELLED = "unlabelled"

# Suffixes of pictures that are not read: what camera makers, phones and painting programs write.
PICTURES = frozenset(
    [
        *(".jxl", ".psd", ".svg", ".tga", ".exr", ".hdr", ".ico", ".eps", ".pdf"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"),
    ]
)
FILMS = frozenset([".mov", ".mp4", ".avi", ".mkv", ".webm", ".m4v"])


def tell(source: Source) -> Source:
    """Log what a source passed over, a line for files and one for litter, and class names that differ in case alone.

    Returns the source.
    """
    tell_passed_over(source.name, len(source.samples), source.other_files, source.litter)
    tell_twins(source.name, source.class_names)
    if source.merged:
        log.info("%s: %s", source.name, merged_told(source.merged))
    return source


def merged_told(names: Sequence[str]) -> str:
    """What is said of class names that are stored with letters composed in one place and decomposed in another."""
    return f"written in two ways, with letters composed and decomposed, and taken as one class: {some_names(names, 6)}"


def tell_passed_over(name: str, images: int, others: Sequence[str], litter: Mapping[str, int]) -> None:
    """Log in one line what a walk passed over for its kind, in another the litter; nothing where there is none.

    A warning if pictures are among it. name: of the data; images: those that were found; others: "path: reason".
    """
    if litter:
        log.info("%s: %s", name, litter_told(litter))
    if others:
        level = logging.WARNING if any(_may_be_missed(_kind(line)) for line in others) else logging.INFO
        log.log(level, "%s: %s", name, passed_over(images, others))


def passed_over(images: int, others: Sequence[str]) -> str:
    """What was passed over, by suffix, and what to do about it."""
    kinds = Counter(map(_kind, others))
    counted = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    return "; ".join([f"{len(others):,} of {len(others) + images:,} files passed over: {counted}", *_advice(kinds)])


def litter_told(litter: Mapping[str, int]) -> str:
    """The litter that was passed over, counted by name."""
    return f"litter passed over: {', '.join(_litter(litter))}"


def _litter(litter: Mapping[str, int]) -> Iterable[str]:
    for name, count in litter.items():
        yield f"{count:,} in {name}" if name.endswith("/") and not name.startswith(".") else f"{count:,} {name.strip()}"


def _kind(line: str) -> str:
    """What a file that was passed over is counted as: by its suffix, or by the reason."""
    path, _, reason = line.rpartition(": ")
    if reason.startswith("its class") or reason == UNLABELLED_IMAGE:
        return "of classes that train lacks" if reason.startswith("its class") else UNLABELLED
    if reason == OUTSIDE and is_image(path):
        return OUTSIDE
    if reason == OUTSIDE or reason.endswith(OF_ANOTHER_KIND):
        return Path(path).suffix.lower() or NO_SUFFIX
    return "not a file"


def _may_be_missed(kind: str) -> bool:
    return kind in PICTURES or kind in FILMS or not kind.startswith((".", UNLABELLED))


def _advice(kinds: Counter[str]) -> Iterable[str]:
    """What to do about each kind that may be missed."""
    pictures = [kind for kind in kinds if kind in PICTURES]
    if pictures:
        yield f"convert {', '.join(pictures)} to JPEG or PNG"
    if any(kind in FILMS for kind in kinds):
        yield "take single frames of films"
    if NO_SUFFIX in kinds:
        yield "give images among those without a suffix one, such as .jpg"
    if OUTSIDE in kinds:
        yield "put images into their class folders"
    if UNLABELLED in kinds:
        yield "unlabelled images are not used: name them with alexnet predict"


def tell_twins(name: str, class_names: Sequence[str]) -> None:
    """Warn of class names that differ in case alone: they are two classes, which is seldom meant. name: of the data."""
    if found := twins(class_names):
        log.warning(
            "%s: classes differ in case alone: %s; each is a class of its own: give them one name if they are one",
            *(name, some_names(found, 6)),
        )


def twins(class_names: Sequence[str]) -> list[str]:
    """The names that differ from another one in case alone."""
    groups: dict[str, list[str]] = {}
    for each in class_names:
        groups.setdefault(each.casefold(), []).append(each)
    return [each for group in groups.values() if len(group) > 1 for each in group]
