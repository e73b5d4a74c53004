"""One page with all pictures, that stands alone: no scripts, nothing fetched, the pictures inside it."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STYLE = """
body { max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; background: #fff;
       font: 17px/1.5 system-ui, sans-serif; }
h1 { line-height: 1.2; } h2 { margin: 3rem 0 .5rem; }
table { border-collapse: collapse; } td, th { padding: .1rem 1.2rem .1rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; } nav ul, .left-out { padding-left: 1.2rem; } figure { margin: 0; }
img { max-width: 100%; height: auto; } figcaption { max-width: 46rem; }
"""


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    name: str  # of its file, without .png
    title: str
    caption: str  # what it shows and how it is read
    png: bytes


def page(title: str, facts: Mapping[str, str], pictures: Sequence[Picture], left_out: Mapping[str, str]) -> str:
    """The page as HTML text.

    facts: a table at the top. left_out: from the title of a picture that is not there to the reason.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # A browser then fetches nothing, whatever the page holds.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            "<table>",
            *(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items()),
            "</table>",
            "<nav><h2>Pictures</h2><ul>",
            *(f'<li><a href="#{_text(each.name)}">{_text(each.title)}</a></li>' for each in pictures),
            "</ul></nav>",
            *map(_section, pictures),
            *_left_out(left_out),
            "</body></html>",
            "",
        ]
    )


def _section(picture: Picture) -> str:
    content = base64.b64encode(picture.png).decode()
    return (
        f'<section id="{_text(picture.name)}"><h2>{_text(picture.title)}</h2><figure>'
        f"<figcaption><p>{_text(picture.caption)}</p></figcaption>"
        f'<img alt="{_text(picture.title)}" src="data:image/png;base64,{content}"></figure></section>'
    )


def _left_out(reasons: Mapping[str, str]) -> list[str]:
    if not reasons:
        return []
    rows = (f"<li>{_text(title)}: {_text(reason)}</li>" for title, reason in reasons.items())
    return ["<h2>Not shown</h2>", '<ul class="left-out">', *rows, "</ul>"]


def _text(text: str) -> str:
    """Safe between tags and in quotes; bytes of a file name that are no text become question marks."""
    return html.escape(text.encode("utf-8", "replace").decode())
