"""Rows: statistics, marks, and formats."""

import json

import pytest
from rich.console import Console

from alexnet.bench import table
from alexnet.bench.measure import Series
from alexnet.bench.table import Row

OURS = Series("ours", seconds=(0.1, 0.2, 0.4), peak_bytes=2_000_000_000)
THEIRS = Series("theirs", seconds=(0.5, 0.4, 2.0))
ABSENT = Series("absent", missing="it is not installed")


def test_rate_is_the_median_over_rounds_with_its_range() -> None:
    row = table.rate("train", OURS)
    assert (row.value, row.low, row.high, row.repeats) == pytest.approx((5.0, 2.5, 10.0, 3))
    assert (row.figure, row.spread) == ("5 images/s", "2.5 to 10")
    assert table.duration("ops", OURS).value == pytest.approx(200.0)
    assert table.memory("train", OURS).figure == "2 GB"


def test_ratios_are_computed_per_round() -> None:
    row = table.times_as_fast("train", "ours by theirs", OURS, THEIRS)
    assert (row.value, row.low, row.high) == pytest.approx((5.0, 2.0, 5.0))
    row = table.share("train", "ours of theirs", OURS, THEIRS)
    assert (row.value, row.low, row.high) == pytest.approx((20.0, 20.0, 50.0))


@pytest.mark.parametrize(
    ("marks", "mark", "holds"),
    [
        ({}, "", None),
        ({"at_least": 5.0}, ">= 5 x", True),
        ({"at_least": 5.1}, ">= 5.1 x", False),
        ({"at_most": 5.0}, "<= 5 x", True),
        ({"at_most": 4.9}, "<= 4.9 x", False),
        ({"at_least": 4000}, ">= 4,000 x", False),
    ],
)
def test_mark_holds_if_the_median_reaches_it(marks: dict[str, float], mark: str, holds: bool | None) -> None:
    row = table.row("train", "a ratio", "x", [5.0], **marks)
    assert (row.mark, row.holds) == (mark, holds)


def test_missing_series_gives_a_row_with_the_reason() -> None:
    row = table.times_as_fast("train", "ours by absent", OURS, ABSENT, at_least=5)
    assert (row.value, row.holds, row.figure) == (None, None, "not measured")
    assert row.text == "ours by absent (it is not installed)"
    assert row.verdict == ">= 5 x: not measured"


def test_fastest_ignores_missing_series() -> None:
    assert table.fastest(ABSENT, THEIRS, OURS) is OURS
    assert table.fastest(ABSENT) is ABSENT


def test_json_round_trip() -> None:
    row = table.row("train", "a ratio", "x", [5.0, 6.0], at_least=5, note="a note")
    text = json.dumps(row.to_json())
    assert json.loads(text)["holds"] is True
    assert Row.from_json(json.loads(text)) == row


def test_merged_runs_have_the_median_and_the_range_over_all() -> None:
    runs = [[table.row("train", "steps", "images/s", values)] for values in ([9.0, 10.0], [1.0, 2.0], [5.0, 6.0])]
    (row,) = table.merged([*runs, [Row("train", "steps", "images/s", note="out of memory")]])
    assert (row.value, row.low, row.high, row.repeats) == (5.5, 1.0, 10.0, 6)
    absent = [Row("train", "steps", "images/s", note="not installed")]
    assert table.merged([absent, absent]) == absent


def test_tables_contain_every_row_completely() -> None:
    rows = [
        table.row("ops", "a | b", "ms", [1234.5, 1.5, 0.001234], at_most=8),
        Row("train", "absent", "x", note="not installed"),
    ]
    lines = table.markdown(rows).splitlines()
    assert lines[2] == "| ops | a / b | 1.5 ms | 0.00123 to 1,234 | 3 | <= 8 ms: yes |"
    assert lines[3] == "| train | absent (not installed) | not measured |  |  |  |"
    console = Console(width=120)
    with console.capture() as shown:
        console.print(table.table(rows))
    assert all(word in shown.get() for word in ("a | b", "1.5 ms", "<= 8 ms: yes", "absent (not installed)"))


def test_rows_printed_one_by_one_align_like_one_table() -> None:
    rows = [table.row("ops", "first", "ms", [1.5]), table.row("ops", "second " * 20, "ms", [2.5], at_most=8)]
    console = Console(width=100)
    with console.capture() as together:
        console.print(table.table(rows))
    with console.capture() as apart:
        console.print(table.table(rows[:1]))
        console.print(table.table(rows[1:], above=rows[0]))
    assert apart.get() == together.get()
