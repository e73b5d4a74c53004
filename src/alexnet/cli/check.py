"""alexnet check"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet.cli.options import AsJson, Data, Exact, Fit, LabelColumn, ValueRange, Workers, asked_range, with_column
from alexnet.cli.output import BAD_DATA, print_json, print_message, printable
from alexnet.console import bar, print_lines, table
from alexnet.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from alexnet.data.against import Overlap
    from alexnet.data.check import ClassCount, Report
    from alexnet.data.findings import Finding
    from alexnet.data.samples import Source

PAGE = "check.html"
EXAMPLES = 5  # lines of a finding
RESEMBLING_SHOWN = 20
CLASSES = 40  # of more classes the smallest CLASSES / 2 are listed


def check(
    data: Data,
    label_column: LabelColumn = None,
    fit: Fit = None,
    value_range: ValueRange = None,
    exact: Exact = None,
    workers: Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(help=f"Folder for {PAGE}: the report with the pictures concerned.", show_default="none"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Other data: only name the images of DATA that stand in it, equal, alike or perhaps.",
            show_default="none",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Read every image as training would and report problems, the most harmful first; changes nothing."""
    from alexnet.data.check import check as check_source
    from alexnet.data.findings import findings, verdict
    from alexnet.data.sources import find_source
    from alexnet.data.store import form_of, is_store

    if is_store(data):
        raise UsageError(
            f"{data} is a packed store; check the images it was made from, or: alexnet pack {data} --verify"
        )
    if against is not None:
        return _compare(with_column(data, label_column), against, workers, out, as_json)
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder, in which {PAGE} is written")
    with bar("reading") as progress:
        source = find_source(with_column(data, label_column))
        form = form_of(source, None, fit, asked_range(value_range), exact, workers, progress)
        report = check_source(source, workers=workers, progress=progress, form=form)
    found = findings(report)
    page = None if out is None else str(_write_page(out, source, report, found))
    if as_json:
        print_json({**report.to_json(), "findings": [finding.to_json() for finding in found], "page": page})
    else:
        print_lines(*render(report, found), *([f"The pictures: {page}"] if page else []), verdict(found))
    for reason in report.fatal:
        print_message(reason)
    return BAD_DATA if report.fatal else 0


def _compare(data: str, against: str, workers: int | None, out: Path | None, as_json: bool) -> int:
    from alexnet.data.against import overlap
    from alexnet.data.sources import open_source

    if out is not None:
        raise UsageError(f"--against {against} writes no page; leave --out {out} out")
    source, other = open_source(data), open_source(against)
    with bar("comparing") as progress:
        found = overlap(source, other, workers, progress)
    if as_json:
        print_json(found.to_json())
        return 0
    print_lines(*_overlap_lines(found))
    return 0


def _overlap_lines(found: "Overlap") -> Iterator[str]:
    """What two sets share: the numbers, every picture that is equal or alike, and the nearest of the others."""
    yield (
        f"{found.name}: of {found.images:,} images {found.equal:,} are equal to one of the {found.others:,} of "
        f"{found.other}, {found.alike:,} more look alike"
    )
    sure = found.equal + found.alike
    yield from (
        f"  {printable(pair.path)} {'=' if pair.equal else '~'} {printable(pair.other)}" for pair in found.pairs[:sure]
    )
    if not found.resembling:
        return
    yield f"{found.resembling:,} more may be the same photograph, cropped or squeezed otherwise: look at them"
    for pair in found.pairs[sure : sure + RESEMBLING_SHOWN]:
        yield f"  {printable(pair.path)} ? {printable(pair.other)} ({pair.differ} of 256 bits differ)"
    if found.resembling > RESEMBLING_SHOWN:
        yield f"  and {found.resembling - RESEMBLING_SHOWN:,} that differ more; --json lists all"


def render(report: "Report", found: "Sequence[Finding]") -> "Iterator[str | Table]":
    """The report without its last line, the verdict: text, and the table of classes."""
    yield f"{report.name}: {report.images} images of {len(report.classes)} classes, {report.usable} usable"
    heading = ""
    for finding in found:
        if finding.severity != heading:
            heading = finding.severity
            yield from ("", heading.upper())
        yield from _paragraph(finding)
    yield ""
    yield _class_table(report.classes)
    yield ""


def _paragraph(finding: "Finding") -> "Iterator[str]":
    from alexnet.data.findings import Severity

    yield f"  {printable(finding.title)}"
    shown = finding.examples[: None if finding.severity == Severity.FINE else EXAMPLES]
    yield from (f"    {printable(example)}" for example in shown)
    if finding.hidden(len(shown)):
        listed = "; --json lists all" if len(finding.examples) > EXAMPLES else ""
        yield f"    and {finding.hidden(len(shown)):,} more{listed}"
    if finding.advice:
        yield f"    -> {printable(finding.advice)}"


def _class_table(classes: "Sequence[ClassCount]") -> "Table":
    """One row per class; of many classes only those with the fewest images."""
    shown = classes if len(classes) <= CLASSES else sorted(classes, key=lambda each: each.images)[: CLASSES // 2]
    made = table("class", *(classes[0].splits if classes else ()), "images", "unreadable")
    for each in shown:
        made.add_row(printable(each.name), *map(str, [*each.splits.values(), each.images, each.unreadable]))
    if len(shown) < len(classes):
        made.caption = f"and {len(classes) - len(shown)} larger classes"
    return made


def _write_page(folder: Path, source: "Source", report: "Report", found: "Sequence[Finding]") -> Path:
    from alexnet.files import cannot_write, whole_file
    from alexnet.plots.check_page import check_page

    text = check_page(source, report, found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with whole_file(folder / PAGE) as file:
        file.write(text)
    return folder / PAGE
