"""The formats together: each file is taken by its own, by content alone, and by one alone."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create
from alexnet.weights.card import Card
from alexnet.weights.convert import FORMATS, convert, formats, recognised, to_file, writers


def torch_bytes() -> bytes:
    stream = io.BytesIO()
    torch.save({"features.0.weight": torch.zeros(2)}, stream)
    return stream.getvalue()


HEADS = {
    "torchvision": torch_bytes(),
    "caffe": b"\x0a\x07AlexNet\xa2\x06\x00",
    "matconvnet": b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128),
    "keras": b"\x89HDF\r\n\x1a\n".ljust(64, b"\0"),
    "onnx": b"\x08\x03\x12\x07pytorch",
    "cuda_convnet": pickle.dumps({"op": None, "model_state": {"layers": []}}, 2),
    "numpy_dict": b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }",
}


def test_every_format_says_what_it_is() -> None:
    assert list(formats()) == list(FORMATS)
    for name, each in formats().items():
        assert name == each.NAME
        assert each.ABOUT
        assert "\n" not in each.ABOUT
    assert {"torchvision", "caffe"} <= set(writers())


@pytest.mark.parametrize("name", [name for name in FORMATS if name in HEADS])
def test_a_file_is_taken_by_its_own_format_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(HEADS[name])
    takers = [each for each, format_ in formats().items() if format_.recognises(tmp_path / "x", HEADS[name][:4096])]
    assert takers == [name]


STRANGERS = [b"", b"\n", b"text\n", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"PK\x03\x04"]
STRANGERS += [pickle.dumps({}), save({"a": torch.zeros(1)})]


@pytest.mark.parametrize("data", STRANGERS)
def test_other_files_are_of_no_format(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(data)
    assert recognised(tmp_path / "x.pth") is None
    with pytest.raises(WeightsError, match="no weights file of a known format; known: torchvision's alexnet"):
        convert(tmp_path / "x.pth")


def test_arrays_of_numbers_are_no_weights(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    assert recognised(tmp_path / "x.npy") is None


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read"):
        convert(tmp_path / "missing")


def test_an_unknown_format_to_write_gets_the_nearest(tmp_path: Path) -> None:
    card = Card("cifar-19pct", 10, 32, {}, list("abcdefghij"), {})
    with pytest.raises(UsageError, match="unknown format of weights 'torchvison': did you mean 'torchvision'"):
        to_file(create("cifar-19pct"), card, "torchvison", tmp_path / "x")
