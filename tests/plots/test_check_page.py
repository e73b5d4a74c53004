"""The page of a check shows the pictures that its findings concern, and stands alone."""

import base64
import io
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

from alexnet.data.check import check
from alexnet.data.findings import findings
from alexnet.data.sources import open_source
from alexnet.plots.check_page import PICTURES, SIDE, check_page


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of two classes with an image under two labels, files that are no images, and many small ones."""
    root = tmp_path_factory.mktemp("page") / "data"
    for seed, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.random.default_rng(100 * seed + number).integers(0, 256, (40, 400, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    Image.new("RGB", (200, 100), "red").save(root / "cat" / "a <b>.png")
    Image.new("RGB", (200, 100), "red").save(root / "dog" / "red.bmp")
    for number in range(11):  # ten are skipped by training
        (root / "dog" / f"torn {number}.png").write_bytes(b"")
    source = open_source(str(root))
    report = check(source)
    return check_page(source, report, findings(report))


def section(text: str, title: str) -> str:
    """The HTML of the section that has this in its title."""
    (found,) = [part for part in text.split("<section")[1:] if title in part.split("</h2>")[0]]
    return found


def images(part: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', part)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


def test_a_picture_under_two_labels_is_shown_twice_with_its_paths(text: str) -> None:
    part = section(text, "TWO LABELS")
    one, other = images(part)
    assert one.size == other.size == (SIDE, SIDE // 2)
    assert np.abs(np.asarray(one).astype(int) - (255, 0, 0)).max() < 8
    assert "cat/a <b>.png = dog/red.bmp (cat, dog)" in unescape(part)
    assert "<b>" not in part
    assert "What to do: keep each under the right label only." in part


def test_few_pictures_of_a_finding_are_shown_and_none_of_files_that_cannot_be_read(text: str) -> None:
    assert 0 < len(images(section(text, "CROP"))) <= PICTURES
    assert images(section(text, "left out")) == []
    assert "dog/torn 0.png: empty" in section(text, "left out")


def test_the_most_harmful_comes_first_and_the_page_fetches_and_runs_nothing(text: str) -> None:
    titles = re.findall(r"<h2>([^<:]+)", text)
    order = ["Contents", "Stops training", "Harms silently", "Is lost", "Could be better", "Is fine", "Classes"]
    assert list(dict.fromkeys(titles)) == order
    assert "<strong>Training cannot start" in text
    assert not re.search(r"<script|<link|https?:", text)
