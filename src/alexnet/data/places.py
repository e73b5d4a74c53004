"""Where the views of an image lie that a network is asked for, and the views themselves in NumPy.

Images are stored as S x S pixels. `alexnet.data.preprocess` makes the same views with torch; this file imports none.
"""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import UsageError

VIEWS = (1, 9, 10)


def check_views(views: int) -> None:
    """Raise UsageError for an unknown number of views."""
    if not isinstance(views, Integral) or views not in VIEWS:
        raise UsageError(f"views is {views!r}; take 1 (the centre), 10 (the paper's) or 9 (cuda-convnet's)")


def places(views: int, resize: int, size: int) -> list[tuple[int, int]]:
    """The top left corners (row, column) of the views of `size` pixels in a square resized to `resize` pixels.

    1: the centre; 10: the four corners and the centre, then the same again, which are to be mirrored (Krizhevsky et al.
    2012, section 4.1); 9: corners, midpoints of the sides and centre (cuda-convnet's networks for CIFAR-10).
    """
    check_views(views)
    far = resize - size
    middle = far // 2
    return {
        1: [(middle, middle)],
        9: [(top, left) for top in (0, middle, far) for left in (0, middle, far)],
        10: [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)] * 2,
    }[views]


def mirrored(views: int) -> list[bool]:
    """Which of the views are mirrored left to right: the latter five of ten."""
    return [views == 10 and view >= 5 for view in range(views)]


def centre(views: int) -> int:
    """The number of the view, from 0, that is the centre and not mirrored."""
    return places(views, 2, 0).index((1, 1))


def network_input(
    stored: Sequence[NDArray[np.uint8]], preprocessing: Mapping[str, Any], views: int = 1
) -> NDArray[np.float32]:
    """The views of N stored images, uint8 (S, S, 3), as `Preprocessing.views` makes them.

    preprocessing: as on a model's card. Returns float32 (N * views, 3, input_size, input_size), normalized; view v of
    image n at index n * views + v. Resized bilinearly with antialiasing where the stored side is another than `resize`.
    """
    size, resize = preprocessing["input_size"], preprocessing["resize"]
    corners, flips = places(views, resize, size), mirrored(views)
    batch = np.empty((len(stored) * views, 3, size, size), np.float32)
    for number, image in enumerate(stored):
        for view, (corner, flip) in enumerate(zip(corners, flips, strict=True)):
            part = _part(image, corner, resize, size)
            batch[number * views + view] = (part[:, ::-1] if flip else part).transpose(2, 0, 1)
    mean, std = (np.asarray(preprocessing[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    batch -= mean
    batch /= std
    return batch


def _part(image: NDArray[np.uint8], corner: tuple[int, int], resize: int, size: int) -> NDArray[Any]:
    """uint8 (S, S, 3) -> the view (size, size, 3) at this corner of the image resized to `resize` pixels."""
    top, left = corner
    if len(image) == resize:
        return image[top : top + size, left : left + size]
    down, across = (_weights(begin, resize, size, len(image)) for begin in corner)
    narrow = np.tensordot(across, image.astype(np.float32), (1, 1))  # (size, S, 3): columns first
    return np.tensordot(down, narrow, (1, 1))


def _weights(begin: int, resize: int, size: int, side: int) -> NDArray[np.float32]:
    """float32 (size, side): what each of `side` pixels of a line adds to each pixel of the view; rows have the sum 1.

    A triangle about the pixel's place, as wide as the scale where that is above 1 (`alexnet.ops.views`).
    """
    scale = side / resize
    centers = (begin + np.arange(size) + 0.5)[:, None] * scale
    near = 1 - np.abs(np.arange(side) + 0.5 - centers) / max(1.0, scale)
    near = np.maximum(near, 0)
    weights: NDArray[np.float32] = (near / near.sum(1, keepdims=True)).astype(np.float32)
    return weights
