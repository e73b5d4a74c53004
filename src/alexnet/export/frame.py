"""The page's frame: its template, its texts and its policy, for the page that stands alone and for the server's.

torch is not imported.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent / "page"
NAMED = 3  # classes in a page's title
SEEN = {
    "crop": "the centre square of a photo",
    "short": "the centre square of a photo",
    "pad": "the whole photo, in a square with a border",
    "warp": "the whole photo, its sides made equal",
}


@dataclass(frozen=True)
class Words:
    """What a page says of where it computes."""

    noscript: str
    where: str


def render(policy: str, card: dict[str, Any], script: str, style: str, **values: Any) -> str:
    """The page as HTML text; every name is escaped.

    policy, script, style: our own text alone, which is not escaped. card: what the scripts read, any values.
    values: title, names, seen, told, origin, words; engines and model of a page that computes by itself.
    """
    from markupsafe import Markup

    ours = {"policy": policy, "card": _script_json(card), "script": script, "style": style}
    given = {"engines": {}, "model": None} | values
    return _template().render(**{name: Markup(each) for name, each in ours.items()}, **given)


def policy(script: str, style: str, asks: bool = False) -> str:
    """The content security policy: no script runs but this text, and nothing is fetched.

    asks: a page that asks its own server, and nobody else, instead of computing in workers made of its script.
    """
    script_hash, style_hash = (_hash(each) for each in (script, style))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{script_hash}'" + ("" if asks else " 'wasm-unsafe-eval' blob:"),
            "connect-src 'self'" if asks else "worker-src blob:",
            f"style-src '{style_hash}'",
            "img-src blob: data:",
            "media-src blob: mediastream:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def text(name: str) -> str:
    """A script or the stylesheet."""
    return (FOLDER / name).read_text(encoding="utf-8")


def title_of(names: Sequence[str]) -> str:
    """ "Which of 17 classes is it? Bluebell, Buttercup, Coltsfoot and 14 more": a page's title, unless one is given."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return printable(f"Which of {len(names)} classes is it? {', '.join(names[:NAMED])}{more}")


def printable(text: str) -> str:
    """Lone surrogates of undecodable names become question marks; UTF-8 cannot encode them."""
    return text.encode("utf-8", "replace").decode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _script_json(values: Any) -> str:
    """JSON that a script element can hold: no character in it begins a tag."""
    text = json.dumps(values)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
