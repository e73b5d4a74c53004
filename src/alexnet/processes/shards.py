"""Work divided into N parts for machines that know nothing of each other: which images are of part I. No torch."""

import re
from dataclasses import dataclass
from pathlib import Path

from alexnet.errors import UsageError

MOST = 99_999  # parts: the digits of their folders' names


@dataclass(frozen=True)
class Shard:
    """One of N equal parts of some work, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        """ "2/8": the second of eight."""
        return f"{self.number}/{self.count}"

    def bounds(self, things: int, unit: int) -> tuple[int, int]:
        """[low, high) of `things` in a row that are this part: whole units, but for the last; it may be empty."""
        ends = ends_of_parts(things, unit, self.count)
        return ends[self.number - 1], ends[self.number]


@dataclass(frozen=True)
class Division:
    """What one command does of divided work: one part, or to put all parts together."""

    folder: Path  # where the parts are kept
    shard: Shard | None  # None: put them together


def read_shard(text: str) -> Shard:
    """ "2/8" -> Shard(2, 8); UsageError for other text."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= MOST:
        raise UsageError(f"shard is {text!r}; it takes I/N, counted from 1, such as 2/8: the second of eight parts")
    return Shard(int(found[1]), int(found[2]))


def ends_of_parts(count: int, batch: int, ranks: int) -> list[int]:
    """K + 1 bounds between the K parts of `count` things, each of whole batches, but for the last one."""
    batches = -(-count // batch)
    return [min(count, batch * (batches * rank // ranks)) for rank in range(ranks)] + [count]
