"""Claim: a page of `modern` takes at most .8 of onnxruntime-web's time an image, side by side in one browser.

    npm install --prefix FOLDER onnxruntime-web
    python tools/page_against_ort.py MODEL FOLDER/node_modules/onnxruntime-web/dist [--browser chromium]

Two pages from files, in turn, five times: ours with fp16 weights, and one that holds onnxruntime-web with the same
network in float32. Both compute one photo at a time in one thread; in the time measured neither decodes a photo, ours
crops and resizes one, and the other gets a normalised input. Prints medians and ranges of the rounds'
medians, and sizes.
"""

import argparse
import base64
import io
import statistics
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import alexnet
from alexnet.export import html
from alexnet.export.formats import Order
from alexnet.networks.folding import folded
from alexnet.weights.convert.onnx_writer import model as onnx_model
from browsers import Browser, browser

ROUNDS, IMAGES = 5, 30

OTHER = """<!doctype html><meta charset="utf-8"><script type="text/plain" id="ort">{ort}</script>
<script type="text/plain" id="wasm">{wasm}</script><script type="text/plain" id="model">{model}</script>
<script>
const bytes = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
const begun = performance.now();
window.alexnet = {{ start: (async () => {{
  const url = URL.createObjectURL(new Blob([bytes("ort")], {{ type: "text/javascript" }}));
  const ort = await import(url);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = bytes("wasm").buffer;
  const settings = {{ executionProviders: ["wasm"], graphOptimizationLevel: "all" }};
  const session = await ort.InferenceSession.create(bytes("model"), settings);
  return {{ ort, session, started: performance.now() - begun }};
}})() }};
</script>"""

OURS_TIMED = """await alexnet.ready();
  const data = Uint8Array.from(atob(`{photo}`), (c) => c.charCodeAt(0));
  const times = []; for (let i = 0; i < {count}; i++) times.push((await alexnet.ask(new Blob([data]))).milliseconds);
  return times;"""
OTHER_TIMED = """const {{ ort, session }} = await alexnet.start, side = {side};
  const values = Float32Array.from({{ length: 3 * side * side }}, (_, i) => Math.sin(i));
  const times = []; for (let i = 0; i < {count}; i++) {{ const begin = performance.now();
    const out = await session.run({{ [session.inputNames[0]]: new ort.Tensor("float32", values, [1, 3, side, side]) }});
    if (!Number.isFinite(out[session.outputNames[0]].data[0])) throw new Error("no answer");
    times.push(performance.now() - begin); }}
  return times;"""


def main() -> None:
    """Write both pages, measure them in turn, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("dist", type=Path)
    parser.add_argument("--browser", choices=("chromium", "firefox"), default="chromium")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages = {"ours": Path(folder, "ours.html"), "onnxruntime-web": Path(folder, "other.html")}
        classifier = alexnet.load(given.model, device="cpu")
        html.write(Order(classifier, "fp16", False), pages["ours"])
        pages["onnxruntime-web"].write_text(other_page(classifier, given.dist), encoding="utf-8")
        scripts = {"ours": ours_script(), "onnxruntime-web": other_script(classifier)}
        times: dict[str, list[float]] = {name: [] for name in pages}
        with browser(given.browser) as (driven, _):
            for _ in range(ROUNDS):
                for name, path in pages.items():
                    times[name].append(median_of(driven, path, scripts[name]))
        for name, found in times.items():
            size = pages[name].stat().st_size / 1e6
            print(f"{name}: {statistics.median(found):.1f} ms ({min(found):.1f} to {max(found):.1f}), {size:.1f} MB")
        ratios = [mine / theirs for mine, theirs in zip(*times.values(), strict=True)]
        print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), claimed <= .8")


def median_of(driven: Browser, path: Path, script: str) -> float:
    """Milliseconds an image, of a page opened anew; the first five are not counted."""
    driven.open(path)
    return statistics.median(driven.run(script)[5:])


def ours_script() -> str:
    """A photo-like picture of 500 x 400 pixels, asked for over and over."""
    rows, columns = np.mgrid[:400, :500]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256], 2).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return OURS_TIMED.format(photo=base64.b64encode(stream.getvalue()).decode(), count=IMAGES)


def other_script(classifier: alexnet.Classifier) -> str:
    """The other page's network on an input of the right size."""
    return OTHER_TIMED.format(side=classifier.preprocessing.input_size, count=IMAGES)


def other_page(classifier: alexnet.Classifier, dist: Path) -> str:
    """One file with onnxruntime-web, its WebAssembly and the folded network."""
    parts = {
        "ort": (dist / "ort.wasm.bundle.min.mjs").read_bytes(),
        "wasm": (dist / "ort-wasm-simd-threaded.wasm").read_bytes(),
        "model": onnx_of(classifier),
    }
    return OTHER.format(**{name: base64.b64encode(content).decode() for name, content in parts.items()})


def onnx_of(classifier: alexnet.Classifier) -> bytes:
    """The folded network as an ONNX graph of float32."""
    graph: bytes = onnx_model(folded(classifier.network), classifier.card).SerializeToString()
    return graph


if __name__ == "__main__":
    main()
