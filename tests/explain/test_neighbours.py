"""Neighbours are the nearest by Euclidean distance, without the image itself."""

import pytest
import torch

from alexnet.errors import DataError
from alexnet.explain.neighbours import nearest


def test_the_nearest_have_the_smallest_euclidean_distance() -> None:
    torch.manual_seed(0)
    queries, base = torch.randn(3, 20), torch.randn(50, 20)
    rows, distances = nearest(queries, base, 4)
    wanted = ((queries[:, None] - base[None]) ** 2).sum(2).sqrt()
    assert torch.equal(rows, wanted.argsort(1)[:, :4])
    assert torch.allclose(distances, wanted.sort(1).values[:, :4], atol=1e-5)


def test_an_image_is_not_its_own_neighbour() -> None:
    base = torch.arange(5.0)[:, None]
    rows, distances = nearest(base[[1, 4]], base, 9, own=[1, None])
    assert rows[0].tolist()[0] in (0, 2)
    assert 1 not in rows[0].tolist()[:4]
    assert (rows[1, 0], distances[1, 0]) == (4, 0)
    assert distances.isfinite().all()


def test_a_single_image_without_others_is_refused() -> None:
    with pytest.raises(DataError, match="no other images to compare with"):
        nearest(torch.ones(1, 3), torch.ones(1, 3), own=[0])
