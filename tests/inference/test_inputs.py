"""What a classifier takes as images: every accepted kind gives the same pixels, and mistakes are refused early."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.errors import ImageError, UsageError
from alexnet.inference.inputs import each_image, path_of, pixels_of

RGB = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
TENSOR = torch.from_numpy(RGB).permute(2, 0, 1)


class SomePath(os.PathLike):
    """A path that is no pathlib.Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(RGB).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def pixels(images: Any) -> list[np.ndarray]:
    return [pixels_of(image) for image in each_image(images)]


def at_its_end(data: bytes) -> io.BytesIO:
    file = io.BytesIO()
    file.write(data)
    return file


KINDS: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "Path": lambda path: path,
    "PathLike": SomePath,
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "BytesIO at its end": lambda path: at_its_end(path.read_bytes()),
    "open file": lambda path: path.open("rb"),
    "Pillow image": Image.open,
    "array": lambda path: RGB,
    "read-only array": lambda path: np.broadcast_to(RGB, RGB.shape),
    "tensor": lambda path: TENSOR,
    "RGBA array": lambda path: np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_alone_or_in_a_list_gives_the_same_pixels(kind: str, photo: Path) -> None:
    image = KINDS[kind](photo)
    column = np.empty(1, object)
    column[0] = image
    for images in (image, [image], (image,), iter([image]), column):
        (found,) = pixels(images)
        assert np.array_equal(found, RGB)
    if hasattr(image, "close"):
        image.close()


def test_array_and_tensor_with_four_dimensions_are_many_images() -> None:
    for many in (np.stack([RGB, RGB[::-1]]), torch.stack([TENSOR, TENSOR.flip(1)])):
        found = pixels(many)
        assert [np.array_equal(image, wanted) for image, wanted in zip(found, (RGB, RGB[::-1]), strict=True)] == [1, 1]
    assert pixels(np.zeros((0, 9, 12, 3), np.uint8)) == []


def test_gray_arrays_have_three_equal_channels() -> None:
    gray = RGB[:, :, 0]
    for image in (gray, gray[:, :, None]):
        (found,) = pixels(image)
        assert np.array_equal(found, np.dstack([gray] * 3))


def test_alpha_of_an_array_is_laid_over_white_as_in_a_file(tmp_path: Path) -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (5, 6, 4), np.uint8)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    array, file = pixels([rgba, tmp_path / "alpha.png"])
    assert np.array_equal(array, file)
    assert (array[rgba[:, :, 3] == 0] == 255).all()


def test_file_that_is_given_many_times_is_read_whole_by_every_thread(photo: Path) -> None:
    with photo.open("rb") as file, ThreadPoolExecutor(8) as readers:
        assert all(np.array_equal(found, RGB) for found in readers.map(pixels_of, [file] * 64))


def test_paths_are_known_where_there_are_some(photo: Path) -> None:
    with photo.open("rb") as file, Image.open(photo) as image:
        assert [path_of(each) for each in (str(photo), SomePath(photo), file, image)] == [str(photo)] * 4
    with tempfile.TemporaryFile() as nameless:
        assert [path_of(each) for each in (nameless, io.BytesIO(), RGB, TENSOR, Image.new("L", (2, 2)))] == [None] * 5


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"\xff\xd8", r"bytes: give io\.BytesIO\(data\)"),
        (bytearray(4), "bytearray: give"),
        (None, "None; accepted"),
        (5, "of type int"),
        ({"photo.jpg": 1}, "of type dict"),
        (RGB.astype(np.float32), r"an array of float32, shape \(9, 12, 3\): scale it to 0..255"),
        (TENSOR.float(), r"a tensor of float32, shape \(3, 9, 12\): scale it"),
        (TENSOR.permute(1, 2, 0), r"a tensor of shape \(9, 12, 3\)"),
        (RGB[:, :, :2], r"an array of shape \(9, 12, 2\)"),
        (RGB[:0], r"an array of shape \(0, 12, 3\)"),
        (np.zeros(4, np.uint8), r"an array of shape \(4,\)"),
        (io.StringIO("text"), "a file opened as text: open it with mode 'rb'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_image_is_refused_in_one_line(image: object, said: str) -> None:
    for images, subject in ((image, "the image"), ([RGB, image], "image 1")):
        with pytest.raises(UsageError, match=f"^{subject} is {said}.*one or many") as caught:
            each_image(images)
        assert "\n" not in str(caught.value)


def test_closed_file_is_refused(photo: Path) -> None:
    with photo.open("rb") as file:
        pass
    with pytest.raises(UsageError, match="a closed file"):
        each_image([file])


def test_list_within_a_list_is_refused() -> None:
    with pytest.raises(UsageError, match="image 0 is of type list"):
        each_image([["a.jpg"]])


def test_elements_of_a_generator_are_checked_as_they_arrive() -> None:
    def endless() -> Iterator[Any]:
        yield RGB
        yield 5
        raise AssertionError("nothing is asked for after the mistake")

    images = iter(each_image(endless()))
    assert next(images) is RGB
    with pytest.raises(UsageError, match="image 1 is of type int"):
        next(images)


def test_unreadable_content_is_an_error_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    with (tmp_path / "write-only").open("wb") as unreadable:
        for image in (io.BytesIO(b"text"), io.BytesIO(), tmp_path / "empty.png", tmp_path / "gone.png", unreadable):
            (one,) = each_image(image)
            with pytest.raises(ImageError):
                pixels_of(one)
