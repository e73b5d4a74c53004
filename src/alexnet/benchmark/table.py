"""Rows of figures, and how they are shown: a table for people, JSON, Markdown."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from alexnet.benchmark.measure import Series

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure: the median of its repeats, their spread, and the mark that it should reach, if it has one."""

    subject: str
    what: str
    unit: str
    value: float | None = None  # None: not measured, `note` says why
    low: float | None = None
    high: float | None = None
    repeats: int = 0
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def mark(self) -> str:
        """The mark in words; empty where there is none."""
        sign, limit = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return "" if limit is None else f"{sign} {limit:,.10g} {self.unit}"

    @property
    def holds(self) -> bool | None:
        """Whether the mark is reached; None where there is none, or no figure."""
        if self.value is None or not self.mark:
            return None
        return self.value >= self.at_least if self.at_least is not None else self.value <= (self.at_most or 0)

    @property
    def figure(self) -> str:
        """The value and its unit."""
        return "not measured" if self.value is None else f"{_short(self.value)} {self.unit}"

    @property
    def text(self) -> str:
        """What it is, and the note."""
        return f"{self.what} ({self.note})" if self.note else self.what

    @property
    def spread(self) -> str:
        """The smallest to the largest of the repeats."""
        return "" if self.low is None or self.high is None else f"{_short(self.low)} to {_short(self.high)}"

    @property
    def verdict(self) -> str:
        """The mark, and whether it is reached."""
        return self.mark and f"{self.mark}: {'not measured' if self.holds is None else 'yes' if self.holds else 'no'}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, the mark and whether it holds included."""
        return {**asdict(self), "mark": self.mark, "holds": self.holds}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Row":
        """The inverse of `to_json`."""
        return cls(**{name: value for name, value in values.items() if name not in ("mark", "holds")})


def row(subject: str, what: str, unit: str, figures: Sequence[float], **marks: Any) -> Row:
    """The row of these repeats. marks: at_least or at_most, note."""
    median = statistics.median(figures)
    return Row(subject, what, unit, median, min(figures), max(figures), len(figures), **marks)


def rate(subject: str, series: Series, unit: str = "images/s", scale: float = 1.0, **marks: Any) -> Row:
    """Units of work a second, times `scale`."""
    return compared(subject, series.name, unit, lambda seconds: scale / seconds, [series], **marks)


def duration(subject: str, series: Series, **marks: Any) -> Row:
    """Milliseconds a unit of work."""
    return compared(subject, series.name, "ms", lambda seconds: 1e3 * seconds, [series], **marks)


def times_as_fast(subject: str, what: str, ours: Series, theirs: Series, **marks: Any) -> Row:
    """How many times as fast ours is as theirs."""
    return compared(subject, what, "x", lambda our, their: their / our, [ours, theirs], **marks)


def share(subject: str, what: str, series: Series, of: Series, scale: float = 100.0, **marks: Any) -> Row:
    """The time of one in percent of the time of another; scale: 100 times what else relates them."""
    return compared(subject, what, "%", lambda one, other: scale * one / other, [series, of], **marks)


def compared(
    subject: str, what: str, unit: str, figure: Callable[..., float], series: Sequence[Series], **marks: Any
) -> Row:
    """The row of a function of the seconds that several contenders took in the same round."""
    if missing := [each.missing for each in series if each.missing]:
        return Row(subject, what, unit, **{**marks, "note": missing[0]})
    rounds = zip(*(each.seconds for each in series), strict=True)
    return row(subject, what, unit, [figure(*seconds) for seconds in rounds], **marks)


def memory(subject: str, series: Series, **marks: Any) -> Row:
    """Peak memory of a contender's process, in GB."""
    return Row(subject, f"{series.name}: memory", "GB", series.peak_bytes / 1e9, repeats=1, **marks)


def fastest(*series: Series) -> Series:
    """The fastest of those that were measured; the first where none was."""
    return min((each for each in series if not each.missing), key=lambda each: each.median, default=series[0])


def merged(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of several runs as one: the median of their values, the spread over all, the repeats together."""
    found: list[Row] = []
    for first in runs[0]:
        same = [each for run in runs for each in run if (each.subject, each.what) == (first.subject, first.what)]
        measured = [each for each in same if each.value is not None]
        found.append(_merged(measured) if measured else first)
    return found


def _merged(rows: list[Row]) -> Row:
    values = [each.value for each in rows if each.value is not None]
    lows = [*values, *(each.low for each in rows if each.low is not None)]
    highs = [*values, *(each.high for each in rows if each.high is not None)]
    repeats = sum(each.repeats for each in rows)
    return replace(rows[0], value=statistics.median(values), low=min(lows), high=max(highs), repeats=repeats)


def table(rows: Iterable[Row]) -> "Table":
    """For people at a terminal."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for heading in ("", "what", "median", "spread", "mark"):
        shown.add_column(heading, justify="right" if heading in ("median", "spread") else "left", overflow="fold")
    before = ""
    for each in rows:
        subject, before = "" if each.subject == before else each.subject, each.subject
        shown.add_row(subject, each.text, each.figure, each.spread, each.verdict)
    return shown


def markdown(rows: Iterable[Row]) -> str:
    """The same as a Markdown table, with the number of repeats."""
    lines = ["| | what | median | spread | repeats | mark |", "|---|---|---|---|---|---|"]
    for each in rows:
        cells = (each.subject, each.text, each.figure, each.spread, str(each.repeats or ""), each.verdict)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three figures, or all before the point: 1,234; 12.3; 0.0123."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
