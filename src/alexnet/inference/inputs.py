"""What a classifier takes as images: one or many, of several kinds, checked before any of them is read.

N images of H x W pixels. torch is not imported: what is a tensor, only a caller who has imported it can give.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.data.images import ImageSource, Pixels, decode
from alexnet.errors import ImageError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

ImageInput: TypeAlias = Union[str, os.PathLike[str], IO[bytes], Image.Image, NDArray[np.uint8], "Tensor"]
ImageInputs: TypeAlias = ImageInput | Iterable[ImageInput]
"""One image or many, as `Classifier.predict` documents it."""

ACCEPTED = (
    "paths, open binary files, Pillow images, uint8 arrays (H, W), (H, W, 1), (H, W, 3) or (H, W, 4),"
    " uint8 tensors (3, H, W), one or many"
)
CHANNELS = (1, 3, 4)  # of an array: gray, RGB, RGBA
_SHARED = Lock()  # a Pillow image or file may be given twice, and two threads must not read it at once


def each_image(images: ImageInputs) -> Iterable[ImageInput]:
    """The images of the caller, one by one.

    images: one image, an array (N, H, W, C) or a tensor (N, 3, H, W) of many, or an iterable of single images. The
    elements of a generator are checked as they arrive, those of all other collections at once.
    Raises UsageError for anything that is no image; whether a file can be read is not looked at here.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":  # an array of paths, as from a table's column
        images = images.tolist()
    if (isinstance(images, np.ndarray) or _is_tensor(images)) and images.ndim == 4:
        return [_checked(image, place) for place, image in enumerate(images)]
    if _is_single(images) or isinstance(images, Mapping) or not isinstance(images, Iterable):
        return [_checked(images)]
    checked = (_checked(image, place) for place, image in enumerate(images))
    return checked if iter(images) is images else list(checked)


def pixels_of(image: ImageInput, read: Callable[[ImageSource], Pixels] = decode) -> Pixels:
    """The pixels of one image that `each_image` gave: uint8 (H, W, 3), RGB, upright. ImageError if it is unreadable.

    read: makes them of a path, the bytes of a file, a Pillow image or an array; a `Form`'s gives the stored form.
    """
    if isinstance(image, (str, os.PathLike)):
        return read(Path(os.fsdecode(image)))
    if _is_tensor(image):
        return read(image.permute(1, 2, 0).numpy(force=True))
    if isinstance(image, np.ndarray):
        return read(_array_source(image))
    if isinstance(image, Image.Image):
        with _SHARED:
            return read(image)
    return read(_content(cast(IO[bytes], image)))


def path_of(image: ImageInput) -> str | None:
    """The path as it was given; an open file and a Pillow image opened from a file know theirs. None without one."""
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image)
    name = getattr(image, "filename" if isinstance(image, Image.Image) else "name", None)
    return name if isinstance(name, str) and name else None


def check_count(name: str, value: object) -> None:
    """UsageError unless `value` is a whole number from 1 up."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name} is {value!r}; give a whole number from 1 up")


def as_path(name: str, value: object) -> Path:
    """The value as a path; UsageError for what is none."""
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"{name} is of type {type(value).__name__}; give a path")
    return Path(os.fsdecode(value))


def _is_tensor(image: object) -> TypeGuard["Tensor"]:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _is_single(image: object) -> bool:
    """Whether this is one object and not a collection, although it may be iterable."""
    single = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image, np.ndarray)
    return isinstance(image, single) or _is_tensor(image) or hasattr(image, "read")


def _checked(image: Any, place: int | None = None) -> ImageInput:
    if found := _refusal(image):
        subject = "the image" if place is None else f"image {place}"
        raise UsageError(f"{subject} is {found}; accepted are {ACCEPTED}")
    given: ImageInput = image
    return given


def _refusal(image: object) -> str | None:
    """What is wrong with an object that is no image; None for an image."""
    if isinstance(image, (str, os.PathLike, Image.Image)):
        return None
    if isinstance(image, np.ndarray):
        right = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in CHANNELS)
        return _array_refusal("an array", image, image.dtype == np.uint8, right)
    if _is_tensor(image):
        return _array_refusal("a tensor", image, str(image.dtype) == "torch.uint8", image.ndim == 3 and len(image) == 3)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return f"{type(image).__name__}: give io.BytesIO(data) for the content of a file"
    if hasattr(image, "read"):
        return _file_refusal(image)
    return "None" if image is None else f"of type {type(image).__name__}"


def _array_refusal(
    kind: str, image: Union[NDArray[np.uint8], "Tensor"], is_uint8: bool, right_shape: bool
) -> str | None:
    shape = tuple(image.shape)
    if not is_uint8:
        dtype = str(image.dtype).removeprefix("torch.")
        return f"{kind} of {dtype}, shape {shape}: scale it to 0..255 and convert it to uint8"
    if not right_shape or 0 in shape:
        return f"{kind} of shape {shape}"
    return None


def _file_refusal(file: object) -> str | None:
    if getattr(file, "closed", False):
        return "a closed file: give its path, or read it while it is open"
    if hasattr(file, "encoding"):  # what text files have and binary files have not
        return "a file opened as text: open it with mode 'rb'"
    return None


def _array_source(image: NDArray[np.uint8]) -> NDArray[np.uint8] | Image.Image:
    """An array (H, W, 1) or (H, W, 4) as something that `decode` takes; alpha is then laid over white as in files."""
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    if image.ndim == 3 and image.shape[2] == 4:
        return Image.fromarray(np.ascontiguousarray(image))
    return image


def _content(file: IO[bytes]) -> bytes:
    """All bytes of an open file, from its start where it can be rewound."""
    with _SHARED:
        try:
            if file.seekable():
                file.seek(0)
            return bytes(file.read())
        except (AttributeError, OSError, TypeError, ValueError) as error:
            raise ImageError(f"cannot be read: {error}") from error
