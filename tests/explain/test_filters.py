"""Filters are grouped by tower, with the fraction of their energy in colour."""

import pytest
import torch

from alexnet.explain.filters import color_share, figure, towers
from alexnet.networks import create
from alexnet.networks.layers import Network


def test_color_share_is_zero_for_gray_and_one_for_opposed_colours() -> None:
    gray = torch.randn(5, 1, 3, 3).expand(-1, 3, -1, -1)
    opposed = torch.cat([gray[:, :1], -gray[:, :1], 0 * gray[:, :1]], 1)
    assert color_share(gray) == pytest.approx(0, abs=1e-6)
    assert color_share(opposed) == pytest.approx(1, abs=1e-6)
    assert color_share(torch.zeros(1, 3, 2, 2)) == 0


@pytest.mark.parametrize(("name", "count"), [("krizhevsky2012", 2), ("bvlc", 2), ("modern", 2), ("one_weird_trick", 1)])
def test_towers_are_the_groups_of_the_second_convolution(name: str, count: int) -> None:
    with torch.device("meta"):
        assert towers(create(name)) == count


def test_a_block_of_filters_feeds_one_tower(tiny: Network) -> None:
    titles = [axes.get_title() for axes in figure(tiny).axes]
    assert [title.split(";")[0] for title in titles] == ["tower 1: filters 0 to 3", "tower 2: filters 4 to 7"]
    # The second tower of conv2 does not change when the first block of filters does.
    image = torch.randn(1, 3, 64, 64)
    tiny.eval()
    before = tiny(image, return_maps=True)[1]["conv2"].detach()
    with torch.no_grad():
        tiny.conv1.weight[:4] = 0
    after = tiny(image, return_maps=True)[1]["conv2"].detach()
    assert torch.equal(before[:, 6:], after[:, 6:])
    assert not torch.equal(before[:, :6], after[:, :6])
