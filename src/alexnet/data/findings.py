"""What `check` found, as points for people in the order of harm: how many, which, and what to do."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from alexnet.data.check import NO_SPLIT, SMALL_SIDE, Care, Duplicates, Report
from alexnet.data.extent import LOST as MANY_CROPPED
from alexnet.data.form import CROPPING
from alexnet.data.images.facts import BLANK, PARTLY_READ
from alexnet.data.sources.told import litter_told, merged_told, passed_over, twins

SHOWN = 20  # examples kept for a finding; the report has all
UNEQUAL = 5  # times as many images in the largest class as in the smallest
FEW = 20  # images of a class


class Severity(StrEnum):
    """How harmful a finding is, the most harmful first."""

    STOPS = "Stops training"
    HARMS = "Harms silently"
    LOST = "Is lost"
    BETTER = "Could be better"
    FINE = "Is fine"


@dataclass(frozen=True)
class Finding:
    """One point of the report."""

    severity: Severity
    title: str  # a sentence with the number of images, files or classes
    count: int = 0
    examples: list[str] = field(default_factory=list)  # the first 20: a path, with what there is to say about it
    advice: str = ""  # what to do
    pictures: list[str] = field(default_factory=list)  # paths of samples that show it

    def hidden(self, shown: int) -> int:
        """How many more there are where `shown` examples are shown; 0 where it gives no examples of what it counts."""
        return max(0, self.count - shown) if self.examples and self.severity != Severity.FINE else 0

    def to_json(self) -> dict[str, Any]:
        """The fields by name; the severity as "stops", "harms", "lost", "better" or "fine"."""
        return {**asdict(self), "severity": self.severity.name.lower()}


def findings(report: Report) -> list[Finding]:
    """All points of a report, the most harmful first."""
    found = [finding for find in FINDERS for finding in find(report)]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def verdict(found: Sequence[Finding]) -> str:
    """The last line of a report: no all-clear where there is harm."""
    counts = Counter(finding.severity for finding in found)
    if stops := counts[Severity.STOPS]:
        return f"Training cannot start: mend what stops it first ({_points(stops)})."
    if harms := counts[Severity.HARMS]:
        return f"Training would start and its scores mislead: mend what harms silently first ({_points(harms)})."
    if lesser := counts[Severity.LOST] + counts[Severity.BETTER]:
        return f"Nothing stops training; {_points(lesser)} above could be better."
    return "Nothing stops training."


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"


def _stops(report: Report) -> Iterator[Finding]:
    for reason in report.fatal:
        title, _, advice = reason.partition("; ")
        yield Finding(Severity.STOPS, title, 1, advice=advice)


def _leaks(report: Report) -> Iterator[Finding]:
    if groups := report.across_splits:
        yield Finding(
            Severity.HARMS,
            f"LEAK: {_stand(groups)} in more than one part; scores of held-out parts would be too good",
            len(groups),
            [f"{' = '.join(group.paths)} ({', '.join(group.splits)})" for group in groups[:SHOWN]],
            "keep each in one part only, or train with --drop-duplicates",
            _twins(groups),
        )


def _two_labels(report: Report) -> Iterator[Finding]:
    if groups := report.across_classes:
        yield Finding(
            Severity.HARMS,
            f"TWO LABELS: {_stand(groups)} under more than one label; only one of them can be right",
            len(groups),
            [f"{' = '.join(group.paths)} ({', '.join(group.classes)})" for group in groups[:SHOWN]],
            "keep each under the right label only",
            _twins(groups),
        )


def _twin_names(report: Report) -> Iterator[Finding]:
    if found := twins([each.name for each in report.classes]):
        yield Finding(
            Severity.HARMS,
            f"NAMES: {len(found)} classes differ in case alone; each is a class of its own",
            len(found),
            found[:SHOWN],
            "give them one name if they are one",
        )


def _copies(report: Report) -> Iterator[Finding]:
    """Equal pictures of one class: a random split separates them, a given part counts them twice."""
    alike = [group for group in report.duplicates if len(group.classes) == len(group.splits) == 1]
    drawn = [group for group in alike if group.splits == [NO_SPLIT]]
    given = [group for group in alike if group.splits != [NO_SPLIT]]
    for groups, severity, meaning in (
        (drawn, Severity.HARMS, "a random split may put one copy into train and another into test"),
        (given, Severity.BETTER, "each copy counts again"),
    ):
        if groups:
            yield Finding(
                severity,
                f"COPIES: {_stand(groups)} in several files; {meaning}",
                len(groups),
                [" = ".join(group.paths) for group in groups[:SHOWN]],
                "keep one of each, or train with --drop-duplicates",
                _twins(groups),
            )


def _stand(groups: Sequence[Duplicates]) -> str:
    return "1 picture stands" if len(groups) == 1 else f"{len(groups):,} pictures stand"


def _twins(groups: Sequence[Duplicates]) -> list[str]:
    return [path for group in groups[:SHOWN] for path in group.paths[:2]][:SHOWN]


def _alike(report: Report) -> Iterator[Finding]:
    """Pictures saved anew or resized: as harmful as equal ones."""
    across = [group for group in report.alike if len(group.splits) > 1 or len(group.classes) > 1]
    drawn = [group for group in report.alike if group not in across and group.splits == [NO_SPLIT]]
    given = [group for group in report.alike if group not in across and group not in drawn]
    for groups, severity, meaning in (
        (across, Severity.HARMS, "in several parts or classes: a leak, or two labels, if they are the same picture"),
        (drawn, Severity.HARMS, "in one class: a random split may put one into train and another into test"),
        (given, Severity.BETTER, "in one class and part: the same picture counts again"),
    ):
        if groups:
            stand = "1 group of pictures stands" if len(groups) == 1 else f"{len(groups):,} groups of pictures stand"
            yield Finding(
                severity,
                f"ALIKE, saved anew or resized: {stand} {meaning}",
                len(groups),
                [
                    f"{' ~ '.join(group.paths)} ({', '.join([*group.splits, *group.classes])})"
                    for group in groups[:SHOWN]
                ],
                "look at them, and keep one of each",
                _twins(groups),
            )


def _blanks(report: Report) -> Iterator[Finding]:
    for care in report.care:
        if care.kind == BLANK:
            yield Finding(
                Severity.HARMS,
                f"BLANK: {_are(care.images, 'image')} of one colour: nothing to learn from",
                care.images,
                care.examples,
                "delete, or save again from the original",
                care.examples,
            )


def _values(report: Report) -> Iterator[Finding]:
    for line in report.extent.lines(replace(report.form, fit="warp")):  # without the crop
        title, _, advice = line.partition("; ")
        yield Finding(Severity.HARMS, f"VALUES: {title}", report.extent.images, advice=advice)


def _cropped(report: Report) -> Iterator[Finding]:
    extent = report.extent
    if report.form.fit in CROPPING and extent.cropped:
        yield Finding(
            Severity.HARMS if extent.cropped > MANY_CROPPED * extent.images else Severity.BETTER,
            f"CROP: {extent.cropped:,} of {extent.images:,} images lose more than a third of their area to the centre"
            " crop",
            extent.cropped,
            extent.examples,
            "--fit pad keeps all of it in its proportions, --fit warp all of it squashed to a square",
            extent.examples,
        )


def _unreadable(report: Report) -> Iterator[Finding]:
    if bad := report.unreadable:
        yield Finding(
            Severity.LOST,
            f"{_are(len(bad), 'image')} left out: cannot be used",
            len(bad),
            [f"{each.path}: {each.reason}" for each in bad[:SHOWN]],
            "save again from the original, or delete",
        )


def _passed_over(report: Report) -> Iterator[Finding]:
    if others := report.other_files:
        title, _, advice = passed_over(report.images, others).partition("; ")
        yield Finding(Severity.LOST, title, len(others), others[:SHOWN], advice)


def _partly_read(report: Report) -> Iterator[Finding]:
    for care in report.care:
        if care.kind in PARTLY_READ:
            yield Finding(
                Severity.LOST,
                f"{_have(care.images, 'file', 'files')} {PARTLY_READ[care.kind]}: the first picture is used alone",
                care.images,
                care.examples,
                "save the others to files of their own if they should count",
                care.examples,
            )


def _unequal(report: Report) -> Iterator[Finding]:
    filled = sorted((each for each in report.classes if each.images), key=lambda each: each.images)
    if report.imbalance is not None and report.imbalance >= UNEQUAL:
        least, most = filled[0], filled[-1]
        rare = [each for each in filled if each.images * UNEQUAL <= most.images]
        yield Finding(
            Severity.BETTER,
            f"the largest class, {most.name}, has {report.imbalance:.3g} times as many images as the smallest,"
            f" {least.name}",
            len(rare),
            [f"{each.name}: {each.images}" for each in rare[:SHOWN]],
            "add photos of the small classes, or train with --balance sampling",
        )


def _few(report: Report) -> Iterator[Finding]:
    few = sorted((each for each in report.classes if 0 < each.images < FEW), key=lambda each: each.images)
    if few:
        yield Finding(
            Severity.BETTER,
            f"{_have(len(few), 'class', 'classes')} fewer than {FEW} images",
            len(few),
            [f"{each.name}: {each.images}" for each in few[:SHOWN]],
            "add photos: with few of a class its scores are uncertain",
        )


def _small(report: Report) -> Iterator[Finding]:
    if report.sizes is not None and report.sizes.small:
        yield Finding(
            Severity.BETTER,
            f"{_have(report.sizes.small, 'image', 'images')} a side below {SMALL_SIDE} pixels: enlarged, hence blurred",
            report.sizes.small,
            report.sizes.small_examples,
            "take larger originals if there are any, or train with a smaller --input-size",
            report.sizes.small_examples,
        )


def _fine(report: Report) -> Iterator[Finding]:
    if report.sizes is not None:
        width, height = report.sizes.width, report.sizes.height
        yield Finding(
            Severity.FINE,
            f"width {width.min} to {width.max} (median {width.median:g}), "
            f"height {height.min} to {height.max} (median {height.median:g}) pixels",
            report.usable,
        )
    if report.usable and not report.unreadable:
        yield Finding(Severity.FINE, "every image can be read", report.usable)
    if report.usable and not report.duplicates:
        yield Finding(Severity.FINE, "no two images are equal", report.usable)
    if report.imbalance is not None and report.imbalance < UNEQUAL:
        equal = "all classes have the same number of images"
        nearly = f"the largest class has {report.imbalance:.3g} times as many images as the smallest"
        yield Finding(Severity.FINE, equal if report.imbalance == 1 else nearly, len(report.classes))
    if converted := [care for care in report.care if care.kind not in PARTLY_READ and care.kind != BLANK]:
        yield Finding(
            Severity.FINE,
            "as they are read, by kind",
            sum(care.images for care in converted),
            [_converted(care) for care in converted[:SHOWN]],
        )

    if report.merged:
        yield Finding(Severity.FINE, merged_told(report.merged), len(report.merged))
    if report.litter:
        yield Finding(Severity.FINE, litter_told(report.litter), sum(report.litter.values()))


def _converted(care: Care) -> str:
    return f"{care.kind}: {care.images}, for example {', '.join(care.examples)}"


def _are(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count:,} {what}s are"


def _have(count: int, one: str, many: str) -> str:
    return f"1 {one} has" if count == 1 else f"{count:,} {many} have"


# One function a kind of finding. Within a severity findings keep this order.
FINDERS: tuple[Callable[[Report], Iterator[Finding]], ...] = (
    *(_stops, _leaks, _two_labels, _twin_names, _copies, _alike, _blanks, _values, _cropped),
    *(_unreadable, _passed_over, _partly_read),
    *(_unequal, _few, _small, _fine),
)
