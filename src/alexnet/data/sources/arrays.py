"""Images in memory: uint8 arrays and a label for each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.data.samples import ArraySource, Sample, natural_key, normal_name, some_names
from alexnet.errors import UsageError

# (images, labels) or (images, labels, class_names), as for `array_source`
Arrays: TypeAlias = tuple[Any, Any] | tuple[Any, Any, Sequence[str]]

SMALL = 64  # pixels: images whose shorter sides are all at most this are stored at this size, others at 256
IMAGE_FORM = "uint8 (N, H, W, 3), RGB, or (N, H, W), gray, or a list of such images is needed"


@dataclass(frozen=True, kw_only=True, eq=False)
class MemorySource(ArraySource):
    """Images given as arrays; the fingerprint depends on every pixel."""

    def _stamp(self, index: int) -> str:
        image = self.images[index]
        return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()


def array_source(
    images: Any, labels: ArrayLike, class_names: Sequence[str] | None = None, name: str = "arrays"
) -> MemorySource:
    """A source of N images in memory.

    images: uint8 (N, H, W, 3), RGB, or (N, H, W), gray, 0..255; or a sequence of such images, which may differ in size.
    labels: (N,), whole numbers from 0 up or strings. class_names: in the order of the network's outputs; whole numbers
    index them, strings must be among them. Without them the classes are the labels that occur, in natural order.
    name: used in the names of runs and stores.

    No split is given; a tenth of each class is to be drawn for val and for test. Raises UsageError for anything else.
    """
    found = _checked_images(images)
    numbers, names = _checked_labels(labels, len(found), class_names)
    shorter = max(min(image.shape[:2]) for image in found)
    return MemorySource(
        name=name,
        root=None,
        class_names=names,
        samples=[Sample(f"{name}/{index}", label) for index, label in enumerate(numbers)],
        store_size=SMALL if shorter <= SMALL else 256,
        images=found,
    )


def _checked_images(images: Any) -> Sequence[NDArray[np.uint8]] | NDArray[np.uint8]:
    """The images, each uint8 (H, W, 3) or (H, W)."""
    if hasattr(images, "shape"):  # one array, of NumPy or another library
        stack = _as_array(images, "images")
        if stack.ndim == 0 or len(stack) == 0:
            raise UsageError(f"images of shape {stack.shape}; {IMAGE_FORM}")
        _check_image(stack[0], "images")
        return stack
    if not isinstance(images, Sequence) or not len(images) or isinstance(images, str):
        raise UsageError(f"images: {'an empty list' if images == [] else type(images).__name__}; {IMAGE_FORM}")
    found = [_as_array(image, f"image {index}") for index, image in enumerate(images)]
    for index, image in enumerate(found):
        _check_image(image, f"image {index}")
    return found


def _as_array(image: Any, which: str) -> NDArray[Any]:
    if not hasattr(image, "shape"):
        raise UsageError(f"{which} of type {type(image).__name__}; {IMAGE_FORM}")
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, say
        raise UsageError(f"{which} cannot be read as an array ({error}); {IMAGE_FORM}") from error


def _check_image(image: NDArray[Any], which: str) -> None:
    if image.dtype != np.uint8:
        hint = ": multiply 0..1 by 255, round, and convert with astype" if image.dtype.kind == "f" else ""
        raise UsageError(f"{which} of type {image.dtype}; {IMAGE_FORM}{hint}")
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise UsageError(f"{which}: one image has the shape {image.shape}; {IMAGE_FORM}")


def _checked_labels(labels: ArrayLike, count: int, class_names: Sequence[str] | None) -> tuple[list[int], list[str]]:
    """The label of each image as an index into the class names, and these."""
    given = np.asarray(labels)
    class_names = None if class_names is None else list(map(normal_name, class_names))
    if given.ndim != 1 or given.dtype.kind not in "iuUTO":
        raise UsageError(
            f"labels of type {given.dtype} and shape {given.shape}; whole numbers or strings (N,) are needed"
        )
    if len(given) != count:
        raise UsageError(f"{count} images and {len(given)} labels; one label for each image is needed")
    if class_names is not None and len(set(class_names)) < len(class_names):
        raise UsageError(f"class names {class_names} repeat one; each class needs a name of its own")
    numbers, names = _numbered(given, class_names)
    if len(set(numbers)) < 2:
        raise UsageError(f"all labels are {names[numbers[0]]!r}; at least two classes with images are needed")
    return numbers, names


def _numbered(given: NDArray[Any], class_names: Sequence[str] | None) -> tuple[list[int], list[str]]:
    if given.dtype.kind not in "iu":
        return _named(given, class_names)
    if given.min() < 0:
        raise UsageError(f"label {given.min()} is negative; whole numbers from 0 up are needed")
    if class_names is None:
        values, numbers = np.unique(given, return_inverse=True)
        return numbers.reshape(-1).tolist(), [str(value) for value in values]
    if given.max() >= len(class_names):
        raise UsageError(f"label {given.max()} with {len(class_names)} class names; labels count them from 0")
    return given.tolist(), list(class_names)


def _named(given: NDArray[Any], class_names: Sequence[str] | None) -> tuple[list[int], list[str]]:
    if strange := [label for label in given.tolist() if not isinstance(label, str)]:
        raise UsageError(f"label {strange[0]!r} is no string; all labels must be strings, or all whole numbers")
    labels = list(map(normal_name, given.tolist()))
    names = class_names if class_names is not None else sorted(set(labels), key=natural_key)
    index = {name: number for number, name in enumerate(names)}
    if unknown := [label for label in labels if label not in index]:
        raise UsageError(f"label {unknown[0]!r} is none of the class names {some_names(names)}; add it to them")
    return [index[label] for label in labels], list(names)
