"""A classifier as one HTML file: it opens from a disk, asks nothing of a network, and computes in the browser.

The file holds the engine (engine/) in three builds, the model (`program`), the card and the page (page/). Its content
security policy lets nothing be fetched and no script run but its own, whose hashes it names, so that a class name can
never become one.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.data.preprocess import Preprocessing
from alexnet.errors import unknown_name
from alexnet.export.codes import BITS
from alexnet.export.engine import BUILDS, wasm
from alexnet.export.program import Program, program
from alexnet.files import whole_file
from alexnet.inference.classifier import Classifier

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent / "page"
PRECISIONS = tuple(BITS)
SEEN = {
    "crop": "the centre square of a photo",
    "short": "the centre square of a photo",
    "pad": "the whole photo, in a square with a border",
    "warp": "the whole photo, its sides made equal",
}


def write(classifier: Classifier, path: Path, precision: str = "fp16") -> Program:
    """Write the page, whole or not at all; what it holds of the network.

    precision: of the weights: fp32, fp16, int8 or int4. UsageError for another, and for a network with a layer that
    the engine does not have.
    """
    made = model_of(classifier, precision)
    content = page(classifier, made, precision).encode()
    with whole_file(path, "wb") as file:
        file.write(content)
    return made


def model_of(classifier: Classifier, precision: str = "fp16") -> Program:
    """What the engine reads. Errors as for `write`."""
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    return program(classifier.network, classifier.preprocessing, classifier.card.calibration, precision)


def page(classifier: Classifier, made: Program, precision: str) -> str:
    """The page as HTML text; every name is escaped."""
    from markupsafe import Markup

    script = _text("engine.js") + _text("page.js")
    style, card = _text("page.css"), classifier.card
    names = [_printable(name) for name in card.class_names]
    return _template().render(
        policy=Markup(policy(script, style)),  # quotes within double quotes; of our own text alone
        title=_title(classifier),
        names=names,
        seen=SEEN[classifier.preprocessing.fit],
        told=_told(classifier),
        origin=f"Network {card.network}, weights {precision}; written by alexnet.",
        card=Markup(_script_json(_page_card(names, made, classifier.preprocessing))),
        engines={name: base64.b64encode(wasm(name)).decode() for name in BUILDS},
        model=base64.b64encode(made.model).decode(),
        style=Markup(style),
        script=Markup(script),
    )


def policy(script: str, style: str) -> str:
    """The content security policy: nothing is fetched, and no script runs but this text and workers made of it."""
    script_hash, style_hash = (_hash(each) for each in (script, style))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{script_hash}' 'wasm-unsafe-eval' blob:",
            "worker-src blob:",
            f"style-src '{style_hash}'",
            "img-src blob: data:",
            "media-src blob: mediastream:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _page_card(names: list[str], made: Program, preprocessing: Preprocessing) -> dict[str, Any]:
    engine = {"classes": len(names), "input": preprocessing.input_size, "fit": preprocessing.fit, "maps": made.map_shape}
    return {"names": names, "builds": list(BUILDS), "engine": engine}


def _script_json(values: Any) -> str:
    """JSON that a script element can hold: no character in it begins a tag."""
    text = json.dumps(values)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _title(classifier: Classifier) -> str:
    data = classifier.card.training.get("data")
    name = Path(data).name if isinstance(data, str) and data else classifier.card.network
    return _printable(f"What is it? {name}")


def _told(classifier: Classifier) -> str:
    calibration = classifier.card.calibration
    if calibration is None:
        return "It knows its classes alone: of any other picture it names the class that comes nearest."
    if calibration.known is None:
        return "Its percentages are calibrated. It knows its classes alone: of any other picture it names the nearest one."
    return "Its percentages are calibrated, and it says where a picture looks like none of its classes."


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def _printable(text: str) -> str:
    """Lone surrogates of undecodable names become question marks; UTF-8 cannot encode them."""
    return text.encode("utf-8", "replace").decode()
