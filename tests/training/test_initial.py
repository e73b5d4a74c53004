"""Beginning from another run's weights: what is taken, what is slower, what stays as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create, list_networks
from alexnet.networks.layers import Network, skip_init
from alexnet.runs.folder import CHECKPOINT
from alexnet.training.initial import begin_from, freeze, training_mode
from alexnet.training.optimizer import build_optimizer
from alexnet.training.recipes import recipe
from alexnet.training.run import resume, train
from alexnet.weights.card import BEST, Card, load, save

pytestmark = pytest.mark.usefixtures("shown_log")

NORMALIZED = {"input_size": 64, "resize": 64, "mean": [0.0] * 3, "std": [255.0] * 3, "store_size": 64}
SMALL = {"input_size": 64, "batch_size": 8, "train_scale": 1.0, "first_train_scale": 1.0, "evaluate_every": 1}


def small(classes: int = 3, width: float = 0.25, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return create("modern", classes, 64, width=width)


def written(network: Network, path: Path, names: list[str], layers: list[str] | None = None) -> Path:
    card = Card(network.name, len(names), 64, {"width": 0.25}, names, NORMALIZED)
    save(path, network, card, layers)
    return path


def test_layers_that_fit_are_taken_and_the_rest_is_logged(tmp_path, caplog):
    file = written(small(5, seed=1), tmp_path / "five.safetensors", list("abcde"))
    network = small(3)
    fresh = network.fc8.weight.clone()
    taken = begin_from(network, str(file), list("abc"))
    theirs = load_file(file)
    assert taken[0] == "conv1"
    assert "fc8" not in taken
    assert torch.equal(network.conv5.weight, theirs["conv5.weight"])
    assert torch.equal(network.fc8.weight, fresh)
    said = caplog.text
    assert said.count("\n") == 1
    assert "new: fc8 (5 x 512 there, 3 x 512 here)" in said


@pytest.mark.parametrize("name", list_networks())
def test_layers_of_every_network_are_initialised_and_frozen_by_name(name, tmp_path):
    with skip_init():
        network = create(name, 3)
    every = network.stage_tensors()
    assert [key for tensors in every.values() for key in tensors] == list(network.state_dict())
    first = next(iter(every))
    assert freeze(network, "1")[0] == first
    frozen = [key for key, value in network.named_parameters() if not value.requires_grad]
    assert set(every[first]) >= set(frozen[:1])
    size = network.input_size
    card = Card(name, 0, size, {}, [], NORMALIZED | {"input_size": size, "resize": size, "store_size": size})
    save(tmp_path / "some.safetensors", network, card, [first])
    assert set(load_file(tmp_path / "some.safetensors")) == set(every[first])


def test_the_last_layer_is_taken_for_the_same_classes_only(tmp_path):
    file = written(small(3, seed=1), tmp_path / "three.safetensors", list("abc"))
    assert "fc8" in begin_from(small(3), str(file), list("abc"))
    assert "fc8" not in begin_from(small(3), str(file), list("abd"))


def test_a_file_of_some_layers_initialises_those_and_is_no_classifier(tmp_path):
    file = written(small(3, seed=1), tmp_path / "some.safetensors", [], ["conv1", "bn1"])
    network = small(3)
    assert begin_from(network, str(file), list("abc")) == ["conv1", "bn1"]
    with pytest.raises(WeightsError, match="pre-trained layers and knows no classes; train it first"):
        load(file)


def test_files_that_fit_nowhere_are_refused(tmp_path):
    wide = create("modern", 3, 64, width=0.5)
    file = written(wide, tmp_path / "wide.safetensors", list("abc"), None)
    narrow = create("modern", 3, 64, width=0.25)
    for layer in ("fc7", "bn6", "bn7"):  # the dense layers do not depend on the width
        narrow.get_submodule(layer).weight.data.zero_()
    assert begin_from(narrow, str(file), list("abc")) == ["bn6", "fc7", "bn7", "fc8"]
    part = written(wide, tmp_path / "part.safetensors", [], ["conv1", "conv2"])
    with pytest.raises(WeightsError, match=r"nothing in .* fits .*conv1: 48 x 3 x 11 x 11 there, 32 x 3 x 11 x 11 her"):
        begin_from(narrow, str(part), list("abc"))
    with pytest.raises(WeightsError, match="is of the network 'modern', this run trains 'bvlc'"):
        begin_from(create("bvlc", 3, 64), str(part), list("abc"))


@pytest.mark.parametrize(
    ("frozen", "names"),
    [
        ("", []),
        ("1", ["conv1", "bn1"]),
        ("2", ["conv1", "bn1", "conv2", "bn2"]),
        ("conv1, bn3", ["conv1", "bn3"]),
    ],
)
def test_frozen_layers_are_named_or_counted(frozen, names):
    network = small()
    assert freeze(network, frozen) == names
    fixed = {name.split(".")[0] for name, weight in network.named_parameters() if not weight.requires_grad}
    assert fixed == set(names)


def test_locally_connected_layers_do_not_count_as_convolutions():
    assert freeze(create("cifar-13pct"), "2") == ["conv1", "conv2"]


@pytest.mark.parametrize(
    ("frozen", "said"),
    [("6", "5 convolutions"), ("conv9", "unknown layer .*did you mean 'conv"), ("fc8", "must learn the classes")],
)
def test_what_cannot_be_frozen_is_refused(frozen, said):
    with pytest.raises(UsageError, match=said):
        freeze(small(), frozen)


def test_frozen_layers_keep_weights_and_batchnorm_statistics():
    network = small()
    freeze(network, "2")
    training_mode(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    settings = recipe("modern", init="somewhere", init_lr_factor=0.1)
    optimizer = build_optimizer(network, settings, slow=[network.conv3.weight])
    network(torch.randn(4, 3, 64, 64)).square().sum().backward()
    optimizer.step()
    after = network.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"conv3", "bn3", "conv4", "bn4", "conv5", "bn5", "fc6", "bn6", "fc7", "bn7", "fc8"}


@pytest.mark.parametrize("optimizer", ["muon", "nesterov"])
def test_initialised_layers_have_their_own_learning_rate(optimizer):
    network = small()
    settings = recipe("modern", init="somewhere", init_lr_factor=0.1, optimizer=optimizer)
    slow = [*network.conv1.parameters(), *network.bn1.parameters()]
    plain = build_optimizer(network, settings)
    groups = build_optimizer(network, settings, slow).param_groups

    def factors(found: list[dict]) -> dict[int, float]:
        return {id(weight): group["factor"] for group in found for weight in group["params"]}

    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    ratio = {key: round(factors(groups)[key] / value, 9) for key, value in factors(plain.param_groups).items()}
    assert {key for key, value in ratio.items() if value != 1} == {id(weight) for weight in slow}
    assert sorted(set(ratio.values())) == pytest.approx([0.1, 1.0])


def test_init_lr_factor_needs_init():
    with pytest.raises(UsageError, match="no init is given"):
        recipe("modern", init_lr_factor=0.1, init="none")


def test_an_initialised_run_resumes_when_its_source_is_gone(small_data, tmp_path):
    first = train(str(small_data), recipe("modern", epochs=1, **SMALL), tmp_path / "first")
    settings = {"epochs": 2, "init": str(first), "init_lr_factor": 0.1, "freeze": "2", "ema": 0.0, **SMALL}
    run = train(str(small_data), recipe("modern", **settings), tmp_path / "second")
    before, after = load_file(first / BEST), load_file(run / BEST)
    frozen = [name for name in after if name.split(".")[0] in ("conv1", "bn1", "conv2", "bn2")]
    assert len(frozen) == 12
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["conv3.weight"], after["conv3.weight"])
    first.rename(tmp_path / "gone")
    (run / "metrics.json").unlink()
    resume(run)
    assert (run / "metrics.json").is_file()
    (run / CHECKPOINT).unlink()
    with pytest.raises(WeightsError, match="no model at"):
        resume(run)


def test_bfloat16_copies_of_frozen_weights_never_change(small_data, tmp_path):
    first = train(str(small_data), recipe("modern", epochs=1, precision="bfloat16", **SMALL), tmp_path / "first")
    settings = {"init": str(first), "freeze": "conv1", "precision": "bfloat16", "ema": 0.0, "epochs": 1}
    run = train(str(small_data), recipe("modern", **settings, **SMALL), tmp_path / "second")
    before, after = load_file(first / BEST), load_file(run / BEST)
    assert torch.equal(before["conv1.weight"], after["conv1.weight"])
    assert np.isfinite(after["conv2.weight"].numpy()).all()
