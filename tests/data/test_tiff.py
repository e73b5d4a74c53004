"""Every variety of TIFF is read as tifffile, another reader and writer, understands it, or is refused by its kind."""

import io
import lzma
import struct
import sys
import time
import zlib
from itertools import product
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from alexnet.data.images import decode, inspect

HEIGHT, WIDTH = 24, 40
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
PICTURE = np.stack([X * 6, Y * 10, (X + Y) * 4], axis=2).astype(np.uint8)  # uint8 (H, W, 3)
GRAY = PICTURE[:, :, :1]
OPAQUE = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
KINDS = {  # bands as uint8, the bands that are shown, photometric interpretation, extra samples
    "grey": (GRAY, GRAY, "minisblack", None),
    "white is zero": (GRAY, 255 - GRAY, "miniswhite", None),
    "grey with alpha": (np.concatenate([GRAY, OPAQUE], 2), GRAY, "minisblack", ["unassalpha"]),
    "colour": (PICTURE, PICTURE, "rgb", None),
    "colour with alpha": (np.concatenate([PICTURE, OPAQUE], 2), PICTURE, "rgb", ["unassalpha"]),
    "colour with infrared": (np.concatenate([PICTURE, GRAY], 2), PICTURE, "rgb", ["unspecified"]),
}
TYPES = {"uint8": 255, "uint16": 65535, "uint32": 65535, "float16": 1, "float32": 1, "float64": 1}
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "big-endian, deflate": {"byteorder": ">", "compression": "zlib"},
    "BigTIFF": {"bigtiff": True},
    "strips": {"rowsperstrip": 7},
    "tiles, deflate": {"tile": (16, 16), "compression": "zlib", "predictor": False},
}


def written(bands: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, bands, metadata=None, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_picture_is_the_same_at_every_depth_and_in_every_layout(dtype: str, kind: str) -> None:
    eight, shown, photometric, extra = KINDS[kind]
    scaled = (eight / 255 * TYPES[dtype]).astype(dtype)
    planes = (
        {"contig": scaled, "separate": scaled.transpose(2, 0, 1)} if eight.shape[2] > 1 else {None: scaled[:, :, 0]}
    )
    for (planar, bands), (name, layout) in product(planes.items(), LAYOUTS.items()):
        data = written(bands, photometric=photometric, planarconfig=planar, extrasamples=extra, **layout)
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), bands), name
        assert np.abs(decode(data).astype(int) - shown).max() <= 1, (planar, name)
        notes = inspect(data).notes
        assert ("extra bands left out: no alpha" in notes) == (kind == "colour with infrared"), name
        assert dtype == "uint8" or {"float", "16-bit"} & set(notes), name


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 7}, {"tile": (16, 16)}])
def test_lzw_is_read_where_tifffile_has_no_decoder(dtype: str, planes: str, layout: dict[str, Any]) -> None:
    scaled = (PICTURE / 255 * TYPES[dtype]).astype(dtype)
    data = written(
        scaled if planes == "contig" else scaled.transpose(2, 0, 1), photometric="rgb", planarconfig=planes, **layout
    )
    assert np.abs(decode(as_lzw(data)).astype(int) - PICTURE).max() <= 1


def as_lzw(data: bytes) -> bytes:
    """An uncompressed TIFF file with every strip or tile compressed by libtiff's LZW."""
    copy = bytearray(data)
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    assert isinstance(page, tifffile.TiffPage)
    for index, (start, length) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        strip = io.BytesIO()
        Image.frombytes("L", (length, 1), data[start : start + length]).save(strip, "TIFF", compression="tiff_lzw")
        with tifffile.TiffFile(io.BytesIO(strip.getvalue())) as one:
            packed = strip.getvalue()[one.pages[0].dataoffsets[0] :][: one.pages[0].databytecounts[0]]
        for code, value in ((273, len(copy)), (324, len(copy)), (279, len(packed)), (325, len(packed))):
            if tag := page.tags.get(code):
                width = 2 if tag.dtype == 3 else 4
                place = tag.valueoffset + index * width
                copy[place : place + width] = value.to_bytes(width, "little")
        copy += packed
    place = page.tags[259].valueoffset
    copy[place : place + 2] = (5).to_bytes(2, "little")
    return bytes(copy)


def test_1_bit_pictures_obey_white_is_zero() -> None:
    bits = GRAY[:, :, 0] > 100
    for photometric, shown in (("minisblack", bits), ("miniswhite", ~bits)):
        assert np.array_equal(decode(written(bits, photometric=photometric))[:, :, 0], np.where(shown, 255, 0))


def test_cmyk_of_16_bits_is_converted_as_that_of_8() -> None:
    cmyk = np.array(Image.fromarray(PICTURE).convert("CMYK"))
    eight = decode(written(cmyk, photometric="separated", planarconfig="contig"))
    assert np.abs(eight.astype(int) - PICTURE).max() <= 1
    wide = cmyk.astype(np.uint16) * 257
    for planes, bands in (("contig", wide), ("separate", wide.transpose(2, 0, 1))):
        assert np.array_equal(decode(written(bands, photometric="separated", planarconfig=planes)), eight)


def test_first_page_is_read_and_the_others_are_noted() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        for page in ((PICTURE / 255).astype(np.float32), np.zeros((8, 8, 3), np.float32)):
            tiff.write(page, photometric="rgb", metadata=None)
    assert np.abs(decode(file.getvalue()).astype(int) - PICTURE).max() <= 1
    assert "several pages" in inspect(file.getvalue()).notes


def test_orientation_is_obeyed_by_both_readers() -> None:
    for bands in (PICTURE, (PICTURE / 255).astype(np.float32)):
        data = written(bands, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
        assert np.abs(decode(data).astype(int) - np.rot90(PICTURE, -1)).max() <= 1
        assert (inspect(data).width, inspect(data).height) == (HEIGHT, WIDTH)


def test_wide_alpha_is_laid_over_white() -> None:
    bands = np.concatenate([GRAY, GRAY], 2).astype(np.uint16) * 257
    white = Image.alpha_composite(
        Image.new("RGBA", (WIDTH, HEIGHT), "white"), Image.fromarray(np.concatenate([GRAY] * 4, 2))
    )
    shown = decode(written(bands, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]))
    assert np.abs(shown.astype(int) - np.asarray(white)[:, :, :3]).max() <= 1


@pytest.mark.parametrize(
    ("bands", "options", "reason"),
    [
        (PICTURE.astype(np.complex64), {"photometric": "rgb"}, "complex values"),
        (PICTURE.astype(np.int16), {"photometric": "rgb"}, "signed integer values"),
        (PICTURE.astype(np.float32) - 1, {"photometric": "rgb"}, "float pixels from -1"),
        (PICTURE.astype(np.float32), {"photometric": "cielab"}, "CIELAB"),
        (PICTURE, {"photometric": "rgb", "extratags": [(50706, 1, 4, b"\1\4\0\0", True)]}, "RAW photo: export it as"),
    ],
)
def test_what_cannot_be_read_is_called_by_its_kind(bands: NDArray[Any], options: dict[str, Any], reason: str) -> None:
    error = inspect(written(bands, **options)).error
    assert error is not None
    assert reason in error
    assert "damaged" not in error


def test_unknown_compression_is_named_and_not_called_damage() -> None:
    data = bytearray(written((PICTURE / 255).astype(np.float32), photometric="rgb"))
    place = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[259].valueoffset
    data[place : place + 2] = (50002).to_bytes(2, "little")
    assert "compressed as JPEG XL" in str(inspect(bytes(data)).error)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_truncated_file_is_called_damaged_by_both_readers(options: dict[str, Any], capfd: Any) -> None:
    noise = np.random.default_rng(0).random((64, 64, 3), np.float32)
    for bands in (noise, (noise * 255).astype(np.uint8)):
        data = written(bands, photometric="rgb", **options)
        assert "truncated or damaged" in str(inspect(data[: len(data) // 2]).error)
    assert capfd.readouterr().err == ""


def test_callers_pillow_image_of_a_file_that_pillow_misreads_is_read_right() -> None:
    planes = PICTURE.transpose(2, 0, 1).astype(np.uint16) * 257
    image = Image.open(io.BytesIO(written(planes, photometric="rgb", planarconfig="separate")))
    assert np.array_equal(decode(image), PICTURE)


@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 16)}])
def test_16_bit_colour_has_the_same_pixels_in_planes_as_interleaved(layout: dict[str, Any]) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
    interleaved = written(values, photometric="rgb", planarconfig="contig", **layout)
    planes = written(values.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", **layout)
    for data in (planes, as_lzw(planes), as_lzw(interleaved)):
        assert np.array_equal(decode(data), decode(interleaved))


def test_a_small_file_of_millions_of_strips_is_refused_at_once() -> None:
    tags = [
        (256, 1),
        (257, 2**24),
        (262, 0),
        (273, 150),
        (277, 4),
        (278, 1),
        (279, 4),
    ]  # one strip of millions
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags)
    data = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(60)
    began = time.process_time()
    assert "1 of 16,777,216 parts of the picture are there" in str(inspect(data).error)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("colours", [GRAY, PICTURE])
def test_premultiplied_alpha_is_laid_over_white(colours: NDArray[Any], planes: str, dtype: str) -> None:
    alpha = np.clip(60 + GRAY, 0, 255)
    shown = np.clip(colours.astype(int) * alpha // 255 + 255 - alpha, 0, 255)
    bands = np.concatenate([colours * (alpha / 255), alpha], 2) / 255 * TYPES[dtype]
    data = written(
        bands.astype(dtype) if planes == "contig" else bands.transpose(2, 0, 1).astype(dtype),
        photometric="rgb" if colours is PICTURE else "minisblack",
        planarconfig=planes,
        extrasamples=["assocalpha"],
    )
    assert np.abs(decode(data).astype(int) - shown).max() <= 3


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"byteorder": ">", "compression": "zlib"}])
def test_values_that_pillow_takes_for_others_are_refused(layout: dict[str, Any]) -> None:
    signed = inspect(written(GRAY[:, :, 0].astype(np.int8), photometric="minisblack", **layout))
    assert "8-bit signed integer values, which is not read" in str(signed.error)
    large = inspect(written(GRAY[:, :, 0] + np.uint32(2**32 - 300), photometric="minisblack", **layout))
    assert "integer pixels from 4294966996 to" in str(large.error)


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("order", "<>")
def test_packed_values_are_spread_over_the_whole_range(bits: int, order: str) -> None:
    few = np.rint(PICTURE[:, :-1] / 255 * (2**bits - 1)).astype(int)  # rows that end within a byte, of 2 bits a value
    shown = few / (2**bits - 1) * 255
    for photometric, bands, wanted in ((0, 1, 255 - shown[:, :, :1]), (1, 1, shown[:, :, :1]), (2, 3, shown)):
        data = packed(few[:, :, :bands], bits, photometric, order)
        assert np.abs(decode(data) - wanted).max() <= 1, photometric


def packed(values: NDArray[Any], bits: int, photometric: int, order: str) -> bytes:
    """An uncompressed TIFF file of two strips with `bits` bits a value and no gaps within a row."""
    height, width, bands = values.shape
    rows = np.packbits((values.reshape(height, -1, 1) >> np.arange(bits)[::-1] & 1).reshape(height, -1), axis=1)
    size, half = rows.shape[1], height // 2
    tags = [(256, [width]), (257, [height]), (258, [bits] * bands), (259, [1]), (262, [photometric])]
    tags += [(273, [8, 8 + size * half]), (277, [bands]), (278, [half]), (279, [size * half] * 2)]
    place = 8 + rows.size + 2 + 12 * len(tags) + 4
    entries, longer = b"", b""
    for code, numbers in tags:
        value = struct.pack(f"{order}{len(numbers)}I", *numbers)
        entries += struct.pack(order + "HHI", code, 4, len(numbers))
        entries += value if len(value) == 4 else struct.pack(order + "I", place + len(longer))
        longer += value if len(value) > 4 else b""
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + rows.size)
    return head + rows.tobytes() + struct.pack(order + "H", len(tags)) + entries + bytes(4) + longer


OLD = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python itself decodes Zstandard from 3.14 on")


@pytest.mark.parametrize(
    ("code", "values", "reason"),
    [
        pytest.param(259, (259, 3, 1, 50000), "compressed as Zstandard", marks=OLD),
        (258, (258, 3, 1, 24), "24-bit integer values packed"),
        (65000, (317, 3, 1, 3), "a predictor for floats"),
    ],
)
def test_what_needs_a_further_package_is_named_and_not_called_damage(
    code: int, values: tuple[int, ...], reason: str
) -> None:
    bands = GRAY[:, :, 0] + (np.uint32(0) if code == 258 else np.float64(0))
    data = bytearray(written(bands, photometric="minisblack", extratags=[(65000, 3, 1, 3, True)]))
    place = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[code].offset
    data[place : place + 12] = struct.pack("<HHII", *values)
    error = str(inspect(bytes(data)).error)
    assert reason in error
    assert "damaged" not in error


@pytest.mark.parametrize(("bits", "compression"), [(12, 8), (64, 8), (64, 34925)])
def test_parts_that_unpack_to_far_more_than_the_picture_are_refused(bits: int, compression: int) -> None:
    content = bytes(16 * 16 * bits // 8 * 3)
    packed = zlib.compress(content) if compression == 8 else lzma.compress(content)
    tags = [(256, 16), (257, 16), (258, bits), (259, compression), (262, 1), (273, 122), (277, 1), (278, 16)]
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in [*tags, (279, len(packed))])
    data = struct.pack("<2sHIH", b"II", 42, 8, 9) + entries + bytes(4) + packed
    assert "unpacks to more than" in str(inspect(data).error)
