"""The page of `alexnet check`: every finding with a contact sheet of images that show it."""

import io
from collections.abc import Sequence

from PIL import Image

from alexnet.data.check import Report
from alexnet.data.findings import Finding, Severity, verdict
from alexnet.data.images import decode
from alexnet.data.samples import Source
from alexnet.errors import ImageError
from alexnet.plots.page import Sheet, Table, Thumbnail, page

SIDE = 160  # pixels of a thumbnail's longer side
QUALITY = 80  # of its JPEG
PICTURES = 8  # of a finding


def check_page(source: Source, report: Report, found: Sequence[Finding]) -> str:
    """The page as HTML text, all images embedded. Reads the images that the findings name."""
    row_of = {sample.path: row for row, sample in enumerate(source.samples)}
    sheets = [
        _sheet(f"finding-{number}", finding, _thumbnails(source, row_of, finding, report))
        for number, finding in enumerate(found, 1)
        if finding.severity != Severity.FINE or finding.examples
    ]
    fine = [finding.title for finding in found if finding.severity == Severity.FINE and not finding.examples]
    if fine:
        sheets.append(Sheet("fine", str(Severity.FINE), (), fine))
    return page(
        f"Check of {report.name}",
        [*sheets, _classes(report)],
        lead=[f"{report.images:,} images of {len(report.classes):,} classes, {report.usable:,} usable."],
        findings=[verdict(found)],
    )


def _sheet(name: str, finding: Finding, thumbnails: Sequence[Thumbnail]) -> Sheet:
    what_to_do = [f"What to do: {finding.advice}."] if finding.advice else []
    hidden = finding.hidden(len(finding.examples))
    more = [f"and {hidden:,} more"] if hidden else []
    return Sheet(name, f"{finding.severity}: {finding.title}", what_to_do, [*finding.examples, *more], thumbnails)


def _thumbnails(source: Source, row_of: dict[str, int], finding: Finding, report: Report) -> list[Thumbnail]:
    """The finding's first pictures, as training sees their values, whole; what cannot be read now is left out."""
    made = []
    for path in finding.pictures[:PICTURES]:
        try:
            pixels = decode(source.read(row_of[path]), value_range=report.form.value_range)
        except (ImageError, OSError):
            continue
        image = Image.fromarray(pixels)
        image.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY)
        made.append(Thumbnail(path, file.getvalue()))
    return made


def _classes(report: Report) -> Table:
    parts = list(report.classes[0].splits) if report.classes else []
    rows = [
        (each.name, *map(str, each.splits.values()), str(each.images), str(each.unreadable)) for each in report.classes
    ]
    return Table("classes", "Classes", ("class", *parts, "images", "unreadable"), rows)
