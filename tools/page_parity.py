"""Claim: a page gives Python's top answer for at least 99.5 % of the photos that its run held out, in every browser
(fp32, fp16, int8; of 4 bits the share is told).

    python tools/page_parity.py RUN [--precision fp16 int8 int4] [--browser chromium firefox] [--limit N]

RUN: a run's folder, such as of flowers17. Each page is opened from a file, headless, and gets the files of the photos,
which the browser decodes. Prints for each precision and browser: equal top answers, the largest difference of a
probability, the share of right answers of both, milliseconds an image (median, in the engine), milliseconds from
opening to ready and to the first answer, and what the page asked of a network. Exits with 1 if the claim fails.
"""

import argparse
import base64
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import alexnet
from alexnet.data.sources import open_source
from alexnet.export import html
from alexnet.export.formats import FORMATS, Order
from alexnet.runs.folder import RunFolder
from browsers import Browser, browser, own_calls

CLAIM, PIECE = 0.995, 8  # of fp32, fp16 and int8; photos sent at once
ASK = """const found = [];
  for (const text of {photos}) {{
    const data = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const {{ probabilities, unknown, milliseconds }} = await alexnet.ask(new Blob([data]));
    found.push({{ probabilities: [...probabilities], unknown, milliseconds, since: performance.now() }});
  }}
  return found;"""
STATE = "await alexnet.ready(); return document.getElementById('state').dataset.milliseconds;"


@dataclass(frozen=True)
class Photos:
    """N photos with Python's probabilities, float (N, K), and their classes (N)."""

    files: list[Path]
    answers: NDArray[np.float64]
    labels: NDArray[np.int64]


def main() -> None:
    """Measure every page in every browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--precision", nargs="+", default=["fp16", "int8", "int4"], choices=list(FORMATS["html"].tolerances)
    )
    parser.add_argument("--browser", nargs="+", default=["chromium", "firefox"])
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    classifier = alexnet.load(given.run, device="cpu")
    photos = held_out(given.run, classifier, given.limit)
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        for precision in given.precision:
            path = Path(folder, f"{precision}.html")
            html.write(Order(classifier, precision, False), path)
            print(f"{precision}: {path.stat().st_size / 1e6:.2f} MB, {len(photos.files)} photos")
            found = [measured(name, path, photos) for name in given.browser]
            shares += [] if precision == "int4" else found
    sys.exit(bool(shares) and min(shares) < CLAIM)


def held_out(run: Path, classifier: alexnet.Classifier, limit: int | None) -> Photos:
    """The files of the run's test part, and Python's answers."""
    source = open_source(RunFolder(run).read_config().data)
    rows = [row for row in RunFolder(run).read_split() if row.split == "test"][:limit]
    files = [(source.root or Path()) / row.path for row in rows]
    place = {name: index for index, name in enumerate(classifier.class_names)}
    answers = np.zeros((len(files), len(place)))
    for index, found in enumerate(classifier.predict(files, top_k=len(place))):
        for guess in found.predictions:
            answers[index, place[guess.label]] = guess.probability
    return Photos(files, answers, np.array([place[row.label] for row in rows]))


def measured(name: str, path: Path, photos: Photos) -> float:
    """The share of equal top answers; prints all that was measured."""
    with browser(name) as (driven, ears):
        driven.open(path)
        ready = driven.run(STATE)
        found = answers_of(driven, photos.files)
        asked = [call for call in ears.heard if not own_calls(call)]
    probabilities = np.array([each["probabilities"] for each in found])
    own, right = probabilities.argmax(1), photos.answers.argmax(1)
    share, apart = float((own == right).mean()), float(np.abs(probabilities - photos.answers).max())
    scores = " and ".join(f"{100 * (each == photos.labels).mean():.2f} %" for each in (own, right))
    times = statistics.median(each["milliseconds"] for each in found)
    print(
        f"  {name}: {100 * share:.2f} % equal top answers, largest difference of probability {apart:.4f},"
        f" right {scores}; {times:.1f} ms an image, ready after {ready} ms, first answer {found[0]['since']:.0f} ms"
        f" after opening; asked of a network: {asked or 'nothing'}"
    )
    return share


def answers_of(driven: Browser, files: Sequence[Path]) -> list[dict[str, Any]]:
    """What the page says of each photo."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(files), PIECE):
        photos = [base64.b64encode(file.read_bytes()).decode() for file in files[start : start + PIECE]]
        found += driven.run(ASK.format(photos=photos))
    return found


if __name__ == "__main__":
    main()
