"""Caffe's mean images: .binaryproto, as its compute_image_mean writes it, and .npy, as its Python examples read it."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import WeightsError
from alexnet.weights.convert.caffe import blob

MAX_BYTES = 64_000_000  # of a mean image; ImageNet's has 256 x 256 x 3 doubles, 1.6 MB
NPY = b"\x93NUMPY"


def channel_means(path: Path) -> tuple[float, float, float]:
    """The channel means of a mean image, RGB, 0..255. The file's channels are BGR, first of the three axes.

    WeightsError for another file, and for values that are no levels of colour.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path} has {path.stat().st_size:,} bytes, too many for a mean image of Caffe")
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}; give a mean image of Caffe") from error
    try:
        image = _npy(data) if data.startswith(NPY) else blob(memoryview(data)).double().numpy()
    except (WeightsError, ValueError, OSError, EOFError) as error:
        raise WeightsError(f"{path} is no mean image of Caffe, .binaryproto or .npy ({error})") from error
    while image.ndim > 3 and image.shape[0] == 1:
        image = image[0]
    if image.shape[:1] != (3,) or image.ndim not in (1, 3) or not image.size:
        raise WeightsError(f"{path} has the shape {image.shape}; a mean image has 3 channels first: (3, 256, 256)")
    means = image.reshape(3, -1).mean(axis=1)
    if not (np.isfinite(means).all() and means.min() >= 0 and means.max() <= 255):
        raise WeightsError(f"{path} has channel means {means.tolist()}, which are no levels of 0..255")
    blue, green, red = means.tolist()
    return red, green, blue


def _npy(data: bytes) -> NDArray[np.float64]:
    """The array of a .npy file; nothing pickled is loaded. Its stated size is checked against its bytes first."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in "fiu" or int(np.prod(shape, dtype=object)) * dtype.itemsize > len(data):
        raise ValueError(f"it states {shape} of {dtype}")
    found: NDArray[np.float64] = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)
    return found
