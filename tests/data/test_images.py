"""Every kind of image decodes to upright uint8 RGB, or is refused with the reason."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from alexnet.data import images
from alexnet.data.images import decode, decode_values, inspect, square
from alexnet.errors import ImageError


def photo(width: int = 96, height: int = 64) -> np.ndarray:
    """A smooth, asymmetric colour picture, uint8 (height, width, 3): each corner differs from the others."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), 127 + 100 * np.sin(x / 9 + y / 13)]
    return np.stack(channels, axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims any size: a header, one pixel row of data at most, an end."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


# --- formats and ways in ---


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_format_gives_back_its_pixels(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.bin"
    path.write_bytes(encoded(Image.fromarray(photo()), kind))
    assert np.array_equal(decode(path), photo())


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 95})])
def test_lossy_format_gives_back_nearly_its_pixels(kind: str, options: dict[str, Any]) -> None:
    pixels = decode(encoded(Image.fromarray(photo()), kind, **options))
    assert np.abs(pixels.astype(int) - photo()).mean() < 3


def test_all_kinds_of_input_decode_to_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.fromarray(photo()), "JPEG"))
    first = decode(path)
    assert first.dtype == np.uint8
    assert first.shape == (64, 96, 3)
    assert first.flags.c_contiguous
    with Image.open(path) as image:
        for same in (path, str(path), path.read_bytes(), image, first):
            assert np.array_equal(decode(same), first)


def test_first_frame_of_an_animation_is_decoded() -> None:
    red, blue = (Image.new("RGB", (20, 10), color) for color in ("red", "blue"))
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(red, kind, save_all=True, append_images=[blue], **options)
        assert (decode(data) == (255, 0, 0)).all(), kind
        assert ("several pages" if kind == "TIFF" else "animated") in inspect(data).notes
        assert inspect(data).digest == inspect(decode(data)).digest


def test_format_is_recognised_by_content(tmp_path: Path) -> None:
    path = tmp_path / "wrong.jpg"
    path.write_bytes(encoded(Image.fromarray(photo()), "PNG"))
    assert np.array_equal(decode(path), photo())
    assert inspect(path).format == "PNG"


def test_callers_pillow_image_stays_open_and_unchanged() -> None:
    image = Image.open(io.BytesIO(encoded(Image.fromarray(photo()).convert("P"), "PNG")))
    decode(image)
    assert image.mode == "P"
    assert image.getpixel((0, 0)) is not None


# --- modes ---


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bit_gray_is_scaled_by_257_not_clipped(mode: str) -> None:
    levels = np.arange(256, dtype=np.uint16)[None, :]
    stored = {"I;16": "<u2", "I;16B": ">u2", "I": "i4"}[mode]
    image = Image.frombytes(mode, (256, 1), (levels * 257).astype(stored).tobytes())
    assert np.array_equal(decode(image)[0], np.repeat(levels[0, :, None], 3, axis=1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_file_keeps_its_range_and_is_noted(kind: str) -> None:
    data = encoded(Image.fromarray(np.array([[0, 1000, 32768, 65535]], np.uint16)), kind)
    assert decode(data)[0, :, 0].tolist() == [0, 4, 128, 255]
    assert inspect(data).notes == ("16-bit", "grayscale")


def test_16_bit_colour_is_converted_and_noted() -> None:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in photo(4, 3).astype(np.uint16) * 257)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(decode(data), photo(4, 3))
    assert inspect(data).notes == ("16-bit",)


@pytest.mark.parametrize("extreme", [-1, 65536])
def test_integers_beyond_16_bits_are_refused(extreme: int) -> None:
    with pytest.raises(ImageError, match=rf"integer pixels from .*{extreme}.*0 to 65535"):
        decode(Image.fromarray(np.array([[0, extreme]], np.int32)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 0.5, 200], [0, 0, 200]),
        ([0, 0, 0], [0, 0, 0]),
        ([3, 254.6, 255], [3, 255, 255]),
    ],
)
def test_float_pixels_are_0_to_1_or_0_to_255(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert decode(encoded(image, "TIFF"))[0, :, 0].tolist() == expected
    assert inspect(image).notes[:2] == ("float", "grayscale")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, 300.0])
def test_float_pixels_of_unknown_range_are_refused(bad: float) -> None:
    with pytest.raises(ImageError, match="float pixels from"):
        decode(Image.fromarray(np.array([[0, bad]], np.float32)))


def test_cmyk_is_converted_even_if_inverted_by_adobe() -> None:
    cmyk = Image.fromarray(photo()).convert("CMYK")
    jpeg = encoded(cmyk, "JPEG", quality=95, subsampling=0)  # Pillow writes them as Adobe does, inverted
    assert b"Adobe" in jpeg
    for data in (jpeg, encoded(cmyk, "TIFF")):
        assert np.abs(decode(data).astype(int) - photo()).mean() < 4
        assert inspect(data).notes == ("CMYK",)


def test_alpha_is_composited_on_white() -> None:
    alpha = np.tile(np.array([0, 128, 255], np.uint8), (2, 1))
    black = np.concatenate([np.zeros((2, 3, 3), np.uint8), alpha[:, :, None]], axis=2)
    for image in (Image.fromarray(black), Image.fromarray(black).convert("LA")):
        data = encoded(image, "PNG")
        assert decode(data)[0, :, 0].tolist() == [255, 127, 0]
        assert "alpha" in inspect(data).notes


@pytest.mark.parametrize(("kind", "transparent"), [("PNG", 0), ("PNG", b"\x00\xff"), ("GIF", 0)])
def test_transparent_palette_entry_is_white(kind: str, transparent: int | bytes) -> None:
    image = Image.new("P", (4, 1), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    data = encoded(image, kind, transparency=transparent)
    assert decode(data)[0].tolist() == [[255, 255, 255]] + [[0, 0, 255]] * 3
    assert inspect(data).notes == ("palette", "alpha")


def test_palette_without_transparency_gives_its_colours() -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([1, 2, 3, 40, 50, 60])
    assert (decode(encoded(image, "PNG")) == (40, 50, 60)).all()


def test_transparent_colour_of_rgb_and_of_gray_is_white() -> None:
    for mode, color, key in (("RGB", (1, 2, 3), (1, 2, 3)), ("L", 7, 7)):
        image = Image.new(mode, (2, 2), color)
        image.putpixel((1, 1), 0)
        pixels = decode(encoded(image, "PNG", transparency=key))
        assert pixels.reshape(4, 3)[:, 0].tolist() == [255, 255, 255, 0]


def test_gray_and_1_bit_fill_the_three_channels() -> None:
    gray = photo()[:, :, 2]
    assert np.array_equal(decode(encoded(Image.fromarray(gray), "PNG")), np.repeat(gray[:, :, None], 3, axis=2))
    bits = encoded(Image.fromarray(gray > 127), "PNG")
    assert np.array_equal(decode(bits)[:, :, 1], np.where(gray > 127, 255, 0))
    assert inspect(bits).notes == ("1-bit", "grayscale")


# --- orientation ---

STORED_FOR = {  # how the upright picture must be stored so that each orientation brings it back
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_every_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    upright = Image.fromarray(photo(48, 32))
    turn = STORED_FOR[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(stored, kind, exif=exif, **options)
    pixels = decode(data)
    assert pixels.shape == (32, 48, 3)
    assert np.abs(pixels.astype(int) - photo(48, 32)).mean() < (2 if kind == "JPEG" else 0.001)
    noted = [note for note in inspect(data).notes if note.startswith("EXIF")]
    assert noted == ([f"EXIF orientation {orientation}"] if orientation != 1 else [])
    assert (inspect(data).width, inspect(data).height) == (48, 32)


def test_orientation_equals_exif_transpose() -> None:
    for orientation in range(1, 9):
        image = Image.fromarray(photo(5, 3))
        image.getexif()[0x0112] = orientation
        assert np.array_equal(decode(image), np.array(ImageOps.exif_transpose(image)))


def test_orientation_is_applied_if_another_tag_is_damaged() -> None:
    """StripOffsets as text: readable, but Pillow cannot write it again."""
    entries = struct.pack(">HHL4s", 0x0111, 2, 4, b"abc") + struct.pack(">HHLHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 2) + entries + bytes(4)
    stored = encoded(Image.fromarray(photo()), "JPEG", exif=exif)
    plain = decode(encoded(Image.fromarray(photo()), "JPEG"))
    assert np.array_equal(decode(stored), np.rot90(plain, -1))


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encoded(Image.fromarray(photo()), "PNG", exif=exif)), photo())


def test_damaged_exif_is_ignored_without_a_warning() -> None:
    data = encoded(Image.fromarray(photo()), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(decode(data), photo())
        assert inspect(data).error is None


# --- what is refused ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_file_is_refused_with_its_reason(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match=r"truncated|not an image"):
        decode(data[: max(8, int(share * len(data)))])


def test_truncated_jpeg_is_refused_whatever_pillows_global_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(Image.fromarray(photo()), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        decode(data[: len(data) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match="0 bytes"):
        decode(tmp_path / "empty.jpg")


@pytest.mark.parametrize(
    "content", [b"These are my notes.\n", b"BMW is a car, not a bitmap\n", b"%PDF-1.7", b"\0" * 99]
)
def test_text_named_jpg_is_not_an_image(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="not an image"):
        decode(path)


def test_unaccepted_format_is_not_an_image() -> None:
    with pytest.raises(ImageError, match="not an image"):
        decode(encoded(Image.fromarray(photo()), "ICO"))


def test_postscript_is_never_interpreted() -> None:
    with pytest.raises(ImageError, match="not an image"):
        decode(encoded(Image.fromarray(photo()), "EPS"))


@pytest.mark.parametrize("side", [13378, 20_000, 100_000])
def test_image_of_too_many_pixels_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(ImageError, match=f"too large: {side} x {side} pixels"):
        decode(png_header(side, side))
    facts = inspect(png_header(side, side))
    assert (facts.width, facts.height, facts.format) == (side, side, "PNG")
    assert facts.error is not None
    assert "too large" in facts.error


def test_limit_on_pixels_can_be_lowered_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(photo(96, 64)), "PNG")
    with pytest.raises(ImageError, match="96 x 64 pixels by its header, at most 6,143"):
        decode(data, max_pixels=96 * 64 - 1)
    assert decode(data, max_pixels=96 * 64).shape == (64, 96, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own limit, lower than ours
    assert decode(data).shape == (64, 96, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_image_of_no_pixels_is_refused() -> None:
    with pytest.raises(ImageError):
        decode(Image.new("RGB", (0, 5)))


def test_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        decode(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="not a file"):
        decode(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a file"):
        decode(tmp_path / "pipe.jpg")


def test_noise_after_a_valid_header_raises_image_error() -> None:
    rng = np.random.default_rng(1)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        sound = encoded(Image.fromarray(photo(32, 32)), kind)
        for _ in range(60):
            damaged = bytearray(sound)
            for place in rng.integers(0, len(sound), 8):
                damaged[place] = rng.integers(256)
            facts = inspect(bytes(damaged), max_pixels=10**6)
            assert facts.error is None or "\n" not in facts.error


def test_every_refusal_is_one_line_without_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "a-name.jpg"
    for content in (b"", b"text", png_header(100_000, 100_000), encoded(Image.fromarray(photo()), "JPEG")[:500]):
        path.write_bytes(content)
        facts = inspect(path)
        assert facts.error is not None
        assert "\n" not in facts.error
        assert "a-name" not in facts.error


# --- arrays ---


def test_gray_array_fills_three_channels() -> None:
    gray = photo()[:, :, 0]
    assert np.array_equal(decode(gray), np.stack([gray] * 3, axis=2))
    assert inspect(gray).notes == ("grayscale",)


def test_array_of_another_type_or_shape_is_refused_with_what_is_accepted() -> None:
    with pytest.raises(ImageError, match="array of float32: only uint8"):
        decode(photo().astype(np.float32))
    for shape in [(3, 64, 96), (64, 96, 4), (64, 96, 1), (5,), (1, 5, 5, 3), (0, 5, 3), (5, 0)]:
        with pytest.raises(ImageError, match=r"array of shape .* \(H, W, 3\)"):
            decode(np.zeros(shape, np.uint8))


def test_other_types_are_refused() -> None:
    with pytest.raises(ImageError, match="int is not a path"):
        decode(5)  # type: ignore[arg-type]


# --- inspect ---


def test_plain_photo_has_no_notes() -> None:
    facts = inspect(encoded(Image.fromarray(photo()), "JPEG"))
    assert (facts.width, facts.height, facts.format, facts.mode) == (96, 64, "JPEG", "RGB")
    assert facts.notes == ()
    assert facts.error is None


def test_digests_are_equal_exactly_for_equal_pixels() -> None:
    image = Image.fromarray(photo())
    assert inspect(encoded(image, "PNG")).digest == inspect(encoded(image, "BMP")).digest == inspect(photo()).digest
    other = photo()
    other[0, 0, 0] ^= 1
    reshaped = photo().reshape(96, 64, 3)
    assert len({inspect(a).digest for a in (photo(), other, reshaped)}) == 3


# --- square ---


def test_square_is_the_resized_centre() -> None:
    image = photo(300, 200)
    reference = Image.fromarray(image).resize((96, 64), Image.Resampling.BILINEAR).crop((16, 0, 80, 64))
    result = square(image, 64)
    assert result.shape == (64, 64, 3)
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - np.asarray(reference)).mean() < 0.5


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(square(stripes, 64)[:, 2:-2].astype(int) - 127.5).max() <= 2


def test_image_of_the_right_height_is_only_cropped() -> None:
    image = photo(101, 64)
    assert np.array_equal(square(image, 64), image[:, 18:82])


def test_square_does_not_distort() -> None:
    disc = np.zeros((200, 600, 3), np.uint8)
    y, x = np.mgrid[0:200, 0:600]
    disc[(y - 99.5) ** 2 + (x - 299.5) ** 2 < 60**2] = 255
    small = square(disc, 50)[:, :, 0] > 127
    assert abs(int(small.any(axis=0).sum()) - int(small.any(axis=1).sum())) <= 1
    assert np.array_equal(small, small[:, ::-1])


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (8, 8), (3, 2), (257, 256)])
def test_tiny_and_narrow_images_become_squares(width: int, height: int) -> None:
    assert square(photo(width, height), 256).shape == (256, 256, 3)


def test_suffixes_are_lower_case_and_begin_with_a_dot() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in images.IMAGE_SUFFIXES)
    assert {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"} <= images.IMAGE_SUFFIXES


def test_damage_of_a_png_file_is_told_by_check_as_by_packing(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(drawn).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    middle = len(content) // 2
    damaged = content[:middle] + b"\0" * 20 + content[middle + 20 :]
    assert "damaged" in inspect(damaged).error
    with pytest.raises(ImageError, match="damaged"):
        decode_values(damaged, notes=[])
