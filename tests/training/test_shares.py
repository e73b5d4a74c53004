"""Tensors of which each of several processes keeps a share, without any exchange."""

import pytest
import torch
from torch import nn

from alexnet.processes.shards import ends_of_parts
from alexnet.processes.together import Together
from alexnet.training.shares import Shares, balanced, muon_cost


def tensors() -> list[nn.Parameter]:
    made = [torch.arange(24.0).view(2, 3, 2, 2).contiguous(memory_format=torch.channels_last), torch.arange(7.0)]
    return [nn.Parameter(each) for each in made]


@pytest.mark.parametrize("cost", [None, muon_cost])
def test_pieces_cover_every_value_once(cost) -> None:
    covered = torch.zeros(2, 31)
    for rank in range(4):
        whole = tensors()
        before = [each.detach().clone() for each in whole]
        shares = Shares(whole, Together(rank, 4), torch.float32, cost=None if cost is None else lambda e: cost(e, True))
        assert all(torch.equal(mine, was) for mine, was in zip(whole, before, strict=True))
        for piece in shares.pieces:
            offset = 24 * piece.index + piece.start
            covered[piece.index, offset : offset + piece.values.numel()] += 1
            assert torch.equal(piece.of(before[piece.index]), piece.values)  # channels last, too
            piece.values.data += 100  # reaches the tensor itself
            assert float(whole[piece.index].detach().max()) >= 100
    assert torch.equal(covered.sum(0), torch.ones(31))


def test_equal_shares_cut_tensors_and_whole_ones_do_not() -> None:
    cut = Shares(tensors(), Together(0, 2), torch.float32)
    assert [piece.values.numel() for piece in cut.pieces] == [16]
    owned = [Shares(tensors(), Together(rank, 2), torch.float32, cost=lambda each: each.numel()) for rank in range(2)]
    assert [[piece.values.numel() for piece in shares.pieces] for shares in owned] == [[24], [7]]


def test_the_costliest_is_given_first_to_whoever_has_least() -> None:
    assert balanced([1, 7, 5, 3, 2], 2) == [1, 0, 1, 1, 0]
    assert balanced([4.0], 3) == [0]


def test_muons_cost_is_that_of_its_matrices() -> None:
    weight = torch.empty(256, 48, 5, 5)
    assert muon_cost(weight, hidden=True) == weight.numel() * (32 + 2 * 256)
    assert muon_cost(weight, hidden=True, towers=2) == weight.numel() * (32 + 2 * 128)
    assert muon_cost(torch.empty(49, 75, 64), hidden=True) == 49 * 75 * 64 * (32 + 2 * 64)
    assert muon_cost(weight, hidden=False) == weight.numel() * 32


def test_parts_are_of_whole_batches() -> None:
    assert ends_of_parts(1000, 64, 4) == [0, 256, 512, 768, 1000]
    assert ends_of_parts(10, 64, 4) == [0, 0, 0, 0, 10]
    assert ends_of_parts(0, 64, 2) == [0, 0, 0]
