"""The article network equals the tutorial's program run by Keras."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.errors import UsageError
from alexnet.networks import create
from alexnet.networks.summary import summarize

# Keras's variables have not taken up NumPy 2's signature of __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))  # where Keras writes its settings
        import keras

        yield keras


@pytest.fixture(scope="module")
def program(keras: ModuleType) -> Any:
    """The article's program, layer for layer, with statistics as if it had been trained."""
    L = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            L.Conv2D(96, (11, 11), strides=(4, 4), padding="valid", activation="relu"),
            L.MaxPooling2D((2, 2), strides=(2, 2), padding="valid"),
            L.BatchNormalization(),
            L.Conv2D(256, (11, 11), strides=(1, 1), padding="valid", activation="relu"),
            L.MaxPooling2D((2, 2), strides=(2, 2), padding="valid"),
            L.BatchNormalization(),
            L.Conv2D(384, (3, 3), strides=(1, 1), padding="valid", activation="relu"),
            L.BatchNormalization(),
            L.Conv2D(384, (3, 3), strides=(1, 1), padding="valid", activation="relu"),
            L.BatchNormalization(),
            L.Conv2D(256, (3, 3), strides=(1, 1), padding="valid", activation="relu"),
            L.MaxPooling2D((2, 2), strides=(2, 2), padding="valid"),
            L.BatchNormalization(),
            L.Flatten(),
            L.Dense(4096, activation="relu"),
            L.Dropout(0.4),
            L.BatchNormalization(),
            L.Dense(4096, activation="relu"),
            L.Dropout(0.4),
            L.BatchNormalization(),
            L.Dense(1000, activation="relu"),
            L.Dropout(0.4),
            L.BatchNormalization(),
            L.Dense(17, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, gamma.shape),
                    rng.normal(0, 0.3, beta.shape),
                    rng.normal(0.1, 0.1, mean.shape),
                    rng.uniform(0.01, 1.5, variance.shape),  # small ones show a wrong epsilon
                ]
            )
    return model


@pytest.fixture(scope="module")
def ours(program: Any) -> torch.nn.Module:
    """Our network with the weights of Keras's copied over, in order."""
    network = create("article").eval()
    kinds = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)
    layers = [stage for _, stage in network.stages() if isinstance(stage, kinds)]
    weighted = [layer for layer in program.layers if layer.get_weights()]
    for mine, theirs in zip(layers, weighted, strict=True):
        copy_weights(mine, [torch.from_numpy(array) for array in theirs.get_weights()])
    return network


def copy_weights(layer: torch.nn.Module, arrays: list[torch.Tensor]) -> None:
    if isinstance(layer, torch.nn.Conv2d):
        names, arrays = ["weight", "bias"], [arrays[0].permute(3, 2, 0, 1), arrays[1]]
    elif isinstance(layer, torch.nn.Linear):
        names, arrays = ["weight", "bias"], [arrays[0].T, arrays[1]]
    else:
        names = ["weight", "bias", "running_mean", "running_var"]
    layer.load_state_dict(dict(zip(names, arrays, strict=True)), strict=False)


def test_inference_equals_keras_layer_by_layer(program: Any, ours: torch.nn.Module, keras: ModuleType) -> None:
    x = np.random.default_rng(1).random((2, 224, 224, 3), dtype=np.float32)
    every = keras.Model(program.inputs[0], [layer.output for layer in program.layers])
    with torch.no_grad():
        expected = [output.detach().cpu() for output in every(x, training=False)]
        logits, maps = ours(torch.from_numpy(x).permute(0, 3, 1, 2), return_maps=True)
    for number, name in enumerate(["bn1", "bn2", "bn3", "bn4", "bn5", "bn6", "bn7", "bn8"]):
        normed = [o for layer, o in zip(program.layers, expected, strict=True) if "normalization" in layer.name][number]
        theirs = normed.permute(0, 3, 1, 2) if normed.ndim == 4 else normed
        torch.testing.assert_close(maps[name], theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits.softmax(1), expected[-1], rtol=1e-4, atol=1e-4)
    assert expected[-1].max() < 0.99  # not saturated, so equality says something


def test_parameter_count_equals_keras(program: Any) -> None:
    summary = summarize("article")
    assert program.count_params() == summary.params == 28_096_769
    assert sum(int(np.prod(w.shape)) for w in program.trainable_weights) == summary.trainable_params == 28_075_633


def test_initialisation_follows_keras() -> None:
    torch.manual_seed(0)
    network = create("article")
    limit = (6 / (11 * 11 * 3 + 11 * 11 * 96)) ** 0.5  # glorot_uniform: sqrt(6 / (fan_in + fan_out))
    assert network.conv1.weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    assert network.conv1.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    biases = [m.bias for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert not torch.cat(biases).any()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_running_statistics_update_as_in_keras(keras: ModuleType) -> None:
    x = torch.randn(64, 1000, generator=torch.Generator().manual_seed(0)) * 3 + 2
    layer = keras.layers.BatchNormalization()
    layer(x, training=True)
    norm = create("article").bn8.train()
    norm(x)
    moving_mean, moving_variance = (torch.from_numpy(array) for array in layer.get_weights()[2:])
    torch.testing.assert_close(norm.running_mean, moving_mean)
    # torch averages the unbiased variance, Keras the biased one
    torch.testing.assert_close(norm.running_var, 0.99 + (moving_variance - 0.99) * 64 / 63)


@pytest.mark.parametrize(
    ("differences", "maps", "features"),
    [
        ({}, {"pool1": 27, "conv2": 17, "pool2": 8, "conv5": 2, "pool5": 1}, 256),
        ({"padding": True}, {"pool1": 27, "conv2": 27, "pool2": 13, "conv5": 13, "pool5": 6}, 9216),
        ({"conv2": 5}, {"pool1": 27, "conv2": 23, "pool2": 11, "conv5": 5, "pool5": 2}, 1024),
        ({"pool": 3}, {"pool1": 27, "conv2": 17, "pool2": 9, "conv5": 3, "pool5": 2}, 1024),
        ({"padding": True, "conv2": 5, "pool": 3}, {"pool1": 27, "conv2": 27, "pool2": 14, "pool5": 7}, 12544),
    ],
)
def test_corrections_change_the_map_sizes_and_leave_avgpool_an_identity(
    differences: dict[str, Any], maps: dict[str, int], features: int
) -> None:
    with torch.device("meta"):
        network = create("article", **differences).eval()
    _, seen = network(torch.empty(1, 3, 224, 224, device="meta"), return_maps=True)
    assert {name: seen[name].shape[2] for name in maps} == maps
    assert seen["flatten"].shape == (1, features)
    assert network(torch.empty(1, 3, 100, 100, device="meta")).shape == (1, 17)


def test_the_hidden_layer_of_1000_and_its_relu_are_optional() -> None:
    with torch.device("meta"):
        linear, none = create("article", hidden_relu=False), create("article", hidden=0)
    names = [name for name, _ in linear.stages()]
    assert names[-4:] == ["fc8", "drop8", "bn8", "fc9"]
    assert [name for name, _ in none.stages()][-3:] == ["drop7", "bn7", "fc9"]
    assert dict(none.named_children())["fc9"].in_features == 4096


def test_memory_sets_the_momentum_of_batchnorm() -> None:
    with torch.device("meta"):
        usual, short = create("article"), create("article", memory=0.5)
    assert [dict(n.named_children())["bn3"].momentum for n in (usual, short)] == pytest.approx([0.01, 0.5])
    with pytest.raises(UsageError, match=r"memory=1\.0.*below 1"):
        create("article", memory=1.0)
