"""Rows of a benchmark's results, and their formats: table for a terminal, JSON, Markdown."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from alexnet.bench.measure import Series

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = {"": 8, "what": 24, "median": 15, "spread": 16, "mark": 23}  # heading: width in characters


@dataclass(frozen=True)
class Row:
    """One result: median and range over the repeats, and a mark (a required limit), if it has one."""

    subject: str
    what: str
    unit: str
    value: float | None = None  # median; None: not measured, with the reason in `note`
    low: float | None = None
    high: float | None = None
    repeats: int = 0
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def mark(self) -> str:
        """The mark as text, ">= 5 x"; empty if there is none."""
        sign, limit = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return "" if limit is None else f"{sign} {limit:,.10g} {self.unit}"

    @property
    def holds(self) -> bool | None:
        """Whether the value reaches the mark; None without a mark or a value."""
        if self.value is None or not self.mark:
            return None
        return self.value >= self.at_least if self.at_least is not None else self.value <= (self.at_most or 0)

    @property
    def figure(self) -> str:
        """Value and unit, "12.3 ms"."""
        return "not measured" if self.value is None else f"{_short(self.value)} {self.unit}"

    @property
    def text(self) -> str:
        """Description and note."""
        return f"{self.what} ({self.note})" if self.note else self.what

    @property
    def spread(self) -> str:
        """Range over the repeats, "1.2 to 1.4"; empty without one."""
        return "" if self.low is None or self.high is None else f"{_short(self.low)} to {_short(self.high)}"

    @property
    def verdict(self) -> str:
        """Mark and outcome, ">= 5 x: yes"; empty without a mark."""
        return self.mark and f"{self.mark}: {'not measured' if self.holds is None else 'yes' if self.holds else 'no'}"

    def to_json(self) -> dict[str, Any]:
        """All fields, `mark` and `holds`, as JSON values."""
        return {**asdict(self), "mark": self.mark, "holds": self.holds}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Row":
        """The inverse of `to_json`."""
        return cls(**{name: value for name, value in values.items() if name not in ("mark", "holds")})


def row(subject: str, what: str, unit: str, figures: Sequence[float], **marks: Any) -> Row:
    """Row of the values of all repeats. marks: at_least or at_most, and note."""
    median = statistics.median(figures)
    return Row(subject, what, unit, median, min(figures), max(figures), len(figures), **marks)


def rate(subject: str, series: Series, unit: str = "images/s", scale: float = 1.0, **marks: Any) -> Row:
    """Units of work per second, times `scale`."""
    return compared(subject, series.name, unit, lambda seconds: scale / seconds, [series], **marks)


def duration(subject: str, series: Series, **marks: Any) -> Row:
    """Milliseconds per unit of work."""
    return compared(subject, series.name, "ms", lambda seconds: 1e3 * seconds, [series], **marks)


def times_as_fast(subject: str, what: str, ours: Series, theirs: Series, **marks: Any) -> Row:
    """Speed-up: seconds of theirs by seconds of ours, per round."""
    return compared(subject, what, "x", lambda our, their: their / our, [ours, theirs], **marks)


def share(subject: str, what: str, series: Series, of: Series, scale: float = 100.0, **marks: Any) -> Row:
    """Seconds of `series` by seconds of `of`, times `scale`; in percent with the default scale."""
    return compared(subject, what, "%", lambda one, other: scale * one / other, [series, of], **marks)


def compared(
    subject: str, what: str, unit: str, figure: Callable[..., float], series: Sequence[Series], **marks: Any
) -> Row:
    """Row of `figure(seconds of each series)`, evaluated per round; not measured if any series is missing."""
    if missing := [each.missing for each in series if each.missing]:
        return Row(subject, what, unit, **{**marks, "note": missing[0]})
    rounds = zip(*(each.seconds for each in series), strict=True)
    return row(subject, what, unit, [figure(*seconds) for seconds in rounds], **marks)


def memory(subject: str, series: Series, **marks: Any) -> Row:
    """Peak memory of a contender's process in GB (1e9 bytes)."""
    return Row(subject, f"{series.name}: memory", "GB", series.peak_bytes / 1e9, repeats=1, **marks)


def fastest(*series: Series) -> Series:
    """The measured series with the smallest median; the first if none was measured."""
    return min((each for each in series if not each.missing), key=lambda each: each.median, default=series[0])


def merged(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows of several runs merged: median of the values, range over all runs, sum of the repeats."""
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


def table(rows: Iterable[Row], above: Row | None = None) -> "Table":
    """The rows as a table with fixed column widths, so that it can be printed row by row.

    above: the row that was printed before, which makes the heading and a repeated subject unnecessary.
    """
    from rich.console import JustifyMethod
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, expand=True, show_header=above is None)
    for heading, width in COLUMNS.items():
        ratio = 1 if heading == "what" else None  # takes what the others leave
        justify: JustifyMethod = "right" if heading in ("median", "spread") else "left"
        shown.add_column(heading, width=width, ratio=ratio, justify=justify, overflow="fold")
    for each in rows:
        subject = "" if above and each.subject == above.subject else each.subject
        shown.add_row(subject, each.text, each.figure, each.spread, each.verdict)
        above = each
    return shown


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, with the number of repeats."""
    lines = ["| | what | median | spread | repeats | mark |", "|---|---|---|---|---|---|"]
    for each in rows:
        cells = (each.subject, each.text, each.figure, each.spread, str(each.repeats or ""), each.verdict)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three significant digits, or all integer digits: 1,234; 12.3; 0.0123."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
