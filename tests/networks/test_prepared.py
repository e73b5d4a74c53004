"""A prepared network gives the network's own answers, follows its weights, and hides no divergence."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from alexnet.networks import list_networks
from alexnet.networks.folding import fold
from alexnet.networks.layers import Network
from alexnet.networks.prepared import BOUNDS, LARGEST, LARGEST_INPUT, Prepared, largest_output
from alexnet.ops import packed, winograd
from alexnet.ops.packed import computes_in

CPU = torch.device("cpu")
Make = Callable[..., Network]


def images(network: Network, count: int = 2) -> Tensor:
    """As normalised photographs: values of about -1 to 1 where a deviation divides them, of -100 to 100 elsewhere."""
    values = torch.randn(count, 3, network.least_input, network.least_input)
    return (values * 60 / torch.tensor(network.std).view(3, 1, 1)).contiguous(memory_format=torch.channels_last)


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest, as a share of the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", list_networks())
def test_answers_differ_from_the_network_s_own_in_float32_within_bounds(
    name: str, trained: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MANY", 3)  # rows of which the dense layers are products of matrices
    monkeypatch.setattr(winograd, "SMALLEST", 1)
    network = trained(name)
    batch = images(network, 3)
    with torch.no_grad():
        wanted = network(batch)
        assert largest_output(fold(network.stages()), LARGEST_INPUT) < LARGEST  # else ReLU is left by itself
    for dtype, bound in BOUNDS.items():
        prepared = Prepared(network, CPU, dtype)
        found = prepared(batch)
        assert found.dtype == dtype
        assert difference(found.float(), wanted) < bound
        assert difference(prepared(batch[:1]).float(), wanted[:1]) < bound


def test_weights_that_change_are_prepared_anew(trained: Make) -> None:
    network = trained("modern", width=0.25)
    batch, prepared = images(network), Prepared(network, CPU, torch.float32)
    before = prepared(batch)
    with torch.no_grad():
        network.bn1.running_mean.add_(1)
        network.fc8 = torch.nn.Linear(512, 3)
        wanted = network(batch)
    assert difference(before, wanted) > 0.1
    assert difference(prepared(batch), wanted) < BOUNDS[torch.float32]


def test_hooks_are_called_and_a_forward_of_its_own_counts(trained: Make) -> None:
    network, seen = trained("modern", width=0.25), []
    batch, prepared = images(network), Prepared(network, CPU, torch.float32)
    plain = prepared(batch)
    hook = network.relu3.register_forward_hook(lambda *_: seen.append(1))
    assert difference(prepared(batch), plain) < BOUNDS[torch.float32]
    assert seen
    hook.remove()

    class Doubled(type(network)):  # type: ignore[misc]
        def forward(self, x: Tensor, return_maps: bool = False) -> Tensor:
            return 2 * super().forward(x, return_maps)

    network.__class__ = Doubled
    assert difference(prepared(batch), 2 * plain) < BOUNDS[torch.float32]


@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize("value", [1e30, float("nan")])
def test_a_network_that_diverged_gives_no_finite_answers(value: float, dtype: torch.dtype, trained: Make) -> None:
    network = trained("modern", width=0.25)
    with torch.no_grad():
        network.conv3.weight[:] = network.conv4.weight[:] = value
        network.conv4.weight[:, ::2] = -value  # infinite values of both signs, whose sum is NaN
    assert not Prepared(network, CPU, dtype)(images(network)).isfinite().all()


def test_it_computes_by_packed_layers_here_and_can_be_copied_and_pickled(trained: Make) -> None:
    network = trained("modern", width=0.25)
    batch, prepared = images(network), Prepared(network, CPU, torch.float32)
    wanted = prepared(batch)
    assert bool(prepared._plans) == computes_in(torch.float32)
    for other in (copy.deepcopy(prepared), pickle.loads(pickle.dumps(prepared))):
        assert torch.equal(other(batch), wanted)
