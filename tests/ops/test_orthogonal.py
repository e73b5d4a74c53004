"""Orthogonalized matrices have their singular vectors, and singular values of about 1."""

from functools import cache

import pytest
import torch
from torch import Tensor

from alexnet.ops.orthogonal import STEPS, orthogonalize

SHAPES = [(8, 8), (12, 40), (40, 12), (24, 30), (386, 390), (386, 600)]  # the last two in blocks of columns


@cache
def made(shape: tuple[int, ...], condition: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """float64 (U, s, V', U s V') with singular values from 1 down to 1 / condition."""
    random = torch.Generator().manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(shape, generator=random, dtype=torch.float64), full_matrices=False)
    s = torch.logspace(0, -torch.tensor(condition).log10().item(), len(s), dtype=torch.float64)
    return u, s, v, u * s @ v


def passed(s: Tensor) -> Tensor:
    """What becomes of singular values, one by one: Newton-Schulz in plain arithmetic."""
    s = s / (s**4).sum() ** (1 / 4)
    for a, b, c in STEPS:
        s = a * s + b * s**3 + c * s**5
    return s


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_polynomials_of_the_singular_values(shape):
    u, s, v, matrix = made(shape, 1000)
    torch.testing.assert_close(orthogonalize(matrix), u * passed(s) @ v, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_as_good_as_float64(shape):
    u, s, v, matrix = made(shape, 1000)
    torch.testing.assert_close(orthogonalize(matrix.float()), (u * passed(s) @ v).float(), rtol=0, atol=2e-2)


@pytest.mark.parametrize("condition", [1, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_bfloat16_singular_values_are_evened_and_vectors_kept(shape, condition):
    u, _, v, matrix = made(shape, condition)
    ours = orthogonalize(matrix.bfloat16()).double()
    values = torch.linalg.svdvals(ours)
    assert values.min() > 0.6
    assert values.max() < 1.5
    assert ((u.T @ ours @ v.T).diagonal() > 0.6).all()
    assert (u.T @ ours @ v.T).diagonal().sum() > 0.95 * ours.norm() * len(values) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [2.0**-50, 2.0**-26, 2.0**26, 2.0**50])
def test_the_size_of_a_matrix_does_not_matter(size, dtype):
    matrix = torch.randn(16, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    torch.testing.assert_close(orthogonalize(matrix * size), orthogonalize(matrix), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16, 16), (16, 40), (40, 16)])
def test_nothing_comes_of_zeros_and_a_single_row_becomes_its_direction(shape, dtype):
    assert torch.equal(orthogonalize(torch.zeros(shape, dtype=dtype)), torch.zeros(shape, dtype=dtype))
    row = torch.zeros(shape, dtype=dtype)
    row[3] = 7.0
    found = orthogonalize(row).float()
    assert 0.6 < found.norm() < 1.5
    assert found[3].norm() == pytest.approx(found.norm().item(), rel=1e-2)


@pytest.mark.parametrize("shape", [(3, 12, 30), (2, 130, 140)])
def test_a_stack_of_matrices_is_orthogonalized_one_by_one(shape):
    stack = (
        torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, 3, shape[0])[:, None, None]
    )
    each = torch.stack([orthogonalize(matrix) for matrix in stack])
    torch.testing.assert_close(orthogonalize(stack), each, rtol=0, atol=1e-4)
    torch.testing.assert_close(orthogonalize(stack.mT), each.mT, rtol=0, atol=1e-4)
