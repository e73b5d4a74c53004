"""Optimiser steps equal torch.optim and the published formulas, for every instruction set and dtype."""

import pytest
import torch
from torch import Tensor

from alexnet.ops.update import RULES, adam_step, average_step, momentum_step, move_step

SHAPES = [(1,), (17,), (1000, 133), (8, 5, 3, 3), (0,)]


def made(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, gradient, copy; maps of convolutions lie channels last, as they do in training."""
    random = torch.Generator().manual_seed(0)
    w = torch.randn(shape, generator=random)
    w = w.to(memory_format=torch.channels_last) if w.ndim == 4 else w
    return w, torch.randn(shape, generator=random).to(dtype), torch.empty_like(w, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_momentum_step_equals_torch_sgd_and_the_2012_velocity(instructions, rule, shape, dtype):
    w, g, copy = made(shape, dtype)
    m, theirs = torch.zeros_like(w), torch.nn.Parameter(w.clone())
    sgd = torch.optim.SGD([theirs], 0.1, 0.9, weight_decay=0.01, nesterov=rule == "nesterov")
    velocity, expected = torch.zeros_like(w), w.clone()
    for _ in range(3):
        momentum_step(w, m, g, copy, rule, 0.1, 0.9, 0.01)
        theirs.grad = g.float()
        sgd.step()
        velocity = 0.9 * velocity - 0.1 * (g.float() + 0.01 * expected)
        expected = expected + velocity
    torch.testing.assert_close(w, expected if rule == "velocity" else theirs.detach(), rtol=1e-5, atol=1e-6)
    assert torch.equal(copy, w.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_step_equals_torch(instructions, decoupled, shape, dtype):
    w, g, copy = made(shape, dtype)
    m, s, theirs = torch.zeros_like(w), torch.zeros_like(w), torch.nn.Parameter(w.clone())
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    adam = kind([theirs], 0.01, (0.9, 0.99), 1e-6, weight_decay=0.1)
    for step in (1, 2, 3):
        adam_step(w, m, s, g, copy, step, 0.01, (0.9, 0.99), 1e-6, 0.1, decoupled)
        theirs.grad = g.float()
        adam.step()
    torch.testing.assert_close(w, theirs.detach(), rtol=1e-5, atol=1e-6)
    assert torch.equal(copy, w.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_average_step_looks_ahead_of_the_mean_by_its_formula(instructions, shape, dtype):
    m, g, _ = made(shape, dtype)
    mean = 0.9 * m.double() + 0.1 * g.double()
    ahead = average_step(m, g, 0.9)
    torch.testing.assert_close(m.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ahead, (0.9 * mean + 0.1 * g.double()).to(dtype))
    assert ahead.stride() == m.stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("copied", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_move_step_shrinks_and_moves_and_updates_the_copy(instructions, shape, copied, dtype):
    w, d, _ = made(shape, dtype)
    copy = None if copied is None else torch.empty_like(w, dtype=copied)
    expected = 0.75 * w.double() - 0.1 * d.double()
    move_step(w, d, copy, rate=0.1, shrink=0.75)
    torch.testing.assert_close(w.double(), expected, rtol=1e-5, atol=1e-6)
    assert copy is None or torch.equal(copy, w.to(copied))


def test_result_is_bit_identical_for_any_thread_count():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            w, g, copy = made((1000, 133), torch.bfloat16)
            momentum_step(w, torch.ones_like(w), g, copy, "nesterov", 0.1, 0.9, 0.01)
            found.append(w)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(w, found[0]) for w in found)


def test_state_with_other_strides_is_rejected():
    w, g, _ = made((8, 5, 3, 3), torch.float32)
    with pytest.raises(ValueError, match="differ in strides"):
        momentum_step(w, torch.zeros(8, 5, 3, 3), g, None, "sgd", 0.1, 0.9, 0.0)
