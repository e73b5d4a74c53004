"""Pictures of one data set that stand in another: what was trained on must hold nothing of what judges."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from alexnet.data.alike import alike
from alexnet.data.images import ImageFacts, inspect
from alexnet.data.samples import Source, each_image
from alexnet.data.workers import ordered_map


@dataclass(frozen=True)
class Pair:
    """A picture of the data and one of the other set that is equal to it, or looks alike."""

    path: str
    other: str
    equal: bool  # pixel for pixel


@dataclass(frozen=True)
class Overlap:
    """What two sets share."""

    name: str
    other: str
    images: int  # readable, of the data
    others: int  # readable, of the other set
    pairs: list[Pair]  # one for each picture of the data that the other set has, equal ones first

    @property
    def equal(self) -> int:
        """Pictures of the data that stand in the other set pixel for pixel."""
        return sum(pair.equal for pair in self.pairs)

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and the numbers of equal pictures and of those that look alike alone."""
        return {**asdict(self), "equal": self.equal, "alike": len(self.pairs) - self.equal}


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
    return Overlap(name=source.name, other=other.name, images=len(seen), others=len(others), pairs=_pairs(seen, others))


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


def _pairs(seen: list[Seen], others: list[Seen]) -> list[Pair]:
    """For each picture that the other set has: the pair, equal ones first."""
    first = {facts.digest: path for path, facts in reversed(others)}
    equal = {row: first[facts.digest] for row, (_, facts) in enumerate(seen) if facts.digest in first}
    found = [Pair(seen[row][0], path, True) for row, path in equal.items()]
    for group in alike([facts.look for _, facts in (*seen, *others)]):
        mine = [row for row in group if row < len(seen)]
        theirs = [others[row - len(seen)][0] for row in group if row >= len(seen)]
        if theirs:
            found += [Pair(seen[row][0], theirs[0], False) for row in mine if row not in equal]
    return found
