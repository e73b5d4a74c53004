"""A page answers as Python does, in every browser that is installed, from a file, and asks no network."""

import base64
import io
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet.data.images import Pixels
from alexnet.errors import UsageError, WeightsError
from alexnet.export import frame, html
from alexnet.export.formats import Order
from alexnet.export.run import export
from alexnet.weights.calibration import Calibration, Known, Place
from browsers import Browser, Ears, browser, installed, own_calls

EVIL = "</script><script>document.title='stolen'</script>"
NAMES = [EVIL, 'a "quoted" & <b>bold</b> name', "\u2028 été 花 \udcff"]


@pytest.fixture(scope="module")
def classifier(small_run: alexnet.Run) -> alexnet.Classifier:
    """The small run with names that try to become markup, and with a score that calls everything unknown."""
    found = alexnet.load(small_run, device="cpu")
    assert isinstance(found, alexnet.Classifier)
    found.network.fc10.weight.data.mul_(40)  # so that answers differ
    width = found.network.fc64.out_features
    zeros = np.zeros((width, 1), np.float32)
    known = Known(0.0, 0.5, (Place("neuron64", zeros[:, 0], zeros, np.ones((1, 1), np.float32)),))
    card = replace(found.card, class_names=NAMES, calibration=Calibration(2.0, known))
    return alexnet.Classifier(found.network, card, "cpu")


@pytest.fixture(scope="module")
def page(classifier: alexnet.Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "a page.html"
    html.write(Order(classifier, "fp32", False), path)
    return path


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def opened(request: pytest.FixtureRequest, page: Path) -> Iterator[tuple[Browser, Ears]]:
    if installed(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    with browser(request.param) as (driven, ears):
        driven.open(page)
        driven.run("await alexnet.ready()")
        yield driven, ears


def photo(height: int = 40, width: int = 60) -> Pixels:
    rows, columns = np.mgrid[:height, :width]
    pixels: Pixels = np.stack([rows * 6 % 256, columns * 4 % 256, rows * columns % 256], 2).astype(np.uint8)
    return pixels


def encoded(kind: str, pixels: Pixels, orientation: int = 1, **settings: Any) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(stream, kind, exif=exif, **settings)
    return stream.getvalue()


def asked(driven: Browser, content: bytes) -> Any:
    """What the page says of a file: probabilities and unknown, or the error."""
    text = base64.b64encode(content).decode()
    return driven.run(
        f"""const data = Uint8Array.from(atob("{text}"), (c) => c.charCodeAt(0));
        try {{ const {{ probabilities, unknown, blank }} = await alexnet.ask(new Blob([data]));
               return {{ probabilities: [...probabilities], unknown, blank }}; }}
        catch (error) {{ return {{ error: error.message }}; }}"""
    )


def own_answer(classifier: alexnet.Classifier, content: bytes) -> Any:
    with torch.inference_mode():
        logits = classifier.network(classifier.preprocessing(content)).numpy()
    assert classifier.card.calibration
    return classifier.card.calibration.probabilities(logits)[0]


@pytest.mark.parametrize(
    "content",
    [
        encoded("PNG", photo()),
        encoded("JPEG", photo(), quality=85),
        encoded("WEBP", photo(), lossless=True),
        *(encoded("JPEG", photo(), orientation, quality=85) for orientation in (3, 6, 7)),
        encoded("PNG", np.dstack([photo(), np.full((40, 60), 255, np.uint8)])),
        encoded("PNG", photo()[:, :, 0]),
        encoded("PNG", photo(1, 1)),
    ],
    ids=["png", "jpeg", "webp", "turned 180", "turned 90", "mirrored and turned", "alpha", "gray", "one pixel"],
)
def test_a_browser_answers_as_python(
    opened: tuple[Browser, Ears], classifier: alexnet.Classifier, content: bytes
) -> None:
    found = asked(opened[0], content)
    np.testing.assert_allclose(found["probabilities"], own_answer(classifier, content), atol=2e-3)


def test_answers_differ_between_orientations(classifier: alexnet.Classifier) -> None:
    """Else the test above could not tell a photo turned twice."""
    one, other = (own_answer(classifier, encoded("JPEG", photo(), turn, quality=85)) for turn in (1, 6))
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no picture", "cannot read it as a picture"),
        (b"", "cannot read it as a picture"),
        (encoded("JPEG", photo(400, 400), quality=95)[:-500], "truncated"),
        (encoded("JPEG", photo(400, 400), quality=95, progressive=True)[:-500], "truncated"),
        (encoded("PNG", photo(400, 400))[:-500], "truncated"),
        (encoded("WEBP", photo(), 6, lossless=True), "WebP file that is to be turned"),
    ],
    ids=["text", "empty", "cut jpeg", "cut progressive jpeg", "cut png", "turned webp"],
)
def test_what_would_be_answered_wrongly_is_refused(opened: tuple[Browser, Ears], content: bytes, message: str) -> None:
    assert message in asked(opened[0], content)["error"]


def test_a_jpeg_with_bytes_after_its_end_is_answered(opened: tuple[Browser, Ears]) -> None:
    assert "error" not in asked(opened[0], encoded("JPEG", photo()) + b"\xff\xda\x01\x02 motion photo")


def test_photos_are_shown_with_names_heat_and_doubt(opened: tuple[Browser, Ears], tmp_path: Path) -> None:
    driven, _ = opened
    files = [tmp_path / "first.png", tmp_path / "second.png"]
    for index, path in enumerate(files):
        path.write_bytes(encoded("PNG", photo(40 + index, 50)))
    driven.give_files("#files", files)
    buttons = "[...document.querySelectorAll('.bars button')]"
    wait_for(driven, f"return {buttons}.filter((each) => !each.disabled).length", 6)
    shown = driven.run("return [...document.querySelectorAll('.result h3')].map((each) => each.textContent)")
    assert shown == ["first.png", "second.png"]
    labels = driven.run(
        "return [...document.querySelectorAll('.result:first-child .label')].map((each) => each.textContent)"
    )
    assert sorted(labels) == sorted(name.replace("\udcff", "?") for name in NAMES)
    assert "I do not know" in driven.run("return document.querySelector('.said').textContent")
    assert "I do not know" in driven.run("return document.getElementById('news').textContent")
    canvas = "document.querySelector('.result canvas')"
    before = driven.run(f"return {canvas}.toDataURL()")
    driven.run(f"{buttons}[0].click()")
    assert driven.run(f"return {buttons}[0].getAttribute('aria-pressed')") == "true"
    assert driven.run(f"return {canvas}.toDataURL()") != before or "No part" in driven.run(
        "return document.querySelector('.why').textContent"
    )
    driven.run(f"{buttons}[0].click()")
    assert driven.run(f"return {canvas}.toDataURL()") == before
    driven.run("document.getElementById('clear').click()")
    assert driven.run("return document.querySelectorAll('.result').length") == 0


def test_no_name_becomes_markup(opened: tuple[Browser, Ears], page: Path) -> None:
    assert opened[0].run("return document.title").startswith("Which of ")
    assert EVIL not in page.read_text(encoding="utf-8")
    assert opened[0].run("return document.querySelectorAll('b').length") == 0


def test_nothing_is_asked_of_a_network(opened: tuple[Browser, Ears]) -> None:
    driven, ears = opened
    asked(driven, encoded("PNG", photo()))
    refused = driven.run(
        """const image = new Image();
        const ended = new Promise((resolve) => (image.onload = image.onerror = resolve));
        image.src = "http://else.example/pixel.png";
        const fetched = await fetch("http://else.example/data").then(() => "answered", () => "refused");
        await ended;
        return fetched;"""
    )
    assert refused == "refused"
    assert [call for call in ears.heard if not own_calls(call)] == []
    loaded = driven.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert [name for name in loaded if not name.startswith(("blob:", "data:", "http://else.example/"))] == []


def test_the_proxy_hears_a_page_that_asks(opened: tuple[Browser, Ears], page: Path, tmp_path: Path) -> None:
    """The test above is deaf if this fails."""
    driven, ears = opened
    path = tmp_path / "asks.html"
    path.write_text("<!doctype html><script>window.alexnet = fetch('http://else.example/data').catch(() => 0)</script>")
    driven.open(path)
    driven.run("await alexnet")
    assert any("else.example" in call for call in ears.heard)
    ears.heard.clear()
    driven.open(page)
    driven.run("await alexnet.ready()")


POORER = {
    "new Worker(url)": "new Absent(url)",
    'typeof OffscreenCanvas !== "undefined"': "false",
    "Object.keys(builds).find(": "Object.keys(builds).reverse().find(",
}


def test_a_browser_without_workers_canvases_and_vectors_answers_the_same(
    opened: tuple[Browser, Ears],
    classifier: alexnet.Classifier,
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = {name: frame.text(name) for name in (*html.SCRIPTS, "page.css")}
    for name in html.SCRIPTS:
        for given, poorer in POORER.items():
            texts[name] = texts[name].replace(given, poorer)
    assert sum("".join(texts.values()).count(poorer) for poorer in POORER.values()) >= len(POORER)
    monkeypatch.setattr(frame, "text", texts.__getitem__)
    path = tmp_path / "poorer.html"
    html.write(Order(classifier, "fp32", False), path)
    driven, _ = opened
    driven.open(path)
    driven.run("await alexnet.ready()")
    assert driven.run("return document.getElementById('state').dataset.build") == "scalar"
    content = encoded("PNG", photo())
    np.testing.assert_allclose(asked(driven, content)["probabilities"], own_answer(classifier, content), atol=1e-5)
    driven.open(page)
    driven.run("await alexnet.ready()")


def wait_for(driven: Browser, script: str, value: Any) -> None:
    until = time.monotonic() + 30
    while (found := driven.run(script)) != value:
        assert time.monotonic() < until, f"{script} gives {found!r}, not {value!r}"
        time.sleep(0.05)


def test_a_page_names_no_address(page: Path) -> None:
    text = re.sub(r'<script type="text/plain".*?</script>', "", page.read_text(encoding="utf-8"))
    assert re.findall(r"https?://|src=|@import|url\(", text) == []


def test_the_page_in_wasmtime_answers_as_python(page: Path, classifier: alexnet.Classifier) -> None:
    pytest.importorskip("wasmtime")
    engine = html.engine(page)
    assert engine.outputs == ("probabilities", "unknown")
    probabilities, unknown = engine(photo())
    np.testing.assert_allclose(probabilities, own_answer(classifier, encoded("PNG", photo())), atol=1e-5)
    assert unknown == pytest.approx(2.0)  # the distance 1 over the threshold .5


def test_export_writes_a_page_that_is_proven(small_run: alexnet.Run, tmp_path: Path) -> None:
    pytest.importorskip("wasmtime")
    written = export(small_run, "html", out=tmp_path / "small.html")
    assert written.precision == "fp16"
    assert written.proof.photos > 0
    assert written.proof.difference < 0.01
    assert (tmp_path / "small.html").stat().st_size == written.size


def test_export_without_wasmtime_says_what_to_install(
    small_run: alexnet.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    with pytest.raises(UsageError, match=r"pip install wasmtime"):
        export(small_run, "html", out=tmp_path / "small.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_no_weights_file(page: Path) -> None:
    with pytest.raises(WeightsError, match="is a page; open it in a browser"):
        alexnet.load(page)


def test_a_page_without_its_model_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    path.write_text("<!doctype html>")
    with pytest.raises(WeightsError, match="holds no model"):
        html.engine(path)
