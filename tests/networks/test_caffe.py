"""Caffe's networks equal an independent NumPy implementation that follows Caffe's C++ sources."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image

from alexnet.networks import create

Array = NDArray[np.float64]


def conv(x: Array, weight: Array, bias: Array, stride: int = 1, pad: int = 0, groups: int = 1) -> Array:
    """im2col and a matrix product for each group. x: (C, H, W), weight: (O, C / groups, k, k)."""
    out, _, k, _ = weight.shape
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    rows, columns = ((side + 2 * pad - k) // stride + 1 for side in x.shape[1:])
    result = np.empty((out, rows, columns))
    for g in range(groups):
        maps = padded[g * weight.shape[1] : (g + 1) * weight.shape[1]]
        patches = [
            maps[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            for i in range(k)
            for j in range(k)
        ]
        table = np.stack(patches, axis=1).reshape(-1, rows * columns)
        kernels = slice(g * out // groups, (g + 1) * out // groups)
        product = weight[kernels].reshape(out // groups, -1) @ table + bias[kernels, None]
        result[kernels] = product.reshape(-1, rows, columns)
    return result


def max_pool(x: Array, k: int = 3, stride: int = 2) -> Array:
    """pooling_layer.cpp: sizes rounded up, windows clipped at the edge."""
    rows, columns = (math.ceil((side - k) / stride) + 1 for side in x.shape[1:])
    return np.array(
        [
            [x[:, i * stride : i * stride + k, j * stride : j * stride + k].max(axis=(1, 2)) for j in range(columns)]
            for i in range(rows)
        ]
    ).transpose(2, 0, 1)


def lrn(x: Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """lrn_layer.cpp across channels: alpha / size, k = 1."""
    result = np.empty_like(x)
    for c in range(len(x)):
        energy = (x[max(0, c - size // 2) : c + size // 2 + 1] ** 2).sum(axis=0)
        result[c] = x[c] / (k + alpha / size * energy) ** beta
    return result


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def forward(x: Array, w: dict[str, Array], pool_first: bool, adapt: bool) -> Array:
    """(3, H, W) to logits. adapt: spread maps smaller than 6 x 6 over 6 x 6 by averaging."""

    def front(x: Array) -> Array:
        return lrn(max_pool(relu(x))) if pool_first else max_pool(lrn(relu(x)))

    x = front(conv(x, w["conv1.weight"], w["conv1.bias"], stride=4))
    x = front(conv(x, w["conv2.weight"], w["conv2.bias"], pad=2, groups=2))
    x = relu(conv(x, w["conv3.weight"], w["conv3.bias"], pad=1))
    x = relu(conv(x, w["conv4.weight"], w["conv4.bias"], pad=1, groups=2))
    x = max_pool(relu(conv(x, w["conv5.weight"], w["conv5.bias"], pad=1, groups=2)))
    if adapt:
        x = spread(x)
    x = relu(w["fc6.weight"] @ x.reshape(-1) + w["fc6.bias"])
    x = relu(w["fc7.weight"] @ x + w["fc7.bias"])
    return w["fc8.weight"] @ x + w["fc8.bias"]


def spread(x: Array, size: int = 6) -> Array:
    def window(i: int, side: int) -> slice:
        return slice(i * side // size, math.ceil((i + 1) * side / size))

    _, rows, columns = x.shape
    return np.array(
        [[x[:, window(i, rows), window(j, columns)].mean(axis=(1, 2)) for j in range(size)] for i in range(size)]
    ).transpose(2, 0, 1)


def photo(size: int, mean: tuple[float, float, float]) -> Array:
    """The centre of scikit-learn's photograph of a dahlia, (3, size, size), less the mean."""
    flower = load_sample_image("flower.jpg")
    top, left = (flower.shape[0] - size) // 2, (flower.shape[1] - size) // 2
    return (flower[top : top + size, left : left + size] - np.array(mean)).transpose(2, 0, 1)


@pytest.mark.parametrize("name", ["bvlc", "caffenet"])
@pytest.mark.parametrize("size", [63, 227])
def test_forward_equals_an_independent_numpy_implementation(name: str, size: int) -> None:
    torch.manual_seed(0)
    network = create(name, num_classes=10, input_size=size).eval().double()
    weights = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    x = photo(size, network.mean)
    expected = forward(x, weights, pool_first=name == "caffenet", adapt=size != 227)
    with torch.no_grad():
        ours = network(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    assert np.ptp(expected) > 1e-3  # the classes do differ, so equality says something


@pytest.mark.parametrize(("name", "hidden_bias"), [("bvlc", 0.1), ("caffenet", 1.0)])
def test_initialisation_follows_caffes_fillers(name: str, hidden_bias: float) -> None:
    torch.manual_seed(0)
    network = create(name, num_classes=10)
    for layer in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
        parameters = network.get_submodule(layer)
        std, bias = 0.005 if layer in ("fc6", "fc7") else 0.01, 0 if layer in ("conv1", "conv3", "fc8") else hidden_bias
        assert parameters.weight.std().item() == pytest.approx(std, rel=0.02), layer
        assert parameters.bias.tolist() == pytest.approx([bias] * len(parameters.bias)), layer


def test_parameter_names_and_shapes_match_the_published_caffemodel() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in create("bvlc").state_dict().items()}
    assert {key.removesuffix(".weight"): shape for key, shape in shapes.items() if key.endswith("weight")} == {
        "conv1": (96, 3, 11, 11),
        "conv2": (256, 48, 5, 5),
        "conv3": (384, 256, 3, 3),
        "conv4": (384, 192, 3, 3),
        "conv5": (256, 192, 3, 3),
        "fc6": (4096, 9216),
        "fc7": (4096, 4096),
        "fc8": (1000, 4096),
    }
