import dataclasses

import pytest
import torch
from torch import nn

from alexnet.device import has_bfloat16
from alexnet.errors import UsageError
from alexnet.networks import create
from alexnet.networks.layers import LocallyConnected2d
from alexnet.ops.orthogonal import orthogonalize
from alexnet.training.optimizer import (
    Momentum,
    Muon,
    as_matrices,
    build_optimizer,
    from_matrices,
    learning_rate,
    parameter_groups,
    set_learning_rate,
    update_average,
)
from alexnet.training.recipes import recipe


def test_velocity_takes_the_2012_steps_across_a_rate_drop():
    """v <- .9 v - lr (g + wd w); w <- w + v, computed by hand beside it."""
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = Momentum([w], lr=0.1, momentum=0.9, weight_decay=0.01, rule="velocity")
    mine, velocity = w.detach().clone().double(), torch.zeros(2, dtype=torch.float64)
    for step in range(10):
        rate = 0.1 if step < 5 else 0.01
        optimizer.param_groups[0]["lr"] = rate
        gradient = torch.tensor([0.5, float(step)])
        w.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * velocity - rate * (gradient.double() + 0.01 * mine)
        mine = mine + velocity
    assert torch.allclose(w.double(), mine, atol=1e-6)


def test_velocity_differs_from_torch_momentum_after_a_rate_drop():
    def train(optimizer_class, **settings):
        w = torch.nn.Parameter(torch.tensor([1.0]))
        optimizer = optimizer_class([w], lr=0.1, momentum=0.9, **settings)
        for step in range(4):
            optimizer.param_groups[0]["lr"] = 0.1 if step < 2 else 0.01
            w.grad = torch.ones(1)
            optimizer.step()
        return w.item()

    # With the rate inside, the large steps before the drop still carry on.
    assert train(Momentum, rule="velocity") < train(torch.optim.SGD) - 0.1


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_2012_biases_have_twice_the_rate_and_no_decay():
    network = small()
    optimizer = build_optimizer(network, recipe("krizhevsky2012"))
    set_learning_rate(optimizer, 0.01)
    of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(of) == len(list(network.parameters()))
    assert (of[id(network[0].weight)]["lr"], of[id(network[0].weight)]["weight_decay"]) == (0.01, 5e-4)
    assert (of[id(network[0].bias)]["lr"], of[id(network[0].bias)]["weight_decay"]) == (0.02, 0.0)
    assert (of[id(network[1].weight)]["lr"], of[id(network[1].weight)]["weight_decay"]) == (0.01, 0.0)


def test_torchvisions_recipe_decays_everything():
    optimizer = build_optimizer(small(), recipe("torchvision"))
    assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-4}


def test_layers_can_have_their_own_weight_decay():
    network = create("cifar-13pct")
    groups = parameter_groups(network, recipe("cifar-13pct"))
    of = {id(p): (group["weight_decay"], group["factor"]) for group in groups for p in group["params"]}
    found = {name: of[id(parameter)] for name, parameter in network.named_parameters()}
    assert found["conv1.weight"] == found["conv2.weight"] == (0.0, 1.0)
    assert found["local3.weight"] == found["local4.weight"] == found["fc10.weight"] == (0.004, 1.0)
    assert {found[name] for name in found if name.endswith("bias")} == {(0.0, 2.0)}
    with pytest.raises(UsageError, match=r"unknown layer in layer_decay 'fc1': did you mean 'fc10'"):
        parameter_groups(network, recipe("cifar-13pct", layer_decay="fc1=1"))


@pytest.mark.parametrize("name", ["sgd", "nesterov", "velocity", "adam", "adamw", "muon"])
def test_every_optimizer_reduces_a_loss(name):
    torch.manual_seed(0)
    network, x = small(), torch.randn(8, 3, 3, 3)
    labels = torch.arange(8) % 2
    optimizer = build_optimizer(network, recipe("modern", optimizer=name, lr=0.01))
    losses = []
    for _ in range(20):
        set_learning_rate(optimizer, 0.01)
        loss = nn.functional.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_rate_drops_at_the_2012_epochs():
    settings = recipe("krizhevsky2012")
    rates = [learning_rate(settings, epoch) for epoch in (0, 24.9, 25, 50.9, 51, 78.9, 79, 90)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_cosine_decays_to_zero_after_warm_up():
    settings = dataclasses.replace(recipe("modern", epochs=20), warmup_epochs=4, lr=1.0)
    assert learning_rate(settings, 2.0) == pytest.approx(0.5, abs=1e-3)
    assert learning_rate(settings, 4.0) == pytest.approx(1.0)
    assert learning_rate(settings, 12.0) == pytest.approx(0.5)
    assert learning_rate(settings, 20.0) == pytest.approx(0.0)


def test_the_moving_average_follows_its_formula_and_copies_buffers():
    average, network = small(), small()
    before = average[0].weight.detach().clone()
    network[1].running_mean.fill_(3.0)
    update_average(average, network, 0.9, 1000)
    assert torch.allclose(average[0].weight, 0.9 * before + 0.1 * network[0].weight, atol=1e-6)
    assert torch.equal(average[1].running_mean, network[1].running_mean)
    update_average(average, network, 0.9, 0)  # the first step weighs the start by 1/10 only
    assert torch.allclose(average[3].bias, network[3].bias, atol=0.1)


def test_muon_uses_adamw_for_other_parameters():
    torch.manual_seed(0)
    ours, theirs = torch.nn.Parameter(torch.ones(5)), torch.nn.Parameter(torch.ones(5))
    muon = Muon([{"params": [ours], "weight_decay": 0.1}], lr=0.01)
    adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(7):
        ours.grad = torch.randn(5)
        theirs.grad = ours.grad.clone()
        muon.step()
        adamw.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_muon_updates_hidden_weights_by_its_formula():
    torch.manual_seed(0)
    network = small()
    optimizer = build_optimizer(network, recipe("modern", lr=0.1, weight_decay=0.5, momentum=0.0))
    set_learning_rate(optimizer, 0.1)
    hidden = [id(p) for group in optimizer.param_groups if group["hidden"] for p in group["params"]]
    assert hidden == [id(network[0].weight)]
    before = network[0].weight.detach().clone()
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    gradient = network[0].weight.grad.clone()
    optimizer.step()
    dtype = torch.bfloat16 if has_bfloat16(gradient.device) else torch.float32
    step = 0.1 * orthogonalize(gradient.flatten(1).to(dtype)).float().view(before.shape)
    assert torch.allclose(network[0].weight, (1 - 0.1 * 0.5) * before - step, atol=1e-6)


def test_muon_orthogonalizes_the_matrix_of_each_position_of_a_locally_connected_layer():
    torch.manual_seed(0)
    layer = LocallyConnected2d(2, 27, 3, size=2)  # 27 outputs x 18 inputs at each of four positions
    optimizer = Muon([{"params": [layer.weight], "weight_decay": 0.5, "hidden": True}], lr=0.1, momentum=0.0)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn_like(layer.weight) * torch.tensor([1.0, 1e-3, 1.0, 1e3])[:, None, None]
    optimizer.step()
    dtype = torch.bfloat16 if has_bfloat16(before.device) else torch.float32
    step = torch.stack([orthogonalize(gradient.to(dtype).T).T for gradient in layer.weight.grad]).float()
    expected = (1 - 0.1 * 0.5) * before - 0.1 * (27 / 18) ** 0.5 * step
    assert torch.allclose(layer.weight, expected, atol=0.01)
    assert torch.allclose(torch.linalg.matrix_norm(step, 2), torch.ones(4), atol=0.4)  # a small gradient steps as far


def test_muon_orthogonalizes_each_group_of_a_convolution_by_itself():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.Flatten(), nn.Linear(6, 2, bias=False))
    network = network.to(memory_format=torch.channels_last)
    weight = network[0].weight
    before = weight.detach().clone()
    optimizer = build_optimizer(network, recipe("modern", weight_decay=0.0, momentum=0.0))
    set_learning_rate(optimizer, 1.0)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    weight.grad[3:] = weight.grad[:3]  # equal gradients in both groups: orthogonal rows are orthogonal within a group
    optimizer.step()
    steps = (before - weight.detach()).flatten(1).view(2, 3, 18)
    torch.testing.assert_close(steps[0], steps[1], rtol=0, atol=1e-6)
    assert torch.allclose(steps @ steps.mT, torch.eye(3), atol=0.5)


@pytest.mark.parametrize(("shape", "towers"), [((6, 5), 1), ((6, 4, 3, 2), 1), ((6, 4, 3, 2), 2), ((7, 12, 5), 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_matrices_of_a_weight_are_its_outputs_by_its_inputs_and_come_back(shape, towers, layout):
    weight = torch.randn(shape)
    weight = weight.to(memory_format=layout) if len(shape) == 4 else weight
    matrices = as_matrices(weight, towers)
    rows = weight.mT if len(shape) == 3 else weight.flatten(1).view(towers, shape[0] // towers, -1)
    assert torch.equal(matrices.sort(-1).values, rows.sort(-1).values)  # the order of columns is that of memory
    back = from_matrices(matrices, weight)
    assert torch.equal(back, weight)
    assert back.stride() == weight.stride()


def test_muon_resumes_from_a_state_bit_for_bit():
    def made():
        torch.manual_seed(0)
        network = create("modern", 3, input_size=64).to(memory_format=torch.channels_last)
        return network, build_optimizer(network, recipe("modern"))

    def stepped(network, optimizer, first, last):
        for number in range(first, last):
            set_learning_rate(optimizer, 0.01)
            random = torch.Generator().manual_seed(number)
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=random)
            optimizer.step()

    (whole, unbroken), (halved, before), (resumed, after) = made(), made(), made()
    stepped(whole, unbroken, 0, 4)
    stepped(halved, before, 0, 2)
    resumed.load_state_dict(halved.state_dict())
    after.load_state_dict(before.state_dict())
    stepped(resumed, after, 2, 4)
    kept = {frozenset(state) for state in after.state.values()}
    assert kept == {frozenset({"momentum"}), frozenset({"step", "mean", "square"})}  # what checkpoints have always held
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, resumed.get_parameter(name)), name
