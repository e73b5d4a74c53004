"""Pruned weights stay zero through every optimizer, and a resumed run needs no mask to be the same."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import alexnet
from alexnet.errors import Interrupted, UsageError
from alexnet.networks import create
from alexnet.training import supervised
from alexnet.training.pruning import prunable, prune, shares, weighted, zeros_kept
from alexnet.training.recipes import recipe
from alexnet.training.run import resume, train, train_on
from alexnet.weights.card import BEST

WEIGHTS = ("conv1.weight", "conv2.weight", "conv3.weight", "fc64.weight", "fc10.weight")


def zeros_of(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: (tensors[name] == 0).numpy() for name in WEIGHTS}


def test_dense_layers_lose_more_than_convolutions_and_the_ends_less() -> None:
    network = create("modern", 5, 63, width=0.25)
    expected = {"conv1": 0.18, **dict.fromkeys(("conv2", "conv3", "conv4", "conv5"), 0.63), "fc6": 0.9, "fc7": 0.9}
    assert shares(network, 0.9) == pytest.approx({**expected, "fc8": 0.765})
    before = {path: layer.weight.detach().clone() for path, layer in weighted(network).items()}
    prune(network, 0.9)
    for path, layer in weighted(network).items():
        zero = layer.weight == 0
        assert float(zero.float().mean()) == pytest.approx(shares(network, 0.9)[path], abs=0.01)
        assert before[path][zero].abs().max() <= before[path][~zero].abs().min()
        assert torch.equal(layer.weight[~zero], before[path][~zero])


QUICK = [("nesterov", "bfloat16"), ("muon", "float32")]
OTHERS = [(name, "bfloat16") for name in ("sgd", "velocity", "adam", "adamw", "muon")]


@pytest.mark.parametrize(
    ("optimizer", "precision"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in OTHERS)]
)
def test_zeros_stay_in_the_weights_their_copies_and_their_average(
    small_run: "alexnet.Run", small_data: Path, tmp_path: Path, optimizer: str, precision: str
) -> None:
    changes: dict[str, Any] = {"optimizer": optimizer, "precision": precision, "ema": 0.9, "prune": 0.8, "lr": 1e-3}
    changes["layer_decay"] = ""  # which muon does not take
    folder = train_on(small_run.folder, 1, tmp_path / "run", **changes)
    began = load_file(small_run.folder / BEST)
    found = load_file(folder / BEST)
    for name, zero in zeros_of(found).items():
        assert zero.mean() > 0.15, name
        assert not torch.equal(found[name], torch.where(torch.from_numpy(zero), 0, began[name])), "and the others move"
    state = load_file(folder / "last" / "checkpoint.safetensors")
    for name, zero in zeros_of(found).items():
        assert (state[f"network.{name}"].numpy() == 0)[zero].all()


def test_copies_and_the_average_are_zero_too() -> None:
    networks = [create("modern", 2, width=0.2) for _ in range(2)]
    network, average = networks
    weight, mean = network.fc8.weight, average.fc8.weight
    with torch.no_grad():
        weight[0] = mean[0] = 0
    copy = weight.detach().bfloat16()
    weight.grad = torch.ones_like(weight)
    with zeros_kept(network, average, {weight: copy}):
        assert weight.grad[0].eq(0).all()
        assert weight.grad[1].eq(1).all()
        with torch.no_grad():
            for each in (weight, copy, mean):
                each.add_(5)
    for each in (weight, copy, mean):
        assert each[0].eq(0).all()
        assert each[1].ne(0).all()


@pytest.mark.slow
def test_resume_of_a_pruned_run_is_bit_exact(
    small_run: "alexnet.Run", small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"prune": 0.7, "lr": 1e-3}
    whole = train_on(small_run.folder, 2, tmp_path / "whole", **settings)
    take, taken = supervised.Supervised.step, []

    def counting(self: supervised.Supervised, *given: Any) -> torch.Tensor:
        taken.append(1)
        if len(taken) == 5:
            signal.raise_signal(signal.SIGINT)
        return take(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(supervised.Supervised, "step", counting)
        with pytest.raises(Interrupted):
            train_on(small_run.folder, 2, tmp_path / "broken", **settings)
    resume(tmp_path / "broken")
    one, two = load_file(whole / BEST), load_file(tmp_path / "broken" / BEST)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(zero.any() for zero in zeros_of(one).values())


@pytest.mark.slow
def test_a_pruned_run_that_is_trained_on_stays_pruned(small_run: "alexnet.Run", tmp_path: Path) -> None:
    pruned = train_on(small_run.folder, 1, tmp_path / "pruned", prune=0.7, lr=1e-3)
    more = train_on(pruned, 1, tmp_path / "more")
    for name, zero in zeros_of(load_file(pruned / BEST)).items():
        assert (load_file(more / BEST)[name].numpy() == 0)[zero].all(), name


def test_pruning_without_weights_to_prune_is_refused(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no init is given"):
        train(small_data, recipe("cifar-80sec", prune=0.5), tmp_path / "run")
    with pytest.raises(UsageError, match="below 1"):
        recipe("cifar-80sec", prune=1.0, init="x")
    assert not (tmp_path / "run").exists()


def test_only_layers_with_weights_are_pruned() -> None:
    network = create("modern", 5, 63, width=0.25)
    assert len(prunable(network)) == 8
