"""The weights that are computed with are the trained ones, rounded, and give the gradients that autocast gives."""

import torch
import torch.nn.functional as F

import alexnet
from alexnet.training.optimizer import Momentum, build_optimizer
from alexnet.training.recipes import recipe
from alexnet.training.working import WorkingWeights

CPU = torch.device("cpu")


def small(dtype=torch.bfloat16, **settings):
    torch.manual_seed(0)
    network = alexnet.create("modern", 5, input_size=64).eval().to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, recipe("modern", lr=0.01, **settings))
    return network, optimizer, WorkingWeights(network, CPU, dtype)


def loss_of(logits):
    return F.cross_entropy(logits, torch.tensor([0, 3]))


def test_logits_and_gradients_are_those_of_autocast():
    network, _, working = small()
    images = torch.randn(2, 3, 64, 64)
    logits = working.forward(images)
    working.backward(loss_of(logits))
    gradients = {name: weight.grad.float() for name, weight in network.named_parameters()}
    for weight in network.parameters():
        weight.grad, weight.grad_dtype = None, torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        expected = network(images).float()
    loss_of(expected).backward()
    assert torch.equal(logits, expected)
    for name, weight in network.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=2**-7, atol=1e-6)


def test_copies_equal_rounded_weights_after_every_step():
    for name in ("sgd", "velocity", "adam", "adamw", "muon"):
        _, optimizer, working = small(optimizer=name)
        working.attach(optimizer)
        assert optimizer.copies is working.copies
        before = {weight: copy.clone() for weight, copy in working.copies.items()}
        for _ in range(2):
            for group in optimizer.param_groups:
                group["lr"] = 0.01
            working.backward(loss_of(working.forward(torch.randn(2, 3, 64, 64))))
            working.step(optimizer)
        assert working.copies
        for weight, copy in working.copies.items():
            assert torch.equal(copy, weight.to(torch.bfloat16)), name
        assert any(not torch.equal(copy, before[weight]) for weight, copy in working.copies.items()), name


def test_in_float32_there_are_no_copies():
    network, optimizer, working = small(torch.float32, optimizer="sgd")
    images = torch.randn(2, 3, 64, 64)
    assert working.copies == {}
    assert isinstance(optimizer, Momentum)
    assert torch.equal(working.forward(images), network(images))
