"""A report on a source: every image is decoded as for training, and problems are listed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from alexnet.data.images import ImageFacts, inspect
from alexnet.data.samples import Sample, Source, check_classes, each_image
from alexnet.data.splits import assign_splits
from alexnet.data.store.writer import most_bad
from alexnet.data.workers import ordered_map
from alexnet.errors import DataError

SMALL_SIDE = 63  # pixels, the smallest input of a network; smaller images are enlarged, hence blurred
NO_SPLIT = "not split"
EXAMPLES = 3  # paths kept per kind of image that needs conversion
SHOWN = 20  # lines of each list in the rendered report; JSON has all


@dataclass(frozen=True)
class ClassCount:
    """Number of usable images of a class, total and by split, and of unusable ones."""

    name: str
    images: int
    splits: dict[str, int]  # keys: those of "train", "val", "test" and "not split" that occur in the source
    unreadable: int


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum over the usable images, in pixels."""

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class Sizes:
    """Sizes of the usable images, upright."""

    width: Spread
    height: Spread
    small: int  # images with a shorter side below 63 pixels


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Care:
    """Images of a kind that needs conversion: "16-bit", "CMYK", "EXIF orientation 6", ..."""

    kind: str
    images: int
    examples: list[str]  # the first three


@dataclass(frozen=True)
class Duplicates:
    """Images with equal decoded pixels, though their files may differ."""

    paths: list[str]
    classes: list[str]  # several: the same image with two labels
    splits: list[str]  # several: test images were seen in training


@dataclass(frozen=True)
class Report:
    """The result of `check`. Training refuses the data if `fatal` is not empty."""

    name: str
    images: int  # listed by the source
    usable: int
    classes: list[ClassCount]  # in the order of the labels
    imbalance: float | None  # images of the largest class / of the smallest non-empty class
    sizes: Sizes | None  # None if no image is usable
    unreadable: list[Unreadable]
    care: list[Care]  # most frequent first
    duplicates: list[Duplicates]
    other_files: list[str]  # ignored by the source, "path: reason"
    fatal: list[str]

    @property
    def across_splits(self) -> list[Duplicates]:
        return [group for group in self.duplicates if len(group.splits) > 1]

    @property
    def across_classes(self) -> list[Duplicates]:
        return [group for group in self.duplicates if len(group.classes) > 1]

    def to_json(self) -> dict[str, Any]:
        """All fields by name, and separately the duplicates across splits and across classes."""
        groups = {"across_splits": self.across_splits, "across_classes": self.across_classes}
        return {**asdict(self), **{f"duplicates_{name}": [asdict(g) for g in found] for name, found in groups.items()}}


def check(source: Source, workers: int | None = None, progress: Callable[[int, int], None] | None = None) -> Report:
    """Decode every image of a source and report; writes nothing.

    workers: threads, None for one per core. progress: called with (images done, number of images).
    """
    found = _Findings(source)
    total = len(source.samples)
    with ordered_map(inspect, each_image(source), workers) as results:
        for index, facts in enumerate(results):
            found.add(index, facts)
            if progress is not None:
                progress(index + 1, total)
    return _report(source, found)


def render(report: Report) -> list[str | Table]:
    """The report without `fatal` as lines and tables for a rich console with markup off."""
    lines: list[str | Table] = [
        f"{report.name}: {report.images} images of {len(report.classes)} classes, {report.usable} usable"
    ]
    lines += [_class_table(report.classes), *_size_lines(report)]
    lines += _listed("cannot be used", [f"{each.path}: {each.reason}" for each in report.unreadable])
    lines += _listed("kinds of image that are converted", [_care_line(care) for care in report.care])
    lines += _listed(_duplicates_title(report), [_group_line(group) for group in report.duplicates])
    lines += _listed("ignored files", report.other_files)
    return lines if report.fatal else [*lines, "Nothing stops training."]


class _Findings:
    """Facts about each image: 25 bytes, and a line for those that are bad or need conversion."""

    def __init__(self, source: Source) -> None:
        count = len(source.samples)
        self._samples = source.samples
        self.usable = np.zeros(count, bool)
        self.width, self.height = np.zeros((2, count), np.int32)
        self.digests = np.zeros((count, 2), np.uint64)
        self.unreadable: list[Unreadable] = []
        self.kinds: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, index: int, facts: ImageFacts) -> None:
        path = self._samples[index].path
        if facts.error is not None:
            self.unreadable.append(Unreadable(path, facts.error))
            return
        self.usable[index] = True
        self.width[index], self.height[index] = facts.width, facts.height
        self.digests[index] = np.frombuffer(facts.digest, np.uint64)
        for kind in facts.notes:
            self.kinds[kind] += 1
            if len(self.examples[kind]) < EXAMPLES:
                self.examples[kind].append(path)


def _report(source: Source, found: _Findings) -> Report:
    classes = _class_counts(source, found.usable)
    filled = [each.images for each in classes if each.images]
    return Report(
        name=source.name,
        images=len(source.samples),
        usable=int(found.usable.sum()),
        classes=classes,
        imbalance=max(filled) / min(filled) if filled else None,
        sizes=_sizes(found.width[found.usable], found.height[found.usable]),
        unreadable=found.unreadable,
        care=[Care(kind, images, found.examples[kind]) for kind, images in found.kinds.most_common()],
        duplicates=[_duplicates(source, group) for group in _equal_rows(found.digests, found.usable)],
        other_files=list(source.other_files),
        fatal=_fatal(source, found.usable),
    )


def _class_counts(source: Source, usable: NDArray[np.bool_]) -> list[ClassCount]:
    counts = Counter(
        (s.label, s.split) if good else (s.label, None) for s, good in zip(source.samples, usable, strict=True)
    )
    splits = [
        split for split in ("train", "val", "test", "") if any(sample.split == split for sample in source.samples)
    ]
    return [
        ClassCount(
            name=name,
            images=sum(counts[label, split] for split in splits),
            splits={split or NO_SPLIT: counts[label, split] for split in splits},
            unreadable=counts[label, None],
        )
        for label, name in enumerate(source.class_names)
    ]


def _sizes(width: NDArray[np.int32], height: NDArray[np.int32]) -> Sizes | None:
    if not len(width):
        return None
    small = np.minimum(width, height) < SMALL_SIDE
    return Sizes(_spread(width), _spread(height), int(small.sum()))


def _spread(values: NDArray[np.int32]) -> Spread:
    return Spread(int(values.min()), float(np.median(values)), int(values.max()))


def _equal_rows(digests: NDArray[np.uint64], usable: NDArray[np.bool_]) -> list[list[int]]:
    """Groups of two or more usable samples of equal digest, ordered by first member."""
    rows = np.flatnonzero(usable)
    _, group, counts = np.unique(digests[rows], axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)  # NumPy 2.0.0 gives a column
    repeated = counts[group] > 1
    members: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in zip(rows[repeated].tolist(), group[repeated].tolist(), strict=True):
        members[key].append(row)
    return list(members.values())


def _duplicates(source: Source, group: Sequence[int]) -> Duplicates:
    samples = [source.samples[index] for index in group]
    return Duplicates(
        paths=[sample.path for sample in samples],
        classes=[source.class_names[label] for label in sorted({sample.label for sample in samples})],
        splits=sorted({sample.split or NO_SPLIT for sample in samples}),
    )


def _fatal(source: Source, usable: NDArray[np.bool_]) -> list[str]:
    """The errors with which training would refuse the usable images of the source."""
    bad = int((~usable).sum())
    reasons = []
    if bad > most_bad(len(usable)):
        reasons.append(
            f"{bad} of {len(usable)} images cannot be used, {most_bad(len(usable)):.0f} are skipped by training; "
            "repair or remove them, or skip more with --max-bad 0.5"
        )
    left = [sample for sample, good in zip(source.samples, usable, strict=True) if good]
    for refuse in (_refuse_classes, _refuse_splits):
        try:
            refuse(source, left)
        except DataError as error:
            reasons.append(str(error))
    return reasons


def _refuse_classes(source: Source, left: list[Sample]) -> None:
    check_classes(replace(source, samples=left))


def _refuse_splits(source: Source, left: list[Sample]) -> None:
    labels, given = [sample.label for sample in left], [sample.split for sample in left]
    assign_splits(labels, given, source.class_names, 0, *source.fractions)


def _class_table(classes: Sequence[ClassCount]) -> Table:
    """One row per class; of many classes only those with the fewest images."""
    shown = classes if len(classes) <= 2 * SHOWN else sorted(classes, key=lambda each: each.images)[:SHOWN]
    hidden = len(classes) - len(shown)
    splits = list(classes[0].splits) if classes else []
    table = Table(box=None, pad_edge=False, caption=f"and {hidden} larger classes" if hidden else None)
    table.add_column("class", overflow="fold")
    for heading in [*splits, "images", "unreadable"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for each in shown:
        table.add_row(_printable(each.name), *map(str, [*each.splits.values(), each.images, each.unreadable]))
    return table


def _size_lines(report: Report) -> list[str]:
    lines = []
    if report.sizes is not None:
        width, height = report.sizes.width, report.sizes.height
        lines.append(
            f"width {width.min} to {width.max} (median {width.median:g}), "
            f"height {height.min} to {height.max} (median {height.median:g}) pixels"
        )
        if report.sizes.small:
            lines.append(f"images with a side below {SMALL_SIDE} pixels, which are enlarged: {report.sizes.small}")
    if report.imbalance == 1:
        lines.append("all classes have the same number of images")
    elif report.imbalance is not None:
        lines.append(f"the largest class has {report.imbalance:.3g} times as many images as the smallest")
    return lines


def _care_line(care: Care) -> str:
    return f"{care.kind}: {care.images}, for example {', '.join(care.examples)}"


def _duplicates_title(report: Report) -> str:
    unsplit = any(NO_SPLIT in group.splits for group in report.duplicates)
    return "groups of equal images" + (", which a random split may put into both train and test" if unsplit else "")


def _group_line(group: Duplicates) -> str:
    warnings = []
    if len(group.splits) > 1:
        warnings.append(f"LEAK between {', '.join(group.splits)}")
    if len(group.classes) > 1:
        warnings.append(f"TWO LABELS: {', '.join(group.classes)}")
    return " = ".join(group.paths) + (f"  ({'; '.join(warnings)})" if warnings else "")


def _listed(title: str, items: Sequence[str]) -> Iterable[str]:
    """A heading with the number of items, then the first ones; nothing if there are none."""
    if items:
        yield f"{title} ({len(items)}):"
        yield from (f"  {_printable(item)}" for item in items[:SHOWN])
    if len(items) > SHOWN:
        yield f"  and {len(items) - SHOWN} more; --json lists all"


def _printable(text: str) -> str:
    """Escape line breaks and bytes that are not text: file names may hold both."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
