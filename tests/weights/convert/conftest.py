"""Caffe's networks in NumPy on maps of (H, W, C), and small changes that make every weight count."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from alexnet.networks import create
from alexnet.networks.layers import Network

Floats = npt.NDArray[np.float32]
Layers = dict[str, tuple[Floats, Floats]]


@pytest.fixture(scope="session")
def caffe_network() -> Callable[[str], Network]:
    """Makes a Caffe network of full size whose answers depend on every layer and whose biases all differ."""

    def make(name: str = "bvlc", classes: int = 1000) -> Network:
        torch.manual_seed(7)
        network = create(name, classes).eval()
        with torch.no_grad():
            for key, value in network.state_dict().items():
                # Standard deviations that keep the maps in a range where LRN matters
                value.normal_(0, 0.3) if key.endswith("bias") else value.mul_(1.2 if key.startswith("conv1") else 4)
        return network

    return make


@pytest.fixture(scope="session")
def caffe_images() -> Floats:
    """(227, 227, 3), red, green, blue, as a network's input."""
    return (np.random.default_rng(3).random((227, 227, 3)) * 255 - 120).astype(np.float32)


@pytest.fixture(scope="session")
def caffe_logits() -> Callable[..., Floats]:
    """Caffe's deploy.prototxt on one image of (H, W, C) by weights of (H, W, I, O): (K,)."""

    def compute(image: Floats, layers: Layers, pool_first: bool = False) -> Floats:
        x = _normed(np.maximum(_conv(image, *layers["conv1"], stride=4), 0), pool_first)
        x = _normed(np.maximum(_conv(_padded(x, 2), *layers["conv2"], groups=2), 0), pool_first)
        x = np.maximum(_conv(_padded(x, 1), *layers["conv3"]), 0)
        x = np.maximum(_conv(_padded(x, 1), *layers["conv4"], groups=2), 0)
        x = _pool(np.maximum(_conv(_padded(x, 1), *layers["conv5"], groups=2), 0))
        x = x.reshape(-1)  # by row, column, channel
        x = np.maximum(x @ layers["fc6"][0] + layers["fc6"][1], 0)
        x = np.maximum(x @ layers["fc7"][0] + layers["fc7"][1], 0)
        return x @ layers["fc8"][0] + layers["fc8"][1]

    return compute


def _conv(x: Floats, weight: Floats, bias: Floats, stride: int = 1, groups: int = 1) -> Floats:
    parts = zip(np.split(x, groups, 2), np.split(weight, groups, 3), strict=True)
    return np.concatenate([_one_conv(part, filters, stride) for part, filters in parts], 2) + bias


def _one_conv(x: Floats, weight: Floats, stride: int) -> Floats:
    height, width, into, out = weight.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), (0, 1))[::stride, ::stride]
    rows = windows.transpose(0, 1, 3, 4, 2).reshape(-1, height * width * into)
    return (rows @ weight.reshape(-1, out)).reshape(*windows.shape[:2], out)


def _padded(x: Floats, pad: int) -> Floats:
    return np.pad(x, ((pad, pad), (pad, pad), (0, 0)))


def _pool(x: Floats) -> Floats:
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))[::2, ::2].max((-2, -1))


def _lrn(x: Floats) -> Floats:
    """lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }, k = 1."""
    squares = np.pad(x * x, ((0, 0), (0, 0), (2, 2)))
    total: Any = sum(squares[..., shift : shift + x.shape[2]] for shift in range(5))
    result: Floats = x / (1 + 1e-4 / 5 * total) ** 0.75
    return result


def _normed(x: Floats, pool_first: bool) -> Floats:
    return _lrn(_pool(x)) if pool_first else _pool(_lrn(x))
