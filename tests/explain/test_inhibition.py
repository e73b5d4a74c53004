"""The reduction by neighbours equals the loss that their presence causes."""

import numpy as np
import pytest
import torch

from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError
from alexnet.explain.activations import stage_outputs
from alexnet.explain.inhibition import figure, normalization, reduction_by_neighbours, values_before
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.ops import LocalResponseNorm
from alexnet.plots.canvas import png


@pytest.mark.parametrize("norm", [LocalResponseNorm(), LocalResponseNorm(3, 0.5, 0.6, 1.0, False, groups=2)])
def test_the_reduction_is_the_loss_caused_by_neighbours(norm: LocalResponseNorm) -> None:
    torch.manual_seed(0)
    before = 30 * torch.randn(8, 2, 3)
    reduction = reduction_by_neighbours(before, norm)
    beside = norm(before[None])[0]
    for unit in range(8):
        alone = torch.zeros_like(before)
        alone[unit] = before[unit]
        lost = 1 - beside[unit] / norm(alone[None])[0, unit]
        assert torch.allclose(reduction[unit], lost, atol=1e-5)
    assert reduction.min() >= 0
    assert reduction.max() < 1


def test_a_unit_that_is_zero_or_alone_is_not_reduced() -> None:
    before = torch.zeros(8, 1, 1)
    before[3] = 100.0
    assert reduction_by_neighbours(before, LocalResponseNorm()).abs().max() < 1e-6


def test_strong_units_reduce_weak_neighbours_but_not_across_towers() -> None:
    before = torch.ones(8, 1, 1)
    before[3] = 300.0
    reduction = reduction_by_neighbours(before, LocalResponseNorm(groups=2)).flatten()
    assert reduction[2] > 0.3 > 1e-4 > reduction[3]
    assert reduction[4] < 1e-4  # the first of the other tower


def test_the_figure_shows_the_strongest_unit_before_and_after(tiny: Network, preprocessing: Preprocessing) -> None:
    drawn = figure(tiny, preprocessing, np.random.default_rng(0).integers(0, 256, (72, 72, 3), np.uint8))
    titles = [axes.get_title() for axes in drawn.axes if axes.get_title()]
    unit = titles[1].split()[1]
    assert titles[1:] == [f"map {unit} before norm1", f"map {unit} after norm1", "reduction by neighbours (%)"]
    assert png(drawn)


def test_a_normalisation_inside_a_stage_is_found_and_has_its_own_input() -> None:
    torch.manual_seed(0)
    network = create("cifar-18pct", norm="both")  # norm1 is LRN between channels, then within them
    name, norm = normalization(network)
    assert (name, norm) == ("norm1", network.norm1[0])
    image = torch.randn(1, 3, 32, 32)
    _, maps = stage_outputs(network, image)
    assert torch.equal(values_before(network, norm, image), maps["neuron1"])
    assert torch.equal(values_before(network, network.norm1[1], image), norm(maps["neuron1"]))


@pytest.mark.parametrize("name", ["modern", "article", "one_weird_trick"])
def test_a_network_without_normalisation_is_refused(name: str) -> None:
    with torch.device("meta"):
        network = create(name)
    with pytest.raises(UsageError, match=f"network '{name}' has no local response normalisation between channels"):
        normalization(network)
