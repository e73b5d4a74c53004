"""The shared layers equal torch's layers."""

import pytest
import torch

from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, gaussian_


@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 5), (6, 6), (6, 7), (7, 7), (12, 9), (13, 40)])
def test_adaptive_pooling_equals_torch(shape: tuple[int, int], size: int) -> None:
    x = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(AdaptiveAvgPool2d(size)(x), torch.nn.AdaptiveAvgPool2d(size)(x))


@pytest.mark.parametrize(("size", "rounding"), [(1, 2**-8), (6, 2**-7)])  # to one pixel it rounds once
def test_adaptive_pooling_in_bfloat16_is_accurate_to_its_precision(size: int, rounding: float) -> None:
    x = torch.rand(2, 3, 13, 13, generator=torch.Generator().manual_seed(0)).bfloat16()
    ours = AdaptiveAvgPool2d(size)(x)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), torch.nn.AdaptiveAvgPool2d(size)(x.double()), rtol=rounding, atol=0)


def test_enlarge_resizes_only_images_below_the_minimum() -> None:
    enlarge = Enlarge(least=215, size=224)
    enough = torch.rand(1, 3, 215, 300)
    assert enlarge(enough) is enough
    assert enlarge(torch.rand(1, 3, 300, 214)).shape == (1, 3, 224, 224)
    torch.testing.assert_close(enlarge(torch.full((1, 3, 63, 63), 0.5)), torch.full((1, 3, 224, 224), 0.5))


def test_gaussian_initialises_weights_and_an_optional_bias() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(500, 400)
    gaussian_(layer, std=0.03, bias=1)
    assert layer.weight.std().item() == pytest.approx(0.03, rel=0.01)
    assert (layer.bias == 1).all()
    gaussian_(torch.nn.Linear(5, 4, bias=False), std=0.03, bias=1)
