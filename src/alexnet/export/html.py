"""A classifier as one HTML file: it opens from a disk, asks nothing of a network, and computes in the browser.

The file holds the engine (engine/) in three builds, the model (`program`), the card and the page (page/). Its content
security policy lets nothing be fetched and no script run but its own, whose hashes it names, so that a class name can
never become one.
"""

import base64
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.compression.network import LOOKED_AT, shared
from alexnet.data.form import fitted
from alexnet.data.places import network_input
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import WeightsError
from alexnet.export import frame
from alexnet.export.codes import BITS
from alexnet.export.engine import BUILDS, wasm
from alexnet.export.engine.host import Host
from alexnet.export.formats import Order
from alexnet.export.frame import SEEN, Words, policy, printable, render, title_of
from alexnet.export.photos import Photos, trained_on
from alexnet.export.program import Program, program
from alexnet.inference.classifier import Classifier
from alexnet.inference.runtime import WHOLE, Engine
from alexnet.weights.compressed import codes_of
from alexnet.weights.exported import PROBABILITIES, UNKNOWN
from alexnet.weights.named import file_of

log = logging.getLogger(__name__)

PROVEN = "simd"  # the build that is run to prove a page
SCRIPTS = ("engine.js", "files.js", "local.js", "page.js")
WORDS = Words(
    noscript="This page computes its answers itself, with JavaScript, which is off here; turn it on for this page.",
    where="Everything is computed on this device: photos are sent to nobody, and the page works without a network.",
)


def write(order: Order, path: Path) -> None:
    """Write the page. UsageError for a network with a layer that the engine does not have."""
    path.write_text(page(order.classifier, model_of(order), order.precision, order.title), encoding="utf-8")


def engine(path: Path) -> Engine:
    """The engine and the model that a page holds, run by wasmtime."""
    text = path.read_text(encoding="utf-8")
    return PageEngine(Host(_held(text, "model"), _held(text, f"engine-{PROVEN}")))


class PageEngine:
    """A page without its browser: a picture's pixels in, probabilities and the score for 'none of these' out."""

    input = WHOLE

    def __init__(self, host: Host) -> None:
        self._host = host
        self.outputs: tuple[str, ...] = (PROBABILITIES, UNKNOWN) if host.tells_unknown else (PROBABILITIES,)

    def __call__(self, given: NDArray[Any]) -> list[NDArray[Any]]:
        """uint8 (H, W, 3) -> float32 (K,), and float32 () where the model has it."""
        probabilities, unknown = self._host.answer(given), np.array(self._host.unknown(), np.float32)
        return [probabilities, unknown][: len(self.outputs)]


def _held(text: str, name: str) -> bytes:
    """What a page holds under a name."""
    _, found, rest = text.partition(f'<script type="text/plain" id="{name}">')
    if not found:
        raise WeightsError(f"this page holds no {name}; export the model anew")
    return base64.b64decode(rest[: rest.index("<")])


def model_of(order: Order) -> Program:
    """What the engine reads. Errors as for `write`.

    Of int4 the weights are shared as `alexnet compress` shares them; a compressed model keeps its codes.
    """
    classifier, network = order.classifier, order.classifier.network
    coded = codes_of(file_of(classifier.origin)) if order.precision == "int4" and classifier.origin else {}
    if order.precision == "int4" and not coded:
        network, coded = shared(network, BITS["int4"], _looked_at(order))
    stages = {name.removesuffix(".weight"): each for name, each in coded.items()}
    return program(network, classifier.preprocessing, classifier.card.calibration, order.precision, stages)


def _looked_at(order: Order) -> torch.Tensor | None:
    """float32 (N, 3, S, S): photos that the model was trained on; None where none are known."""
    classifier = order.classifier
    photos = None if classifier.origin is None else trained_on(classifier.origin, order.data)
    if photos is None or photos.part != "train":
        log.info("int4: every weight gets the nearest value, for no photos are at hand that the model was trained on")
        return None
    places = np.linspace(0, len(photos) - 1, min(LOOKED_AT, len(photos))).astype(np.int64)
    form, some = classifier.form, Photos(photos.source, photos.rows[places], photos.part)
    stored = [fitted(pixels, form.size, form.fit) for pixels in some.decoded(form)]
    return torch.from_numpy(network_input(stored, classifier.card.preprocessing))


def page(classifier: Classifier, made: Program, precision: str, title: str | None = None) -> str:
    """The page as HTML text; every name is escaped. title: None for one of the classes."""
    script = "".join(frame.text(name) for name in SCRIPTS)
    style, card = frame.text("page.css"), classifier.card
    names = [printable(name) for name in card.class_names]
    return render(
        policy=policy(script, style),
        title=title_of(names) if title is None else printable(title),
        names=names,
        seen=SEEN[classifier.preprocessing.fit],
        told=_told(classifier),
        origin=f"Network {card.network}, weights {precision}; written by alexnet.",
        card=_page_card(names, made, classifier.preprocessing),
        engines={name: base64.b64encode(wasm(name)).decode() for name in BUILDS},
        model=base64.b64encode(made.model).decode(),
        style=style,
        script=script,
        words=WORDS,
    )


def _page_card(names: list[str], made: Program, preprocessing: Preprocessing) -> dict[str, Any]:
    engine = {
        "classes": len(names),
        "input": preprocessing.input_size,
        "fit": preprocessing.fit,
        "maps": made.map_shape,
    }
    return {"names": names, "builds": list(BUILDS), "engine": engine}


def _told(classifier: Classifier) -> str:
    calibration = classifier.card.calibration
    if calibration is None:
        return "It knows its classes alone: of any other picture it names the class that comes nearest."
    if calibration.known is None:
        return (
            "Its percentages are calibrated. It knows its classes alone: of any other picture it names the nearest one."
        )
    return "Its percentages are calibrated, and it says where a picture looks like none of its classes."
