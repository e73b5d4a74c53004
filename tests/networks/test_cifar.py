"""cuda-convnet's networks match its files: parameter counts, initialisation, pooling, LRN, locally connected layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.errors import UsageError
from alexnet.networks import create
from alexnet.networks.layers import LocallyConnected2d, Network
from alexnet.networks.summary import summarize
from alexnet.ops import LocalResponseNorm

PARAMETERS = {
    "cifar-80sec": 145_578,
    "cifar-19pct": 89_578,
    "cifar-18pct": 89_578,
    "cifar-13pct": 1_116_490,
    "cifar-11pct": 2_112_970,
}
ORDER = {
    "cifar-80sec": "conv1 pool1 neuron1 conv2 neuron2 pool2 conv3 neuron3 pool3 fc64 neuron64 fc10",
    "cifar-19pct": "conv1 pool1 neuron1 conv2 neuron2 pool2 conv3 neuron3 pool3 fc10",
    "cifar-18pct": "conv1 pool1 neuron1 norm1 conv2 neuron2 pool2 norm2 conv3 neuron3 pool3 fc10",
    "cifar-13pct": "conv1 neuron1 pool1 conv2 neuron2 pool2 local3 neuron3 local4 neuron4 fc10",
    "cifar-11pct": "conv1 neuron1 pool1 norm1 conv2 neuron2 norm2 pool2 local3 neuron3 local4 neuron4 fc10",
}
DEVIATIONS = {
    "cifar-80sec": {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc64": 0.1, "fc10": 0.1},
    "cifar-19pct": {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc10": 0.01},
    "cifar-13pct": {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc10": 0.01},
}


def make(name: str, **differences: object) -> Network:
    torch.manual_seed(0)
    return create(name, **differences)


def images(network: Network, count: int = 2) -> torch.Tensor:
    shape = (count, 3, network.input_size, network.input_size)
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 0.5) * 255


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_match_the_published_files(name: str) -> None:
    assert summarize(name).params == PARAMETERS[name]


@pytest.mark.parametrize("name", ORDER)
def test_layer_order_matches_the_published_files(name: str) -> None:
    skipped = ("avgpool", "flatten", "drop")
    assert [s for s, _ in make(name).stages() if not s.startswith(skipped)] == ORDER[name].split()


@pytest.mark.parametrize("name", DEVIATIONS)
def test_initialisation_matches_the_published_files(name: str) -> None:
    layers = dict(make(name).named_children())
    for layer, deviation in DEVIATIONS[name].items():
        weight = layers[layer].weight
        assert weight.std().item() == pytest.approx(deviation, rel=5 / weight.numel() ** 0.5)
        assert weight.mean().abs().item() < 5 * deviation / weight.numel() ** 0.5
        assert not layers[layer].bias.any()


def test_maps_are_32_16_8_4_and_24_12_6_pixels() -> None:
    for name, sides in (("cifar-80sec", (32, 16, 8, 4)), ("cifar-11pct", (24, 12, 6))):
        network = make(name)
        _, maps = network(images(network), return_maps=True)
        pooled = [maps[f"pool{n}"].shape[2] for n in range(1, len(sides))]
        assert [maps["conv1"].shape[2], *pooled] == list(sides)
        smaller = make(name, pool=2)
        _, maps = smaller(images(smaller), return_maps=True)
        assert [maps[f"pool{n}"].shape[2] for n in range(1, len(sides))] == pooled


def test_average_pooling_at_the_edge_ignores_values_outside() -> None:
    pool = dict(make("cifar-19pct").named_children())["pool2"]
    x = torch.arange(16.0).view(1, 1, 4, 4)
    inside = x[0, 0]
    expected = [[inside[:3, :3].mean(), inside[:3, 2:].mean()], [inside[2:, :3].mean(), inside[2:, 2:].mean()]]
    torch.testing.assert_close(pool(x)[0, 0], torch.tensor(expected))


def test_lrn_constants_match_the_published_files() -> None:
    within = dict(make("cifar-18pct").named_children())["norm1"]
    between = dict(make("cifar-11pct").named_children())["norm2"]
    assert isinstance(within, LocalResponseNorm)
    assert isinstance(between, LocalResponseNorm)
    x = torch.randn(2, 64, 6, 6, generator=torch.Generator().manual_seed(2)) * 50
    energy = F.avg_pool2d(x * x, 3, stride=1, padding=1)
    torch.testing.assert_close(within(x), x / (1 + 5e-5 * energy) ** 0.75)
    padded = F.pad(x * x, (0, 0, 0, 0, 4, 4)).unfold(1, 9, 1).sum(-1)
    torch.testing.assert_close(between(x), x / (1 + 1e-3 / 9 * padded) ** 0.75)


def naive_local(x: torch.Tensor, layer: LocallyConnected2d) -> torch.Tensor:
    """Every output value by itself."""
    reach, padded = layer.padding, F.pad(x, [layer.padding] * 4)
    side = 2 * reach + 1
    rows = []
    for h in range(layer.size):
        for w in range(layer.size):
            window = padded[:, :, h : h + side, w : w + side].flatten(1)
            place = h * layer.size + w
            values = [
                (window * layer.weight[place, :, o]).sum(1) + layer.bias[place, o] for o in range(layer.bias.shape[1])
            ]
            rows.append(torch.stack(values, 1))
    return torch.stack(rows, 2).view(len(x), -1, layer.size, layer.size)


@pytest.mark.parametrize(("channels", "maps", "kernel", "size"), [(3, 2, 3, 4), (1, 3, 5, 3), (2, 1, 1, 2)])
def test_locally_connected_layer_equals_a_naive_loop(channels: int, maps: int, kernel: int, size: int) -> None:
    torch.manual_seed(3)
    layer = LocallyConnected2d(channels, maps, kernel, size).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, channels, size, size, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(2, maps, size, size, dtype=torch.float64)
    tensors = (x, layer.weight, layer.bias)
    ours, naive = layer(x), naive_local(x, layer)
    torch.testing.assert_close(ours, naive)
    for one, other in zip(
        torch.autograd.grad((ours * wanted).sum(), tensors),
        torch.autograd.grad((naive * wanted).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_locally_connected_layer_with_shared_weights_equals_conv2d() -> None:
    layer, conv = LocallyConnected2d(3, 4, 3, 6), nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).T.expand(36, -1, -1))
        layer.bias.copy_(conv.bias)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-5)


def test_exported_locally_connected_layer_has_a_dynamic_batch() -> None:
    layer = LocallyConnected2d(3, 2, 3, 4)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(layer, (torch.zeros(2, 3, 4, 4),), dynamic_shapes={"x": {0: batch}}).module()
    x = torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(exported(x), layer(x))


def test_locally_connected_layer_counts_one_mac_per_weight() -> None:
    local3 = next(layer for layer in summarize("cifar-13pct").layers if layer.name == "local3")
    assert (local3.params, local3.macs) == (36 * 32 * (576 + 1), 36 * 32 * 576)


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid)])
def test_activation_does_not_change_the_initial_weights(activation: str, kind: type) -> None:
    network, usual = make("cifar-80sec", activation=activation), make("cifar-80sec")
    neurons = [stage for name, stage in network.stages() if name.startswith("neuron")]
    assert [type(neuron) for neuron in neurons] == [kind] * 4
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), usual.parameters(), strict=True))


def test_cifar_18pct_without_norm_equals_cifar_19pct() -> None:
    one, other = make("cifar-18pct", norm="none"), make("cifar-19pct")
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(images(one)), other(images(other)))
    kinds = {
        norm: [n for n, _ in make("cifar-19pct", norm=norm).stages() if n.startswith("norm")]
        for norm in ("none", "both", "batch")
    }
    assert kinds == {"none": [], "both": ["norm1", "norm2"], "batch": ["norm1", "norm2"]}


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ({"activation": "rely"}, r"unknown activation 'rely'.*did you mean 'relu'"),
        ({"norm": "batchnorm"}, r"unknown norm 'batchnorm'.*did you mean 'batch'"),
        ({"pool": 4}, r"pool=4.*3 px overlap"),
        ({"pool": "3"}, r"pool='3': it takes a whole number"),
        ({"input_size": 7}, r"input_size=7: cifar-19pct .* at least 8 px"),
    ],
)
def test_invalid_differences_are_rejected_with_accepted_values(differences: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create("cifar-19pct", **differences)
