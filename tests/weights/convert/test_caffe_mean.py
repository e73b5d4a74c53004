"""Caffe's mean images: BGR planes in, RGB channel means out."""

import io
from pathlib import Path

import numpy as np
import pytest

from alexnet.errors import WeightsError
from alexnet.weights.convert import wire
from alexnet.weights.convert.caffe_mean import channel_means

MEANS = np.array([104.0, 117.0, 123.0])  # B, G, R
IMAGE = MEANS[:, None, None] + np.random.default_rng(0).normal(size=(3, 16, 16))


def binaryproto(image: np.ndarray) -> bytes:
    sizes = b"".join(wire.whole_field(number, size) for number, size in enumerate((1, *image.shape), 1))
    return sizes + wire.bytes_field(5, image.astype("<f4").tobytes())


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("data", [binaryproto(IMAGE), npy(IMAGE), npy(IMAGE.astype("f4")[None])])
def test_both_files_give_the_means_in_rgb(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mean").write_bytes(data)
    np.testing.assert_allclose(channel_means(tmp_path / "mean"), IMAGE.mean((1, 2))[::-1], rtol=1e-6)


def test_three_numbers_are_means_already(tmp_path: Path) -> None:
    (tmp_path / "mean").write_bytes(npy(MEANS))
    assert channel_means(tmp_path / "mean") == (123.0, 117.0, 104.0)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (binaryproto(IMAGE)[:100], "is no mean image of Caffe.*truncated"),
        (npy(IMAGE)[:200], "is no mean image of Caffe"),
        (npy(IMAGE[:2]), "3 channels first"),
        (npy(IMAGE * 10), "no levels of 0..255"),
        (npy(np.array([{"a": 1}], dtype=object)), "is no mean image of Caffe.*object"),
        (npy(np.zeros(3)).replace(b"(3,)", b"(9999999999,)"), "is no mean image of Caffe"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "mean").write_bytes(data)
    with pytest.raises(WeightsError, match=told):
        channel_means(tmp_path / "mean")
