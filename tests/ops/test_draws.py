"""The streams draw what NumPy's own generators draw, to the last bit, by every kernel and without one."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet.errors import UsageError
from alexnet.ops import native
from alexnet.ops.draws import Streams

Draw = tuple[Callable[[Streams], Tensor], Callable[[np.random.Generator], np.ndarray]]


def integers(high: int) -> Draw:
    return lambda streams: torch.tensor(streams.integers(high)), lambda stream: stream.integers(high)


def uniform(count: int) -> Draw:
    return lambda streams: streams.uniform(0, 1, count), lambda stream: stream.random(count, np.float32)


def normal(*shape: int) -> Draw:
    return lambda streams: streams.normal(*shape), lambda stream: stream.standard_normal(shape, np.float32)


def beta(a: float) -> Draw:
    return lambda streams: streams.beta(a), lambda stream: np.float32(stream.beta(a, a))


KEYS: Draw = (lambda streams: streams.keys(), lambda stream: stream.integers(-(2**63), 2**63, dtype=np.int64))
# 2^31 + 5 rejects half of all draws; 1 takes none; the smallest parameters of beta underflow.
DRAWS = [
    KEYS,
    *map(uniform, (1, 2, 3, 10)),
    *map(normal, (1, 3)),
    normal(2, 3),
    *map(integers, (1, 2, 33, 3_000_000_000, 2**31 + 5, 2**32 - 1)),
    *map(beta, (1.0, 0.4, 0.05, 0.001, 1e-5)),
]


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), np.uint64)


def numpys(given: np.ndarray) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.Philox(key=key)) for key in given]


def assert_equal(streams: Streams, expected: list[np.random.Generator], draw: Draw) -> None:
    ours, theirs = draw
    assert np.array_equal(ours(streams).numpy(), np.stack([theirs(stream) for stream in expected]))


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_draws_equals_numpys(instructions, seed):
    streams, expected = Streams(keys(16, seed)), numpys(keys(16, seed))
    for choice in np.random.default_rng(seed).integers(len(DRAWS), size=40):
        assert_equal(streams, expected, DRAWS[choice])


@pytest.mark.skipif(native.instruction_set() is None, reason="no kernels")
@pytest.mark.parametrize("before", range(9))
def test_numpy_takes_streams_over_where_the_kernel_left_them(before):
    """Beta above 1 has no kernel: NumPy draws it, and all that follows."""
    streams, expected = Streams(keys(5)), numpys(keys(5))
    for draw in (uniform(before), beta(0.3), beta(2.5), uniform(3), normal(2), KEYS, integers(9), beta(1e-200)):
        assert_equal(streams, expected, draw)


@pytest.mark.parametrize("first", ["auto", "off"])
def test_kernels_can_be_switched_between_two_draws(first):
    streams, expected = Streams(keys(5)), numpys(keys(5))
    for name, draw in zip([first, *(["off", "auto"] * 3)], DRAWS, strict=False):
        with native.using(name):
            assert_equal(streams, expected, draw)


def test_a_million_normal_numbers_equal_numpys(instructions):
    """About 10,000 of them lie at the edge of a layer, 300 in the tail."""
    assert_equal(Streams(keys(4)), numpys(keys(4)), normal(250_000))


@pytest.mark.parametrize("a", [0.2, 0.4, 1.0])
def test_beta_numbers_of_many_streams_equal_numpys(instructions, a):
    streams, expected = Streams(keys(50)), numpys(keys(50))
    drawn = torch.stack([streams.beta(a) for _ in range(400)], 1).numpy()
    assert np.array_equal(drawn, np.stack([stream.beta(a, a, 400) for stream in expected]).astype(np.float32))


def test_a_range_is_scaled_as_torch_scales_it(instructions):
    drawn = np.stack([stream.random(7, np.float32) for stream in numpys(keys(3))])
    assert torch.equal(Streams(keys(3)).uniform(0.6, 1.4, 7), torch.from_numpy(drawn).mul(1.4 - 0.6).add(0.6))


def test_a_stream_is_the_same_among_others(instructions):
    whole, part = Streams(keys(9)), Streams(keys(9)[3:5])
    for ours, _ in DRAWS:
        assert torch.equal(ours(whole)[3:5], ours(part))


def test_streams_of_different_keys_differ(instructions):
    drawn = Streams(np.array([[1, 1], [1, 2], [2, 1]], np.uint64)).keys().tolist()
    assert all(a != b for a, b in pairwise(sorted(drawn)))


def test_no_streams_give_no_numbers(instructions):
    none = Streams(keys(0))
    assert none.uniform(0, 1, 3).shape == (0, 3)
    assert none.normal(2, 2).shape == (0, 2, 2)
    assert none.integers(5) == []
    assert none.keys().shape == none.beta(0.5).shape == (0,)


@pytest.mark.parametrize("high", [0, -1, 2**32])
def test_bounds_that_cannot_be_drawn_below_are_refused(high):
    with pytest.raises(UsageError, match=f"integers below {high}; the bound must be at least 1"):
        Streams(keys(1)).integers(high)


@pytest.mark.parametrize("a", [0.0, -1.0, float("nan")])
def test_a_beta_distribution_needs_a_positive_parameter(a):
    with pytest.raises(UsageError, match="must be above 0"):
        Streams(keys(1)).beta(a)
