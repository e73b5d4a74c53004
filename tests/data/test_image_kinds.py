"""Phones' formats are read, transparent pictures stay visible, large photos are decoded fast; the rest is named."""

import io
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from alexnet.data.form import Form
from alexnet.data.images import decode, enough_for, inspect, square
from alexnet.data.images.kinds import IMAGE_SUFFIXES, RAW_SUFFIXES
from alexnet.data.sources import open_source
from alexnet.data.store import pack
from alexnet.errors import DataError


def photo(width: int = 96, height: int = 64) -> np.ndarray:
    """A smooth colour picture, uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / (width - 1), 255 * y / (height - 1), 127 + 100 * np.sin(x / 9 + y / 13)]
    return np.stack(channels, axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def heic(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95)
    return file.getvalue()


# --- what phones and cameras write ---


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "JPEG2000", "MPO"])
def test_phones_formats_are_read(kind: str) -> None:
    data = heic(photo()) if kind == "HEIF" else encoded(Image.fromarray(photo()), kind, quality=95)
    assert np.abs(decode(data).astype(int) - photo()).mean() < 3
    facts = inspect(data)
    assert (facts.width, facts.height, facts.error) == (96, 64, None)
    assert facts.format == ("JPEG" if kind == "MPO" else kind)  # an MPO of one picture is a JPEG


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 3)])
def test_jpeg_2000_of_few_bits_reaches_from_black_to_white(bits: int, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, shape, np.uint8)
    level = 128 - 2 ** (bits - 1)  # what a decoder of so many bits adds less after the inverse transform
    data = bytearray(encoded(Image.fromarray(values + np.uint8(level)), "JPEG2000", no_jp2=True, mct=0))
    for channel in range(values.size // (32 * 48)):
        data[42 + 3 * channel] = bits - 1
    expected = np.rint(values * (255 / (2**bits - 1))).astype(np.uint8)
    assert (decode(bytes(data)) == (expected if values.ndim == 3 else expected[..., None])).all()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_phones_photos_are_upright(kind: str) -> None:
    turned = Image.fromarray(photo()).transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    file = io.BytesIO()
    if kind == "HEIF":
        exif = turned.getexif().tobytes()
        pillow_heif.encode("RGB", turned.size, turned.tobytes(), file, exif=exif, quality=95)
    else:
        turned.save(file, kind, exif=turned.getexif(), quality=95)
    pixels = decode(file.getvalue())
    assert pixels.shape == (64, 96, 3)
    assert np.abs(pixels.astype(int) - photo()).mean() < 3


def test_heic_of_more_than_8_bits_is_read() -> None:
    file = io.BytesIO()
    wide = (photo().astype(np.uint16) * 257).tobytes()
    pillow_heif.from_bytes("RGB;16", (96, 64), wide).save(file, quality=95)
    assert np.abs(decode(file.getvalue()).astype(int) - photo()).mean() < 3


def test_mpo_gives_its_first_picture_without_a_note() -> None:
    preview = Image.new("RGB", (30, 20), "red")
    data = encoded(Image.fromarray(photo()), "MPO", save_all=True, append_images=[preview], quality=95)
    assert np.abs(decode(data).astype(int) - photo()).mean() < 3
    assert (inspect(data).format, inspect(data).notes) == ("MPO", ())


def test_live_photo_gives_the_photo() -> None:
    jpeg = encoded(Image.fromarray(photo()), "JPEG")
    video = struct.pack(">I4s4sI", 16, b"ftyp", b"mp42", 0) + bytes(2000)
    assert np.array_equal(decode(jpeg + video), decode(jpeg))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "JPEG2000"])
def test_truncated_photo_is_called_damaged(kind: str, share: float) -> None:
    data = heic(photo()) if kind == "HEIF" else encoded(Image.fromarray(photo()), kind)
    assert "truncated or damaged" in str(inspect(data[: int(share * len(data))]).error)


def test_reading_heic_does_not_change_what_pillow_opens() -> None:
    decode(heic(photo()))
    assert "HEIF" not in Image.OPEN


def test_missing_library_is_named_and_not_called_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(photo())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert inspect(data).error == "HEIC needs a library that is missing: pip install pillow-heif"


# --- what is not read ---

NOT_READ = {
    "sound": (b"RIFF\x24\0\0\0WAVEfmt ", "not an image: WAV sound"),
    "film": (b"RIFF\x24\0\0\0AVI LIST", "not an image: AVI video"),
    "MP4": (struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0), "not an image: MP4 or QuickTime"),
    "RAW of Canon": (struct.pack(">I4s4sI", 16, b"ftyp", b"crx ", 0), "RAW photo: export it as JPEG"),
    "older RAW of Canon": (b"II*\0\x10\0\0\0CR\x02\0", "RAW photo: export it as JPEG"),
    "RAW of Fujifilm": (b"FUJIFILMCCD-RAW 0201", "RAW photo: export it as JPEG"),
    "RAW of Olympus": (b"IIRO\x08\0\0\0", "RAW photo: export it as JPEG"),
    "JPEG XL": (b"\xff\x0a\x00\x10", "JPEG XL: save it as JPEG or PNG"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL: save it as JPEG or PNG"),
    "PDF": (b"%PDF-1.7\n", "not an image: PDF document"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawing; export it as PNG"),
    "HTML": (b"\n<!DOCTYPE html><title>404</title>", "not an image: HTML page"),
    "ZIP": (b"PK\x03\x04\x14\0", "not an image: ZIP archive"),
    "DICOM": (bytes(128) + b"DICM", "DICOM; export it as PNG"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "text": (b"path,label\na.jpg,cat\n", "not an image: text"),
    "zeros": (bytes(600), "zeros alone"),
    "nothing": (b"", "empty: 0 bytes"),
}


@pytest.mark.parametrize("kind", NOT_READ)
def test_other_kinds_of_file_are_called_by_their_name(kind: str, tmp_path: Path) -> None:
    content, reason = NOT_READ[kind]
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    error = inspect(path).error
    assert error is not None
    assert reason in error
    assert "damaged" not in error


@pytest.mark.parametrize(
    ("marker", "bits", "reason"),
    [
        (0xC1, 12, "12-bit JPEG: save it as 8 bits"),
        (0xC3, 8, "lossless JPEG"),
        (0xC5, 8, "hierarchical JPEG"),
        (0xCB, 8, "arithmetic-coded JPEG"),
        (0xF7, 8, "JPEG-LS"),
    ],
)
def test_varieties_of_jpeg_that_are_not_read_are_named(marker: int, bits: int, reason: str) -> None:
    data = encoded(Image.fromarray(photo()), "JPEG")
    place = data.index(b"\xff\xc0\x00\x11")
    strange = data[:place] + bytes([0xFF, marker]) + data[place + 2 : place + 4] + bytes([bits]) + data[place + 5 :]
    assert reason in str(inspect(strange).error)


@pytest.mark.parametrize("suffix", [".NEF", ".arw", ".dng"])
def test_thumbnail_of_a_raw_photo_is_not_taken_for_the_photo(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encoded(Image.new("RGB", (16, 12)), "TIFF"))
    assert inspect(path).error == "RAW photo: export it as JPEG"


def test_suffixes_of_images_are_those_of_formats_that_are_read() -> None:
    assert {".heic", ".heif", ".hif", ".avif", ".jp2", ".mpo"} <= IMAGE_SUFFIXES
    assert not {".jxl", *RAW_SUFFIXES} & IMAGE_SUFFIXES


# --- alpha ---


def with_alpha(rgb: np.ndarray, alpha: np.ndarray | int) -> bytes:
    band = np.broadcast_to(np.asarray(alpha, np.uint8), rgb.shape[:2])[:, :, None]
    return encoded(Image.fromarray(np.concatenate([rgb, band], axis=2)), "PNG")


def test_alpha_of_zero_everywhere_is_ignored_and_noted() -> None:
    data = with_alpha(photo(), 0)
    assert np.array_equal(decode(data), photo())
    assert inspect(data).notes == ("alpha", "alpha ignored: zero everywhere")


def test_picture_that_would_be_blank_over_white_keeps_its_colours() -> None:
    seen = photo()
    seen[:20] = 255
    alpha = np.zeros((64, 96), np.uint8)
    alpha[:20] = 255  # only the white part is opaque
    data = with_alpha(seen, alpha)
    assert np.array_equal(decode(data), seen)
    assert inspect(data).notes == ("alpha", "alpha ignored: blank over white")


def test_white_drawing_in_the_alpha_alone_stays_visible() -> None:
    drawing = (photo()[:, :, 0] > 127).astype(np.uint8) * 255
    data = with_alpha(np.full((64, 96, 3), 255, np.uint8), drawing)
    assert np.array_equal(decode(data), np.repeat(drawing[:, :, None], 3, axis=2))
    assert inspect(data).notes == ("alpha", "alpha laid over black: blank over white")


def test_alpha_that_leaves_something_to_see_is_laid_over_white() -> None:
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:10] = 0
    assert (decode(with_alpha(photo(), alpha))[:10] == 255).all()
    assert np.array_equal(decode(with_alpha(photo(), alpha))[10:], photo()[10:])


def test_blank_pictures_are_noted_and_a_set_of_them_is_refused(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "photos" / label / f"{number}.png").write_bytes(with_alpha(np.zeros((9, 9, 3), np.uint8), 255))
    assert inspect(tmp_path / "photos" / "cat" / "0.png").blank
    with pytest.raises(DataError, match=r"all 4 images are blank, every pixel is \(0, 0, 0\)"):
        pack(open_source(str(tmp_path / "photos")), tmp_path / "store", 16)
    assert not (tmp_path / "store").exists()
    (tmp_path / "photos" / "cat" / "2.png").write_bytes(encoded(Image.fromarray(photo()), "PNG"))
    assert len(pack(open_source(str(tmp_path / "photos")), tmp_path / "store", 16)) == 5


# --- large JPEG files ---


def large(width: int, height: int) -> bytes:
    """A JPEG with detail: noise of several scales."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(128, 60, (height // step, width // step, 3)).clip(0, 255).astype(np.uint8) for step in (8, 40)]
    images = [Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC) for layer in layers]
    return encoded(Image.blend(*images, 0.5), "JPEG", quality=90)


def test_large_jpeg_is_decoded_at_a_scale_that_changes_its_square_little() -> None:
    data = large(2600, 2080)
    assert decode(data, at_least=enough_for(256)).shape == (520, 650, 3)
    difference = np.abs(Form().read(data).astype(int) - Form(exact=True).read(data))
    assert difference.max() <= 8
    assert 0 < difference.mean() <= 1


@pytest.mark.parametrize("size", [32, 256])
def test_photo_of_fewer_than_1024_pixels_a_side_is_decoded_whole(size: int) -> None:
    data = large(1100, 1023)
    assert np.array_equal(Form(size).read(data), square(decode(data), size))


def test_larger_squares_are_given_more_pixels() -> None:
    data = large(2600, 2080)
    assert decode(data, at_least=enough_for(512)).shape == (1040, 1300, 3)
    assert np.array_equal(Form(1024).read(data), Form(1024, exact=True).read(data))


def test_callers_own_image_is_not_scaled() -> None:
    image = Image.open(io.BytesIO(large(2600, 2080)))
    assert decode(image, at_least=512).shape == (2080, 2600, 3)
    assert image.size == (2600, 2080)


# --- the documents ---


def test_every_row_of_the_table_of_formats_names_tests_that_exist() -> None:
    tests = Path(__file__).parent
    text = (tests.parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    section = text.partition("## Images\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    code = "".join((tests / f"{name}.py").read_text() for name in re.findall(r"`(test_\w+)\.py`", section))
    assert len(rows) >= 15
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert [name for name in named if f"def {name}(" not in code] == []


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("value_range", [None, (0.0, 65535.0)])
def test_one_transparent_colour_of_png_is_white_at_every_depth(
    bits: int, bands: int, value_range: tuple[float, float] | None
) -> None:
    if bands == 3 and bits < 8:
        return  # PNG has no such colour
    values = np.random.default_rng(bits).integers(0, 2**bits, (8, 16, bands))
    values[2:4] = values[0, 0] ^ 1  # another value, alike in its upper bits
    values[4:] = values[0, 0]
    shown = np.where((values == values[0, 0]).all(2, keepdims=True), 255, values / (2**bits - 1) * 255)
    assert np.abs(decode(png(values, bits, values[0, 0]), value_range=value_range) - shown).max() <= 1


def png(values: np.ndarray, bits: int, key: np.ndarray) -> bytes:
    """A grey or colour PNG file in which the colour `key` is transparent."""
    height, width, bands = values.shape
    rows = np.packbits((values.reshape(height, -1, 1) >> np.arange(bits)[::-1] & 1).reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, 0 if bands == 1 else 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = {b"IHDR": header, b"tRNS": key.astype(">u2").tobytes(), b"IDAT": pixels, b"IEND": b""}
    framed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)
