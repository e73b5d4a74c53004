"""Results in a folder, and for people: lines for a terminal, summary.md, and the section of docs/results.md."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.bench.table import Row, markdown
from alexnet.errors import UsageError
from alexnet.files import read_json, whole_file, write_json
from device_parts.parts import PARTS

SUMMARY, RESULTS, LOGS = "summary.md", "results.json", "logs.txt"  # all that a folder of results holds
BEGIN, END = "<!-- device:begin -->", "<!-- device:end -->"
NOWHERE = "Not measured on a GPU: none was at hand."


def lines(result: dict[str, Any]) -> list[str]:
    """A part's state, and its rows."""
    return [_headline(result), *(f"  {_told(Row.from_json(each))}" for each in result["rows"])]


def holds(result: dict[str, Any]) -> bool:
    """Whether the part came to its end, or had a reason not to begin, and reached every mark."""
    marks = [Row.from_json(each).holds for each in result["rows"]]
    return result["state"] in ("done", "passed over") and False not in marks


def write_results(folder: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write folder/results.json, and folder/summary.md from it."""
    write_json(folder / RESULTS, {"parts": list(results)})
    with whole_file(folder / SUMMARY) as file:
        file.write(summary(read_results(folder)))


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The results in a folder, in the order of the parts, then others by name; none where there are none."""
    path = folder / RESULTS
    found = {result["part"]: result for result in read_json(path)["parts"]} if path.is_file() else {}
    names = [part.name for part in PARTS if part.name in found]
    return [found[name] for name in [*names, *sorted(name for name in found if name not in names)]]


def summary(results: list[dict[str, Any]]) -> str:
    """Markdown: where and with what, then a table of all rows, then how each part ended."""
    rows = [Row.from_json(each) for result in results for each in result["rows"]]
    ends = [f"- {_headline(result)}" for result in results]
    return "\n".join([*_heads(results), "", markdown(rows), "", *ends, ""])


def write_section(folder: Path, document: Path) -> None:
    """Put the folder's summary between the two markers of the document.

    Figures of a processor are none of a GPU: then the document says that there was none. UsageError for a folder
    without results and a document without markers.
    """
    results = read_results(folder)
    if not results:
        raise UsageError(f"{folder} holds no results; measure first: python tools/device.py --out {folder}")
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UsageError(f"{document} has no lines {BEGIN} and {END}; write them where the table shall stand")
    measured = any(result["machine"].get("device") == "cuda" for result in results)
    others = [result for result in results if result["machine"].get("device") != "cpu"]
    text = summary(others) if measured else f"{datetime.date.today().isoformat()}. {NOWHERE}\n"
    with whole_file(document) as file:
        file.write(f"{before}{BEGIN}\n{text}{END}{after}")


def _heads(results: list[dict[str, Any]]) -> list[str]:
    """One line for each machine, commit and day: where these differ, with the parts that it speaks of."""
    parts: dict[str, list[str]] = {}
    for result in results:
        if result["machine"]:
            parts.setdefault(_head(result["machine"]), []).append(result["part"])
    return [head + (f" ({', '.join(names)})" if len(parts) > 1 else "") for head, names in parts.items()]


def _head(machine: dict[str, Any]) -> str:
    full = machine["commit"] or "unknown"
    commit = full[:8] + ("+" if full.endswith("+") else "")  # changed since
    versions = f"torch {machine['torch']}, triton {machine['triton'] or 'none'}"
    if machine["device"] == "cpu":
        return f"`tools/device.py` on a processor, small, to see that it runs; {versions}; commit {commit}."
    return (
        f"`tools/device.py`, {machine['date']}, commit {commit}: {machine['card']}, driver {machine['driver']}, "
        f"{versions}, Python {machine['python']}, {machine['processor']}, {machine['cores']} cores, "
        f"native operators {machine.get('native') or 'off'}."
    )


def _headline(result: dict[str, Any]) -> str:
    reason = f": {result['reason']}" if result["reason"] else ""
    seconds = f" in {result['seconds']:.1f} s" if "seconds" in result else ""  # not where the runner was ended, too
    return f"{result['part']}: {result['state']}{seconds}{reason}"


def _told(row: Row) -> str:
    spread = f" ({row.spread})" if row.repeats > 1 else ""
    return f"{row.text}: {row.figure}{spread}" + (f"; {row.verdict}" if row.verdict else "")
