"""Plain JPEG files are read without Pillow to what Pillow gives; whatever is particular is left to it."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet.data.images import MAX_PIXELS, decode, inspect, reading
from alexnet.data.images.plain import in_memory, plain_pixels
from alexnet.errors import ImageError


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG of noise, 24 x 20 pixels."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def with_segment(marker: int, content: bytes) -> bytes:
    """The file with one more segment after the first."""
    data = jpeg()
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2, "big") + content + data[end:]


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def is_plain(data: bytes, at_least: int | None = None) -> bool:
    return plain_pixels(data, MAX_PIXELS, at_least) is not None


def outcome(data: bytes) -> tuple[str, Any]:
    """The pixels or the reason, and what is said of the file."""
    try:
        return decode(data).tobytes().hex(), inspect(data)
    except ImageError as error:
        return str(error), inspect(data)


@pytest.fixture
def by_pillow(monkeypatch: pytest.MonkeyPatch) -> Any:
    def found(data: bytes) -> tuple[str, Any]:
        with monkeypatch.context() as without:
            without.setattr(reading, "plain_pixels", lambda *args: None)
            return outcome(data)

    return found


PLAIN = {
    "as Pillow writes it": jpeg(),
    "progressive": jpeg(progressive=True),
    "with a colour profile": jpeg(icc_profile=b"profile" * 20),
    "with a comment": jpeg(comment=b"by hand"),
    "with restarts": jpeg(restart_marker_rows=1),
    "of Adobe, RGB": jpeg(keep_rgb=True),
}
PARTICULAR = {
    "turned": jpeg(exif=orientation(6)),
    "turned by XMP": with_segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'),
    "several pictures": with_segment(0xE2, b"MPF\0"),
    "a profile cut short": with_segment(0xE2, b"ICC_PROF"),
    "of Photoshop": with_segment(0xED, b"Photoshop 3.0\0" + b"8BIM"),
    "grayscale": jpeg("L"),
    "CMYK": jpeg("CMYK"),
    "PNG": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_are_what_pillow_makes_of_them(name: str, by_pillow: Any) -> None:
    assert is_plain(PLAIN[name])
    assert outcome(PLAIN[name]) == by_pillow(PLAIN[name])


@pytest.mark.parametrize("name", PARTICULAR)
def test_particular_files_are_left_to_pillow(name: str, by_pillow: Any) -> None:
    assert not is_plain(PARTICULAR[name])
    assert outcome(PARTICULAR[name]) == by_pillow(PARTICULAR[name])


def test_a_damaged_header_has_the_outcome_that_pillow_gives(by_pillow: Any) -> None:
    data, rng = jpeg(), random.Random(0)
    scan = data.index(b"\xff\xda")
    damaged = [data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :] for at in rng.choices(range(scan + 10), k=250)]
    damaged += [data[:size] for size in range(2, scan + 12, 9)]
    found = [outcome(each) for each in damaged]
    assert found == [by_pillow(each) for each in damaged]
    assert {facts.error is None for _, facts in found} == {True, False}


def test_files_that_a_smaller_scale_or_the_limit_of_pixels_concerns_are_left_to_pillow() -> None:
    data = jpeg()  # the shorter side is 20
    assert is_plain(data, at_least=11)
    assert not is_plain(data, at_least=10)
    assert plain_pixels(data, 24 * 20) is not None
    assert plain_pixels(data, 24 * 20 - 1) is None


def test_only_jpeg_files_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(jpeg())
    (tmp_path / "b").write_bytes(b"BM" + bytes(100))
    assert in_memory(tmp_path / "a") == jpeg()
    for left in (tmp_path / "b", tmp_path / "none", tmp_path, "nul\0byte", b"bytes", 7):
        assert in_memory(left) is left
