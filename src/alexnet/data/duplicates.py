"""Equal pictures, known by a digest of their pixels: leaks between parts, two labels for one picture."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMPLES = 3  # groups that are named
KEPT_FIRST = ("test", "val", "train", "")  # a held-out image stays, its twin does not train


@dataclass(frozen=True)
class Leaks:
    """Pictures that make scores too good or labels doubtful; equal pixel for pixel."""

    across_parts: int  # pictures that stand in more than one of train, val and test
    two_labels: int  # pictures that have more than one label
    examples: list[list[str]]  # paths of the first three such pictures

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {"across_parts": self.across_parts, "two_labels": self.two_labels, "examples": self.examples}

    def __bool__(self) -> bool:
        return bool(self.across_parts or self.two_labels)

    def __str__(self) -> str:
        """One line: what leaks, examples, and what it means."""
        told, meaning = [], []
        if self.across_parts:
            told.append(f"{_pictures(self.across_parts)} in more than one part")
            meaning.append("scores of held-out parts are too good")
        if self.two_labels:
            told.append(f"{_pictures(self.two_labels)} under two labels")
            meaning.append("one of two labels is wrong")
        examples = "; ".join(" = ".join(paths[:EXAMPLES]) for paths in self.examples)
        return f"{' and '.join(told)}: {', and '.join(meaning)} ({examples})"


def leaks(digests: Sequence[Hashable], labels: NDArray[np.int64], parts: Sequence[str], paths: Sequence[str]) -> Leaks:
    """The leaks among N images. digests: equal for equal pictures. parts: "train", "val", "test", or "" for none."""
    across, doubtful = 0, 0
    named: list[list[str]] = []
    for rows in equal_groups(digests):
        leaking = len({parts[row] for row in rows} - {""}) > 1
        doubted = len({int(labels[row]) for row in rows}) > 1
        across, doubtful = across + leaking, doubtful + doubted
        if (leaking or doubted) and len(named) < EXAMPLES:
            named.append([paths[row] for row in rows])
    return Leaks(across, doubtful, named)


def equal_groups(digests: Sequence[Hashable]) -> list[list[int]]:
    """Groups of two or more images of equal digest, as ascending indices, ordered by their first."""
    rows_of: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows_of[digest].append(row)
    return [rows for rows in rows_of.values() if len(rows) > 1]


def without_duplicates(digests: Sequence[Hashable], given: Sequence[str]) -> NDArray[np.bool_]:
    """bool (N,): one image of each group of equal ones; of different parts the one in test, then in val, then in train.

    given: the part that the data gives each image, or "".
    """
    keep = np.ones(len(digests), bool)
    for rows in equal_groups(digests):
        keep[rows] = False
        keep[min(rows, key=lambda row: (KEPT_FIRST.index(given[row]), row))] = True
    return keep


def _pictures(count: int) -> str:
    return "1 picture stands" if count == 1 else f"{count:,} pictures stand"
