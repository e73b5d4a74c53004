"""torch.hub finds the networks, and the weights that come with the package."""

import importlib.util
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.errors import UsageError
from alexnet.weights.card import read
from alexnet.weights.pretrained import OWN_FILE

ROOT = Path(__file__).parent.parent


def test_every_network_is_an_entry_point_with_a_description() -> None:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {name for name in vars(module) if callable(vars(module)[name]) and name[0] != "_"} == set(
        alexnet.list_networks()
    )
    assert all(importlib.util.find_spec(name) for name in module.dependencies)
    assert "modern" in module.modern.__doc__


def test_a_network_is_built_with_its_arguments_and_weights() -> None:
    network = torch.hub.load(str(ROOT), "cifar-80sec", source="local", num_classes=3)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    found = torch.hub.load(str(ROOT), "modern", source="local", pretrained=True).state_dict()
    for name, tensor in read(OWN_FILE).tensors.items():
        assert torch.equal(found[name], tensor.to(found[name].dtype)), name


def test_a_network_without_published_weights_says_so() -> None:
    with pytest.raises(UsageError, match="no weights are published for article"):
        torch.hub.load(str(ROOT), "article", source="local", pretrained=True)
