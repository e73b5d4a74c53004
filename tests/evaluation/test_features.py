"""Features: every stage's output, as the network itself gives it."""

from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.bench.pictures import noise_store
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import open_store
from alexnet.errors import Diverged, UsageError
from alexnet.evaluation.features import check_layers, hidden_layer, of_store
from alexnet.networks import create
from alexnet.networks.layers import skip_init

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", alexnet.list_networks())
def test_every_network_has_a_hidden_layer(name: str) -> None:
    with skip_init():
        network = create(name, 3)
    wanted = {"article": "bn8", "cifar-80sec": "neuron64"}
    maps = {"cifar-19pct": "avgpool", "cifar-18pct": "avgpool", "cifar-13pct": "neuron4", "cifar-11pct": "neuron4"}
    assert hidden_layer(network) == (wanted | maps).get(name, "relu7")


@pytest.mark.parametrize(("name", "size"), [("modern", 63), ("cifar-18pct", 32), ("krizhevsky2012", 80)])
@pytest.mark.parametrize("pool", ["average", "none"])
def test_every_stage_equals_the_network_s_own_output(name: str, size: int, pool: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create(name, 3, size).eval()
    store = open_store(noise_store(tmp_path, 6, 3, size=size))
    preprocessing = Preprocessing(size, size, network.mean, network.std, store_size=size)
    layers = [stage for stage, _ in network.stages()]
    batches = list(of_store(network, preprocessing, store, layers, pool, CPU, torch.float32))
    with torch.no_grad():
        _, outputs = network(preprocessing.views(list(store.images(slice(None)))), return_maps=True)
    for layer in layers:
        found = torch.cat([batch[layer] for batch in batches])
        wanted = outputs[layer]
        wanted = wanted.mean((2, 3)) if wanted.ndim == 4 and pool == "average" else wanted.flatten(1)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item())


def test_rows_choose_the_images_and_modes_are_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create("modern", 3, 63, width=0.25).train()
    store = open_store(noise_store(tmp_path, 6, 3, size=63))
    parts = (network, Preprocessing(63, 63, network.mean, network.std, store_size=63), store, ["relu7"], "average", CPU)
    (whole,) = of_store(*parts, torch.float32)
    (some,) = of_store(*parts, torch.float32, rows=[4, 1])
    torch.testing.assert_close(some["relu7"], whole["relu7"][[4, 1]])
    assert network.training
    with torch.no_grad():
        network.fc6.weight.fill_(float("inf"))
    with pytest.raises(Diverged, match="not finite"):
        list(of_store(*parts, torch.float32))


def test_unknown_and_repeated_layers_are_refused() -> None:
    network = create("modern", 3, 63, width=0.25)
    with pytest.raises(UsageError, match="unknown layer of modern 'fc77': did you mean 'fc7'"):
        check_layers(network, ["fc77"], "average")
    with pytest.raises(UsageError, match="conv1 is named twice"):
        check_layers(network, ["conv1", "conv1"], "none")
    with pytest.raises(UsageError, match="unknown pool"):
        check_layers(network, ["conv1"], "maximum")
