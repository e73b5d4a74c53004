"""JPEG files decoded without the interpreter's lock have the pixels, and the failures, that Pillow gives."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet.data.images import decode, reading
from alexnet.data.images.turbo import turbo_pixels
from alexnet.errors import ImageError

Outcome = bytes | str


def jpeg(width: int = 90, height: int = 70, mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG of blurred noise."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def outcome(data: bytes, at_least: int | None = None) -> Outcome:
    try:
        return decode(data, at_least=at_least).tobytes()
    except ImageError as error:
        return str(error)


def pillows(data: bytes, monkeypatch: pytest.MonkeyPatch, at_least: int | None = None) -> Outcome:
    """The outcome where Pillow decodes everything."""
    with monkeypatch.context() as without:
        without.setattr(reading, "turbo_pixels", lambda image: None)
        without.setattr(reading, "plain_pixels", lambda *args: None)
        return outcome(data, at_least)


def is_taken(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return turbo_pixels(image) is not None


VARIETIES = [
    *({"quality": quality, "subsampling": kind} for quality in (40, 95) for kind in (0, 1, 2)),
    {"progressive": True},
    {"mode": "L"},
    {"keep_rgb": True},
    {"restart_marker_rows": 1},
    {"width": 8, "height": 8},
    {"width": 200, "height": 9},
]


@pytest.mark.parametrize("variety", VARIETIES, ids=str)
def test_pixels_are_pillows(variety: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(**variety)
    assert is_taken(data)
    assert outcome(data) == pillows(data, monkeypatch)


@pytest.mark.parametrize("at_least", [20, 40, 80, 160])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"mode": "L"}], ids=str)
@pytest.mark.parametrize(("width", "height"), [(333, 250), (241, 479)])
def test_pixels_are_pillows_at_every_scale(
    at_least: int, options: dict[str, Any], width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg(width, height, **options)
    assert outcome(data, at_least) == pillows(data, monkeypatch, at_least)


def test_damage_has_the_outcome_that_pillow_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    data, rng = jpeg(restart_marker_rows=2), random.Random(0)
    cut = [data[: rng.randrange(2, len(data))] for _ in range(40)] + [data[:-1], data[:-2], data + data, data + b"more"]
    flipped = [data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :] for at in rng.sample(range(len(data)), 120)]
    outcomes = [(outcome(each), pillows(each, monkeypatch)) for each in cut + flipped]
    assert [ours for ours, _ in outcomes] == [pillow for _, pillow in outcomes]
    assert {type(ours) for ours, _ in outcomes} == {bytes, str}  # some are read, some are refused


@pytest.mark.parametrize("options", [{"mode": "CMYK"}, {"width": 7}, {"height": 1}], ids=str)
def test_pillow_reads_the_rest(options: dict[str, Any]) -> None:
    data = jpeg(**options)
    assert not is_taken(data)
    assert decode(data).shape == (options.get("height", 70), options.get("width", 90), 3)


def test_file_that_is_too_large_to_lie_in_memory_is_left_to_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    sound = decode(tmp_path / "a.jpg")
    monkeypatch.setattr("alexnet.data.images.opening.AT_ONCE", 1000)
    monkeypatch.setattr("alexnet.data.images.turbo.simplejpeg", object())  # which would fail
    assert np.array_equal(decode(tmp_path / "a.jpg"), sound)


def test_pillow_reads_all_where_the_decoder_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg()
    sound = decode(data)
    monkeypatch.setattr("alexnet.data.images.turbo.simplejpeg", None)
    assert not is_taken(data)
    assert np.array_equal(decode(data), sound)


def test_callers_own_image_is_read_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO(jpeg())
    file.seek(7)
    with Image.open(file) as image:
        image.seek(0)
        assert decode(image).tobytes() == outcome(jpeg())
        image.putpixel((0, 0), (1, 2, 3))
        assert tuple(decode(image)[0, 0]) == (1, 2, 3)


def test_each_orientation_is_obeyed() -> None:
    upright = decode(jpeg())
    for orientation, turn in {1: 0, 3: 2, 6: -1, 8: 1}.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert np.array_equal(decode(jpeg(exif=exif)), np.rot90(upright, turn))
