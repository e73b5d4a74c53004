"""Pictures of one data set that stand in another: what was trained on must hold nothing of what judges."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from alexnet.data.alike import ALIKE, RESEMBLING, nearest
from alexnet.data.images import ImageFacts, inspect
from alexnet.data.samples import Source, each_image
from alexnet.data.workers import ordered_map


@dataclass(frozen=True)
class Pair:
    """A picture of the data and the one of the other set that is equal to it, or else looks most like it."""

    path: str
    other: str
    equal: bool  # pixel for pixel
    differ: int  # bits of their perceptual hashes, of 256

    @property
    def alike(self) -> bool:
        """Whether it is one picture saved anew or resized; else it may be, cropped or squeezed otherwise."""
        return not self.equal and self.differ <= ALIKE


@dataclass(frozen=True)
class Overlap:
    """What two sets share."""

    name: str
    other: str
    images: int  # readable, of the data
    others: int  # readable, of the other set
    pairs: list[Pair]  # one for each picture of the data that the other set has or may have, the nearest first

    @property
    def equal(self) -> int:
        """Pictures of the data that stand in the other set pixel for pixel."""
        return sum(pair.equal for pair in self.pairs)

    @property
    def alike(self) -> int:
        """Others, that look alike: saved anew or resized."""
        return sum(pair.alike for pair in self.pairs)

    @property
    def resembling(self) -> int:
        """Others still, that may be the same photograph; somebody must look."""
        return len(self.pairs) - self.equal - self.alike

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and the numbers of pictures of each kind."""
        return {**asdict(self), "equal": self.equal, "alike": self.alike, "resembling": self.resembling}


def overlap(
    source: Source, other: Source, workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Overlap:
    """Decode every image of both sets and compare their pixels and their perceptual hashes (`alike`).

    Labels and parts are not looked at. progress: called with (images done, images of both). Unreadable images are left
    out.
    """
    total = len(source.samples) + len(other.samples)
    seen = list(_seen(source, workers, progress, 0, total))
    others = list(_seen(other, workers, progress, len(source.samples), total))
    return Overlap(source.name, other.name, len(seen), len(others), _pairs(seen, others, workers))


Seen = tuple[str, ImageFacts]


def _seen(
    source: Source, workers: int | None, progress: Callable[[int, int], None] | None, before: int, total: int
) -> Iterator[Seen]:
    """The path and the facts of each readable image."""
    with ordered_map(inspect, each_image(source), workers) as results:
        for index, facts in enumerate(results):
            if facts.error is None:
                yield source.samples[index].path, facts
            if progress is not None:
                progress(before + index + 1, total)


def _pairs(seen: list[Seen], others: list[Seen], workers: int | None) -> list[Pair]:
    """For each picture that the other set has or may have: the pair, equal ones first, then by bits that differ."""
    first = {facts.digest: path for path, facts in reversed(others)}
    looked = nearest([facts.look for _, facts in seen], [facts.look for _, facts in others], workers)
    found = []
    for (path, facts), (row, differ) in zip(seen, looked, strict=True):
        if facts.digest in first:
            found.append(Pair(path, first[facts.digest], True, 0))
        elif differ <= RESEMBLING:
            found.append(Pair(path, others[row][0], False, differ))
    return sorted(found, key=lambda pair: (not pair.equal, pair.differ))
