"""Render a self-contained HTML page from page.html.j2: images embedded, no scripts, nothing fetched."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class Picture:
    """A section with one image."""

    name: str  # anchor in the page; also the image's file name without .png
    title: str
    caption: str  # what the image shows and how to read it
    png: bytes


@dataclass(frozen=True)
class Table:
    """A section with one table."""

    name: str  # anchor in the page
    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Thumbnail:
    """A small image and a line below it."""

    caption: str
    jpeg: bytes


@dataclass(frozen=True)
class Sheet:
    """A section of text and thumbnails: a contact sheet."""

    name: str  # anchor in the page
    title: str
    paragraphs: Sequence[str]
    items: Sequence[str] = ()  # a list below the paragraphs
    thumbnails: Sequence[Thumbnail] = ()


def page(
    title: str,
    sections: Sequence[Picture | Table | Sheet],
    *,
    lead: Sequence[str] = (),
    findings: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    left_out: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The page as HTML text; every string is escaped.

    lead, findings: paragraphs below the title, findings in bold. facts: rows (name, value) of a table below them.
    left_out: title of an omitted section -> reason. notes: small print at the end.
    """
    return _template().render(
        title=title,
        sections=sections,
        lead=lead,
        findings=findings,
        facts=facts or {},
        left_out=left_out or {},
        notes=notes,
    )


def _template() -> "Template":
    """Imports jinja2 on first use: most commands write no page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("alexnet", "plots"),
        autoescape=True,
        finalize=_printable,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    return environment.get_template("page.html.j2")


def _printable(value: Any) -> Any:
    """Replace the lone surrogates of undecodable file names by question marks; UTF-8 cannot encode them."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
