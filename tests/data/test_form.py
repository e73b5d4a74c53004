"""The stored form: what crop, pad and warp keep of an image, and how file values become 0 to 255."""

import io
import struct
import zlib
from functools import partial
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from alexnet.data.form import FITS, PAD_COLOR, Form, fitted
from alexnet.data.images import decode, inspect, square
from alexnet.data.value_range import range_text, read_range
from alexnet.errors import ImageError, UsageError
from alexnet.networks.caffe import BVLC
from alexnet.networks.layers import IMAGENET_MEAN


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def panorama(color: tuple[int, int, int]) -> np.ndarray:
    """30 x 90 pixels: gray, the left third in a colour."""
    image = np.full((30, 90, 3), 128, np.uint8)
    image[:, :30] = color
    return image


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def tiff(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "TIFF")
    return file.getvalue()


# --- the square ---


@pytest.mark.parametrize("shape", [(40, 70), (70, 40), (32, 32)])
def test_crop_is_the_centre_square_to_the_bit(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    assert np.array_equal(Form(32).read(image), square(image, 32))


@pytest.mark.parametrize("side", [20, 32, 50])
def test_a_square_image_is_stored_alike_by_every_fit(side: int) -> None:
    crop, *others = (fitted(noise(side, side), 32, fit) for fit in FITS)
    assert all(np.array_equal(crop, other) for other in others)


def test_what_differs_in_the_left_third_alone_is_lost_by_crop_and_kept_by_pad_and_warp() -> None:
    red, blue = panorama((255, 0, 0)), panorama((0, 0, 255))
    differ = {fit: (fitted(red, 32, fit) != fitted(blue, 32, fit)).any(2).mean() for fit in FITS}
    assert differ["crop"] == 0
    assert differ["pad"] == pytest.approx(1 / 9, abs=0.04)  # a third of the third that the image takes
    assert differ["warp"] == pytest.approx(1 / 3, abs=0.04)


def test_warp_resizes_each_side_by_pillows_bilinear_filter() -> None:
    image = noise(50, 90)
    wanted = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(fitted(image, 32, "warp"), np.asarray(wanted))


@pytest.mark.parametrize("turned", [False, True])
def test_pad_keeps_the_proportions_in_the_middle_of_a_border_of_one_colour(turned: bool) -> None:
    image = noise(40, 80)
    wanted = np.asarray(Image.fromarray(image).resize((32, 16), Image.Resampling.BILINEAR))
    padded = fitted(np.ascontiguousarray(image.swapaxes(0, 1)) if turned else image, 32, "pad")
    padded = padded.swapaxes(0, 1) if turned else padded
    assert np.abs(padded[8:24].astype(int) - wanted).max() <= 1  # the passes of the filter swap their order
    assert (padded[:8] == PAD_COLOR).all()
    assert (padded[24:] == PAD_COLOR).all()


def test_the_border_is_next_to_nothing_once_the_mean_of_imagenet_is_subtracted() -> None:
    assert np.abs(np.subtract(IMAGENET_MEAN, PAD_COLOR)).max() < 0.5
    assert np.abs(np.subtract(BVLC.mean, PAD_COLOR)).max() < 1.5


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 2)])
@pytest.mark.parametrize("fit", FITS)
def test_the_thinnest_images_are_stored(shape: tuple[int, int], fit: str) -> None:
    assert fitted(noise(*shape), 16, fit).shape == (16, 16, 3)


def test_an_unknown_fit_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown fit 'crap': did you mean 'crop'"):
        Form(32, "crap")


# --- the range of values ---


def colour_png(array: np.ndarray) -> bytes:
    """A PNG of uint16 (H, W, 3 or 4), which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, {3: 2, 4: 6}[array.shape[2]], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def colour_tiff(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="rgb", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "write",
    [
        colour_png,
        colour_tiff,
        partial(colour_tiff, byteorder=">"),
        partial(colour_tiff, planarconfig="separate"),
        partial(colour_tiff, compression="zlib"),
    ],
)
def test_colour_of_12_bits_in_16_keeps_every_level_by_its_range(write: Any) -> None:
    values = np.linspace(0, 4095, 3 * 256).round().astype(np.uint16).reshape(16, 16, 3)
    data = write(values.transpose(2, 0, 1) if getattr(write, "keywords", {}).get("planarconfig") else values)
    assert np.array_equal(decode(data, value_range=(0, 4095)), np.rint(values * (255 / 4095)))
    assert inspect(data, value_range=(0, 1)).values == (0, 4095, 65535, "16-bit", (0, 4095))
    assert inspect(data).values is not None
    assert 3800 < inspect(data).values.high <= 4112  # by the upper 8 bits


def test_colour_with_alpha_keeps_its_upper_8_bits_by_a_range() -> None:
    values = np.full((4, 4, 4), 65535, np.uint16)
    values[:, :, :3] = 0x0820
    assert (decode(colour_png(values), value_range=(0, 4095)) == round(0x0808 * 255 / 4095)).all()


def test_a_range_maps_linearly_rounds_and_clips() -> None:
    values = np.array([[0, 1000, 1010, 2047, 3095, 4095, 65535]], np.uint16)
    mapped = decode(png(values), value_range=(1000, 4095))[0, :, 0]
    assert mapped.tolist() == [0, 0, 1, round(1047 * 255 / 3095), round(2095 * 255 / 3095), 255, 255]


def test_the_full_range_of_16_bits_gives_what_no_range_gives() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(decode(png(values), value_range=(0, 65535)), decode(png(values)))


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_few_bits_in_16_keep_every_gray_level_by_their_range(bits: int) -> None:
    values = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16).reshape(16, 16)
    seen = decode(png(values), value_range=(0, 2**bits - 1))[:, :, 0]
    assert len(np.unique(decode(png(values)))) <= 2 ** (bits - 8) + 1  # the fault: hardly a difference left
    assert np.array_equal(np.unique(seen), np.arange(256))


def test_negative_and_float_values_are_read_by_a_range_and_refused_without() -> None:
    for values in (np.array([[-1024, 0, 3071]], np.int32), np.array([[-1024.0, 0.0, 3071.0]], np.float32)):
        with pytest.raises(ImageError, match="train with --value-range -1024,3071"):
            decode(tiff(values))
        assert decode(tiff(values), value_range=(-1024, 3071))[0, :, 0].tolist() == [0, 64, 255]


def test_values_that_are_no_numbers_are_refused_by_any_range() -> None:
    with pytest.raises(ImageError, match="float pixels from nan to nan"):
        decode(tiff(np.array([[np.nan, 1]], np.float32)), value_range=(0, 1))


def test_images_of_8_bits_stay_as_they_are_where_the_range_cannot_mean_them() -> None:
    image = noise(8, 8)
    assert np.array_equal(decode(image, value_range=(0, 4095)), image)
    assert np.array_equal(decode(png(image), value_range=(0, 255)), image)
    assert decode(np.array([[0, 8, 15, 200]], np.uint8), value_range=(0, 15))[0, :, 0].tolist() == [0, 136, 255, 255]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (png(np.array([[3, 7]], np.uint8)), (3, 7, 255, "8-bit")),
        (png(np.array([[3, 4000]], np.uint16)), (3, 4000, 65535, "16-bit")),
        (tiff(np.array([[3, 4000]], np.int32)), (3, 4000, 65535, "32-bit")),
        (tiff(np.array([[0.25, 0.5]], np.float32)), (0.25, 0.5, 1, "float")),
        (tiff(np.array([[0.25, 7]], np.float32)), (0.25, 7, 255, "float")),
    ],
)
def test_the_values_of_the_file_are_known(source: Any, found: tuple[Any, ...]) -> None:
    values = inspect(source).values
    assert values is not None
    assert values[:4] == found
    assert values.usual == (None if values.kind == "8-bit" else found[:2])


def test_a_range_is_written_as_it_is_read() -> None:
    for text in ("0,4095", "-1024,3071", "0.1,0.30000000000000004"):
        values = read_range(text)
        assert values != "auto"
        assert range_text(values) == text
    assert read_range("AUTO") == "auto"


@pytest.mark.parametrize("text", ["", "5", "1,2,3", "a,b", "4095,0", "1,1", "0,inf", "nan,1"])
def test_what_is_no_range_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^value_range is '[^\n]*it takes LOW,HIGH[^\n]* or auto$"):
        read_range(text)
