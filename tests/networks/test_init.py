"""`create` and `list_networks`: every network by name and input size, and one-line errors."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.errors import UsageError
from alexnet.networks import create, describe_networks, list_networks

FIVE_MAPS = {  # the outputs of the five convolutions and the last pool, at the published input size
    "krizhevsky2012": [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13), (256, 6)],
    "paper": [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13), (256, 6)],
    "bvlc": [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13), (256, 6)],
    "caffenet": [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13), (256, 6)],
    "one_weird_trick": [(64, 55), (192, 27), (384, 13), (256, 13), (256, 13), (256, 6)],
    "article": [(96, 54), (256, 17), (384, 6), (384, 4), (256, 2), (256, 1)],
    "modern": [(96, 48), (256, 24), (384, 12), (384, 12), (256, 12), (256, 6)],
}

CIFAR = ["cifar-80sec", "cifar-19pct", "cifar-18pct", "cifar-13pct", "cifar-11pct"]  # see test_cifar.py


def images(size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def on_meta(name: str, **settings: object) -> torch.nn.Module:
    """A network on the meta device, which allocates no memory."""
    with torch.device("meta"):
        return create(name, **settings).eval()


def test_every_published_network_is_listed() -> None:
    assert list_networks() == [*FIVE_MAPS, *CIFAR]


@pytest.mark.parametrize("name", FIVE_MAPS)
def test_networks_have_the_published_sizes_and_normalisation(name: str) -> None:
    network = on_meta(name)
    assert network.name == name
    assert network.num_classes == network.default_classes == (17 if name == "article" else 1000)
    assert network.input_size == {"paper": 227, "bvlc": 227, "caffenet": 227, "modern": 192}.get(name, 224)
    assert network.resize == {"article": 224, "modern": 219}.get(name, 256)
    white = [(255 - mean) / std for mean, std in zip(network.mean, network.std, strict=True)]
    assert all(0.9 < value < 152 for value in white)


@pytest.mark.parametrize("name", FIVE_MAPS)
def test_named_maps_have_the_published_shapes(name: str) -> None:
    network = on_meta(name)
    x = images(network.input_size).to("meta")
    logits, maps = network(x, return_maps=True)
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "pool5"]
    assert [maps[n].shape for n in names] == [(2, c, side, side) for c, side in FIVE_MAPS[name]]
    assert list(maps) == [stage for stage, _ in network.stages()]
    assert logits.shape == network(x).shape == (2, network.num_classes)
    assert logits is list(maps.values())[-1]


@pytest.mark.parametrize("name", list_networks())
def test_any_input_size_from_63_pixels_works_with_the_same_parameters(name: str) -> None:
    usual = {key: tensor.shape for key, tensor in on_meta(name).state_dict().items()}
    for size in (*range(63, 80), 100, 128, 192, 214, 215, 223, 224, 225, 226, 227, 256, 299, 320):
        network = on_meta(name, input_size=size)
        assert network.input_size == size
        assert {key: tensor.shape for key, tensor in network.state_dict().items()} == usual
        assert network(images(size).to("meta")).shape == (2, network.num_classes)


@pytest.mark.parametrize("name", list_networks())
def test_torch_export_gives_equal_outputs_at_default_and_minimum_size(name: str) -> None:
    network = create(name, num_classes=10).eval()
    for size in (network.input_size, 63):
        x = (images(size) * 255 - 120) / network.std[0]
        exported = torch.export.export(network, (x,)).module()
        with torch.no_grad():
            torch.testing.assert_close(exported(x), network(x))


@pytest.mark.parametrize("name", list_networks())
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = create(name, num_classes=3, dropout=0).train()
    x = (images(63, count=4) * 255 - 120) / network.std[0]
    torch.nn.functional.cross_entropy(network(x), torch.tensor([0, 1, 2, 0])).backward()
    silent = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@pytest.mark.parametrize("name", list_networks())
def test_dropout_can_be_set_in_every_network(name: str) -> None:
    network = on_meta(name, dropout=0.25)
    shares = [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)]
    assert shares
    assert set(shares) <= {0.25, 0.125}


def test_unknown_network_suggests_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'cafenet'.*did you mean 'caffenet'"):
        create("cafenet")


@pytest.mark.parametrize("name", ["alexnet", "AlexNet"])
def test_the_name_alexnet_lists_the_candidates(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        create(name)
    (line,) = str(refused.value).splitlines()
    assert all(f"'{each}'" in line for each in ("modern", "one_weird_trick", "krizhevsky2012", "paper", "bvlc"))


def test_each_network_has_a_distinct_one_line_description() -> None:
    described = describe_networks()
    assert list(described) == list_networks()
    assert len(set(described.values())) == len(described)
    assert all(description and "\n" not in description for description in described.values())


def test_unknown_difference_suggests_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown difference of modern 'droput'.*did you mean 'dropout'.*width"):
        create("modern", droput=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": 62}, r"input_size=62.*at least 63 px"),
        ({"num_classes": 0}, r"num_classes=0.*at least 1"),
        ({"dropout": 1.0}, r"dropout=1\.0.*below 1"),
        ({"dropout": -0.1}, r"dropout=-0\.1"),
        ({"dropout": float("nan")}, r"dropout=nan"),
        ({"width": 0.0}, r"width=0\.0.*above 0"),
        ({"num_classes": "10"}, r"num_classes='10': it takes a whole number"),
        ({"num_classes": 10.0}, r"num_classes=10\.0: it takes a whole number"),
        ({"num_classes": True}, r"num_classes=True: it takes a whole number"),
        ({"input_size": (64, 64)}, r"input_size=\(64, 64\): it takes a whole number"),
        ({"dropout": None}, r"dropout=None: it takes a number"),
    ],
)
def test_invalid_values_are_rejected_with_the_accepted_values(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create("modern", **settings)


@pytest.mark.parametrize("name", [None, 5, ["modern"]])
def test_a_name_that_is_not_a_string_is_rejected_with_the_names(name: Any) -> None:
    with pytest.raises(UsageError, match=r"it takes a name, one of krizhevsky2012, .*modern"):
        create(name)


def test_num_classes_and_input_size_accept_any_integer_type() -> None:
    network = create("cifar-80sec", np.int64(3), torch.tensor(16))
    assert (type(network.num_classes), type(network.input_size)) == (int, int)
    assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 3, 100, 62), r"100 x 62 px.*at least 63"),
        (torch.zeros(3, 100, 100), r"\(3, 100, 100\).*\(N, 3, H, W\)"),
        (torch.zeros(1, 100, 100, 3), r"\(1, 100, 100, 3\)"),
        (torch.zeros(1, 3, 100, 100, dtype=torch.uint8), r"uint8.*\(images - mean\) / std"),
    ],
)
def test_invalid_images_are_rejected_before_the_first_layer(x: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create("modern")(x)


def test_listing_the_networks_does_not_import_torch() -> None:
    source = Path(__file__).parents[2] / "src"
    code = "import sys, alexnet; alexnet.errors.UsageError; alexnet.list_networks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(source)}).returncode == 0
