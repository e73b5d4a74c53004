"""The RBM equals exact sums over all hidden states of a small one."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.networks import create
from alexnet.pretraining.crbm import (
    CRBM,
    block_probabilities,
    log_partition,
    sample,
    sigma_at,
    whitening_filter,
)
from alexnet.pretraining.cut import Layer, cut


def toy(**settings) -> tuple[CRBM, torch.Tensor]:
    """Float64, 2 channels, 2 hidden maps of 2 x 3 units in blocks of 2 x 2, of which one is partial."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 2, 2)
    layer = Layer("conv1", conv, [], [], ["conv1"])
    images = torch.randn(3, 2, 3, 4)
    machine = CRBM(layer, images, **{"sigma": 0.7, **settings}).double()
    nn.init.normal_(machine.conv.weight, std=0.5)
    nn.init.normal_(machine.hidden_bias, std=0.3)
    return machine, machine.prepare(images.double())


def all_states() -> list[torch.Tensor]:
    """Every hidden state (2, 2, 3) with at most one unit of a block on; a map has a full block and half a block."""
    of_map = []
    for full, half in itertools.product(range(5), range(3)):
        state = torch.zeros(2, 3, dtype=torch.float64)
        if full:
            state[(full - 1) // 2, (full - 1) % 2] = 1
        if half:
            state[half - 1, 2] = 1
        of_map.append(state)
    return [torch.stack(pair) for pair in itertools.product(of_map, of_map)]


def energy(machine: CRBM, v: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """An independent implementation of E(v, h) as the module documents it; v: (2, 3, 4), h: (2, 2, 3)."""
    s2 = machine.sigma.square()
    far = (v - machine.mean.view(-1, 1, 1)).square().sum() / (2 * s2)
    filtered = F.conv2d(v[None], machine.conv.weight)[0] + machine.hidden_bias.view(-1, 1, 1)
    return far - (h * filtered / s2).sum()


@pytest.mark.parametrize(
    ("shape", "block"), [((2, 3, 4, 4), 2), ((1, 2, 5, 7), 2), ((1, 2, 5, 7), 3), ((1, 1, 3, 3), 1)]
)
def test_the_probabilities_of_a_block_sum_to_one(shape, block):
    hidden, off = block_probabilities(torch.randn(shape) * 5, block)
    assert hidden.shape == shape
    pooled = F.avg_pool2d(F.pad(hidden, (0, -shape[3] % block, 0, -shape[2] % block)), block) * block * block
    assert torch.allclose(pooled + off, torch.ones_like(off), atol=1e-6)
    assert (hidden >= 0).all()
    assert (off > 0).all()


def test_probabilities_are_finite_for_huge_signals():
    hidden, off = block_probabilities(torch.tensor([[[[1000.0, -1000.0], [999.0, 0.0]]]]), 2)
    assert hidden.isfinite().all()
    assert hidden[0, 0, 0, 0] == pytest.approx(1 / (1 + 2.718281828**-1), abs=1e-4)
    assert off.item() == 0


def test_the_free_energy_equals_the_sum_over_all_hidden_states():
    machine, images = toy()
    states = all_states()
    assert len(states) == 15 * 15
    for v, free in zip(images, machine.double().free_energy(images), strict=True):
        energies = torch.stack([energy(machine, v, h) for h in states])
        assert free.item() == pytest.approx(-torch.logsumexp(-energies, 0).item(), rel=1e-6)


def test_the_probabilities_equal_those_of_the_enumerated_states():
    machine, images = toy()
    states = all_states()
    chances = torch.softmax(-torch.stack([energy(machine, images[0], h) for h in states]), 0)
    expected = (chances.view(-1, 1, 1, 1) * torch.stack(states)).sum(0)
    hidden, _ = block_probabilities(machine.signals(images[:1]), 2)
    assert torch.allclose(hidden[0].double(), expected, atol=1e-6)


def test_the_gradient_of_the_free_energy_equals_the_enumerated_statistic():
    machine, images = toy()
    v = images[0]
    machine.free_energy(v[None]).sum().backward()
    states = torch.stack(all_states())
    chances = torch.softmax(-torch.stack([energy(machine, v, h) for h in states]), 0).detach()
    expected = (chances.view(-1, 1, 1, 1) * states).sum(0)  # (2, 2, 3)
    windows = v.unfold(1, 2, 1).unfold(2, 2, 1)  # (2 channels, 2, 3, 2, 2)
    statistic = torch.einsum("kij,cijab->kcab", expected, windows)
    s2 = machine.sigma.square().double()
    assert torch.allclose(machine.conv.weight.grad, -statistic / s2, atol=1e-6)
    assert torch.allclose(machine.hidden_bias.grad, -expected.sum((1, 2)) / s2, atol=1e-6)


def test_the_gradient_of_the_loss_equals_the_published_statistics():
    machine, images = toy(sparsity=0.1, sparsity_rate=3.0)
    machine.train()
    torch.manual_seed(5)
    machine(images)[0].backward()
    torch.manual_seed(5)
    with torch.no_grad():
        first, off = block_probabilities(machine.signals(images), 2)
        again = machine.mean_visible(sample(first, off, 2).double(), images.shape[2:]).double()
        second, _ = block_probabilities(machine.signals(again), 2)
    positions = 3 * 2 * 3

    def statistic(v: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nkij,ncijab->kcab", h.double(), v.unfold(2, 2, 1).unfold(3, 2, 1)) / positions

    weight = statistic(images, first) - statistic(again, second)
    bias = (first - second).sum((0, 2, 3)) / positions - 3.0 * (first.mean((0, 2, 3)) - 0.1)
    assert torch.allclose(machine.conv.weight.grad, -weight, atol=1e-5)
    assert torch.allclose(machine.hidden_bias.grad.float(), -bias.float(), atol=1e-5)


def test_the_mean_reconstruction_minimises_the_energy():
    machine, _ = toy()
    h = all_states()[37]
    v = machine.mean_visible(h[None], (3, 4)).double()[0].detach().requires_grad_()
    energy(machine, v, h).backward()
    assert v.grad.abs().max() < 1e-5


def test_samples_are_seeded_have_at_most_one_unit_a_block_and_follow_the_probabilities():
    hidden, off = block_probabilities(torch.randn(1, 1, 4, 6, generator=torch.Generator().manual_seed(1)), 2)
    hidden, off = hidden.expand(20000, -1, -1, -1), off.expand(20000, -1, -1, -1)
    draws = [sample(hidden, off, 2, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert set(draws[0].unique().tolist()) == {0.0, 1.0}
    assert (F.avg_pool2d(draws[0], 2) * 4).max() <= 1.001
    assert (draws[0].mean(0) - hidden[0]).abs().max() < 0.02  # five standard errors


def test_log_partition_of_units_that_are_always_off_is_zero():
    assert log_partition(torch.full((1, 1, 3, 3), -1e9), 2).abs().max() == 0


def test_sigma_decays_to_its_last_value():
    assert sigma_at(0, 0.2, 0.1, 0.99) == 0.2
    assert sigma_at(10, 0.2, 0.1, 0.99) == pytest.approx(0.2 * 0.99**10)
    assert sigma_at(1000, 0.2, 0.1, 0.99) == 0.1


def test_whitening_decorrelates_pixels_and_channels():
    noise = torch.randn(8, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise + noise[:, :1], 3, stride=1)  # neighbours and channels are correlated
    white = F.conv2d(smooth, whitening_filter(smooth, 5))

    def correlation(x: torch.Tensor) -> float:
        pairs = [(x[..., 1:], x[..., :-1]), (x[:, 0], x[:, 1])]
        return max(abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()) for a, b in pairs)

    assert correlation(smooth) > 0.5
    assert correlation(white) < correlation(smooth) / 2


def test_whitening_computes_in_float64_on_the_cpu_alone():
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # the copy to the CPU
        whitening_filter(torch.zeros(2, 3, 9, 9, device="meta"), 3)


@pytest.mark.parametrize("name", ["modern", "bvlc", "krizhevsky2012"])
def test_whitening_and_filters_compose_to_one_convolution_of_the_layers_size(name):
    torch.manual_seed(0)
    layer = cut(create(name, 2, 67))[0]
    probe = layer.inputs(torch.randn(2, 3, 67, 67))
    before = F.conv2d(probe, layer.conv.weight, None, layer.conv.stride, layer.conv.padding)
    machine = CRBM(layer, probe, whiten=True)
    nn.init.normal_(machine.conv.weight)
    bias = None if layer.conv.bias is None else layer.conv.bias.clone()
    machine.export(layer, probe)
    at_once = F.conv2d(probe, layer.conv.weight, None, layer.conv.stride)
    two_steps = machine.conv(machine.prepare(probe))
    ratio = (at_once.square().mean() / two_steps.square().mean()).sqrt()
    assert torch.allclose(at_once, two_steps * ratio, atol=1e-3 * at_once.abs().max().item())
    after = F.conv2d(probe, layer.conv.weight, None, layer.conv.stride, layer.conv.padding)
    assert after.square().mean().item() == pytest.approx(before.square().mean().item(), rel=1e-3)
    assert bias is None or torch.equal(layer.conv.bias, bias)


@pytest.mark.parametrize("number", [1, 2])
def test_reconstructions_of_layers_with_groups_have_the_size_of_the_inputs(number):
    torch.manual_seed(0)
    layer = cut(create("modern", 2, 64))[number]
    probe = layer.inputs(torch.randn(2, 3, 64, 64)).detach()
    machine = CRBM(layer, probe)
    v = machine.prepare(probe)
    hidden, _ = block_probabilities(machine.signals(v), 2)
    assert machine.mean_visible(hidden, v.shape[2:]).shape == v.shape
    machine(v)[0].backward()
    assert machine.conv.weight.grad.isfinite().all()
