"""LRN equals the published formulas in every dtype, with correct gradients; invalid input is rejected."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.errors import UsageError
from alexnet.ops import LocalResponseNorm, local_response_norm

SHAPES = [(2, 7, 5, 6), (1, 1, 3, 3), (3, 96, 2, 1)]


def activations(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values as large as conv1's outputs for pixels in 0..255, so that the denominator is far from k."""
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 200])
def test_lrn_across_channels_equals_torch(shape: tuple[int, ...], size: int) -> None:
    x = activations(*shape)
    ours = local_response_norm(x, size=size, alpha=1e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(ours, torch.nn.LocalResponseNorm(size, alpha=1e-4, beta=0.75, k=2.0)(x))


def test_lrn_with_undivided_alpha_equals_the_papers_formula() -> None:
    x = activations(1, 8, 2, 2)
    n, count = 5, x.shape[1]
    expected = torch.empty_like(x)
    for i in range(count):  # section 3.3: j runs from max(0, i - n/2) to min(N - 1, i + n/2)
        neighbours = x[:, max(0, i - n // 2) : min(count - 1, i + n // 2) + 1]
        expected[:, i] = x[:, i] / (2 + 1e-4 * neighbours.square().sum(1)) ** 0.75
    torch.testing.assert_close(local_response_norm(x, alpha_over_size=False), expected)


def test_undivided_alpha_is_five_times_the_divided_one() -> None:
    x = activations(2, 16, 3, 3)
    torch.testing.assert_close(local_response_norm(x, alpha_over_size=False), local_response_norm(x, alpha=5e-4))
    assert not torch.allclose(local_response_norm(x, alpha_over_size=False), local_response_norm(x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_lrn_within_a_channel_equals_zero_padded_mean_pooling_of_squares(shape: tuple[int, ...], size: int) -> None:
    x = activations(*shape)
    mean = F.avg_pool2d(x.square(), size, stride=1, padding=size // 2, count_include_pad=True)
    ours = local_response_norm(x, size=size, alpha=1e-3, k=1.0, within_channel=True)
    torch.testing.assert_close(ours, x / (1 + 1e-3 * mean) ** 0.75)


def test_undivided_alpha_within_a_channel_multiplies_the_sum() -> None:
    x = activations(1, 2, 6, 6)
    undivided = local_response_norm(x, alpha=1e-3 / 25, alpha_over_size=False, within_channel=True)
    torch.testing.assert_close(undivided, local_response_norm(x, alpha=1e-3, within_channel=True))


def test_an_even_window_extends_one_further_back_than_ahead() -> None:
    pulse = torch.zeros(1, 1, 1, 7, dtype=torch.float64)
    pulse[..., 3] = 1000.0
    x = pulse + 1e-3
    touched = local_response_norm(x, size=4, k=1.0, within_channel=True) / x < 0.9
    assert touched[0, 0, 0].tolist() == [False, False, True, True, True, True, False]


@pytest.mark.parametrize("within_channel", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8), (torch.float64, 0)])
def test_dtype_is_preserved_and_accurate_to_its_precision(
    dtype: torch.dtype, tolerance: float, within_channel: bool
) -> None:
    x = activations(2, 12, 6, 5, dtype=dtype)
    ours = local_response_norm(x, within_channel=within_channel)
    assert ours.dtype == dtype
    exact = local_response_norm(x.double(), within_channel=within_channel)
    torch.testing.assert_close(ours.double(), exact, rtol=tolerance, atol=0)


@pytest.mark.parametrize("within_channel", [False, True])
@pytest.mark.parametrize("alpha_over_size", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 2, 4, 3)])
def test_gradients_equal_finite_differences(
    shape: tuple[int, ...], size: int, alpha_over_size: bool, within_channel: bool
) -> None:
    # alpha=.3 for values near 1: the neighbours contribute as much to each derivative as the value itself.
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)

    def normalize(x: Tensor) -> Tensor:
        return local_response_norm(x, size, 0.3, 0.75, 1.0, alpha_over_size, within_channel)

    assert torch.autograd.gradcheck(normalize, (x,))


def test_alpha_per_square_is_alpha_over_the_window() -> None:
    assert LocalResponseNorm(5, 1e-4).alpha_per_square == pytest.approx(2e-5)
    assert LocalResponseNorm(5, 1e-3, within_channel=True).alpha_per_square == pytest.approx(4e-5)
    assert LocalResponseNorm(5, 1e-4, alpha_over_size=False).alpha_per_square == 1e-4


def test_groups_are_normalised_separately() -> None:
    x = activations(2, 12, 3, 3)
    together = torch.cat([local_response_norm(x[:, :6]), local_response_norm(x[:, 6:])], dim=1)
    torch.testing.assert_close(LocalResponseNorm(groups=2)(x), together)
    assert not torch.allclose(LocalResponseNorm(groups=1)(x), together)


@pytest.mark.parametrize("layer", [LocalResponseNorm(groups=2), LocalResponseNorm(within_channel=True)])
def test_memory_format_is_preserved(layer: LocalResponseNorm) -> None:
    x = activations(2, 12, 5, 4, dtype=torch.float32)
    last = x.to(memory_format=torch.channels_last)
    assert layer(last).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(last), layer(x))


def test_unsupported_input_is_rejected_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"torch\.uint8.*x\.float"):
        local_response_norm(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(UsageError, match=r"\(3,\).*\(N, C, \.\.\.\)"):
        local_response_norm(torch.zeros(3))
    with pytest.raises(UsageError, match=r"ndarray.*torch\.as_tensor"):
        local_response_norm(np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(UsageError, match=r"\(3, 4, 4\).*\(N, C, H, W\)"):
        local_response_norm(torch.zeros(3, 4, 4), within_channel=True)
    with pytest.raises(UsageError, match=r"7 channels.*groups=2"):
        LocalResponseNorm(groups=2)(torch.zeros(1, 7, 4, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size=0; it takes a whole number from 1"),
        ({"size": 5.0}, r"size=5\.0; it takes a whole number"),
        ({"size": "5"}, "size='5'; it takes a whole number"),
        ({"size": True}, "size=True; it takes a whole number"),
        ({"alpha": "1e-4"}, "alpha='1e-4'; it takes a number"),
        ({"beta": None}, "beta=None; it takes a number"),
        ({"k": torch.tensor(2.0)}, r"k=tensor\(2\.\); it takes a number"),
    ],
)
def test_invalid_settings_are_rejected_by_function_and_module(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        local_response_norm(torch.zeros(1, 3, 4, 4), **settings)
    with pytest.raises(UsageError, match=message):
        LocalResponseNorm(**settings)


@pytest.mark.parametrize("groups", [0, 2.0, True])
def test_invalid_groups_are_rejected(groups: Any) -> None:
    with pytest.raises(UsageError, match=r"groups=.*it takes a whole number from 1"):
        LocalResponseNorm(groups=groups)


def test_size_may_be_a_numpy_integer() -> None:
    x = activations(1, 8, 3, 3, dtype=torch.float32)
    assert torch.equal(local_response_norm(x, size=np.int64(3)), local_response_norm(x, size=3))
