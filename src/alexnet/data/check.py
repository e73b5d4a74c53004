"""A report on a source: every image is decoded as for training, and problems are listed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.alike import alike
from alexnet.data.extent import Extent
from alexnet.data.form import Form
from alexnet.data.images import ImageFacts, inspect
from alexnet.data.samples import Sample, Source, check_classes, each_image
from alexnet.data.splits import assign_splits
from alexnet.data.store.writer import most_bad
from alexnet.data.workers import ordered_map
from alexnet.errors import DataError

SMALL_SIDE = 63  # pixels, the smallest input of a network; smaller images are enlarged, hence blurred
NO_SPLIT = "not split"
EXAMPLES = 3  # paths kept per kind of image that needs conversion, and of small images


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
    small_examples: list[str]  # the first three


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
    alike: list[Duplicates]  # images that look alike, not all of equal pixels: saved anew or resized
    other_files: list[str]  # ignored by the source, "path: reason"
    litter: dict[str, int]  # ignored by the source, counted by name
    merged: list[str]  # class names that are written composed and decomposed
    extent: Extent  # what the stored form leaves out
    form: Form
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


def check(
    source: Source,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    form: Form | None = None,
) -> Report:
    """Decode every image of a source and report; writes nothing.

    form: that training would store them in; its size is not looked at. workers: threads, None for one
    per core. progress: called with (images done, number of images).
    """
    found, form = _Facts(source), form or Form()
    total = len(source.samples)
    with ordered_map(partial(inspect, value_range=form.value_range), each_image(source), workers) as results:
        for index, facts in enumerate(results):
            found.add(index, facts)
            if progress is not None:
                progress(index + 1, total)
    return _report(source, found, form)


class _Facts:
    """Facts about each image: about 90 bytes, and a line for those that are bad or need conversion."""

    def __init__(self, source: Source) -> None:
        count = len(source.samples)
        self._samples = source.samples
        self.usable = np.zeros(count, bool)
        self.width, self.height = np.zeros((2, count), np.int32)
        self.extent = Extent()
        self.digests = np.zeros((count, 2), np.uint64)
        self.looks = [b""] * count
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
        self.looks[index] = facts.look
        if facts.values is not None:
            self.extent.add(path, facts.width, facts.height, facts.values)
        for kind in facts.notes:
            self.kinds[kind] += 1
            if len(self.examples[kind]) < EXAMPLES:
                self.examples[kind].append(path)


def _report(source: Source, found: _Facts, form: Form) -> Report:
    classes = _class_counts(source, found.usable)
    filled = [each.images for each in classes if each.images]
    return Report(
        name=source.name,
        images=len(source.samples),
        usable=int(found.usable.sum()),
        classes=classes,
        imbalance=max(filled) / min(filled) if filled else None,
        sizes=_sizes(source, found),
        unreadable=found.unreadable,
        care=[Care(kind, images, found.examples[kind]) for kind, images in found.kinds.most_common()],
        duplicates=[_duplicates(source, group) for group in _equal_rows(found.digests, found.usable)],
        alike=[_duplicates(source, group) for group in _only_alike(found)],
        other_files=list(source.other_files),
        litter=dict(source.litter),
        merged=list(source.merged),
        extent=found.extent,
        form=form,
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


def _sizes(source: Source, found: _Facts) -> Sizes | None:
    if not found.usable.any():
        return None
    small = np.flatnonzero(found.usable & (np.minimum(found.width, found.height) < SMALL_SIDE))
    examples = [source.samples[row].path for row in small[:EXAMPLES]]
    return Sizes(_spread(found.width[found.usable]), _spread(found.height[found.usable]), len(small), examples)


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


def _only_alike(found: _Facts) -> list[list[int]]:
    """Groups of images that look alike, without those that are equal pixel for pixel."""
    return [group for group in alike(found.looks) if len(np.unique(found.digests[group], axis=0)) > 1]


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
