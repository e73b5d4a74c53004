"""A convolution in groups, computed without them, has the layer's values and gradients."""

import pytest
import torch
from torch import nn

from alexnet.ops.fusion import fused, kind_of
from alexnet.ops.towers import TowerConv, block_diagonal, in_towers

LAYERS = {  # input channels, outputs, window, stride, padding, groups, bias
    "conv2": (8, 12, 5, 1, 2, 2, False),
    "a stride and a bias": (6, 9, 3, 2, 1, 3, True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_are_those_of_the_layer(name):
    channels, outputs, kernel, stride, padding, groups, bias = LAYERS[name]
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=bias).double()
    x = torch.randn(2, channels, 11, 9, dtype=torch.float64, requires_grad=True)
    expected, found = layer(x), TowerConv(layer).dense(x)
    dy = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, [x, *layer.parameters()], dy)
    for one, other in zip(
        (found, *torch.autograd.grad(found, [x, *layer.parameters()], dy)), (expected, *wanted), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_weights_between_the_groups_are_zero():
    weight = torch.arange(1.0, 9).view(4, 2, 1, 1)
    assert block_diagonal(weight, 2)[:, :, 0, 0].tolist() == [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]


def test_a_layer_in_groups_is_called_so_unless_it_has_hooks():
    layer = nn.Conv2d(4, 4, 3, groups=2)
    assert in_towers(layer)
    assert not in_towers(nn.Conv2d(4, 4, 3))
    assert isinstance(next(fused([layer])), TowerConv)
    layer.register_forward_hook(lambda *_: None)
    assert kind_of(layer) is None


@pytest.mark.cuda
@pytest.mark.parametrize("name", LAYERS)
def test_on_a_gpu_the_values_are_the_processors(name):
    channels, outputs, kernel, stride, padding, groups, bias = LAYERS[name]
    layer = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=bias)
    x = torch.randn(2, channels, 11, 9)
    expected = layer(x)
    torch.testing.assert_close(TowerConv(layer.cuda())(x.cuda()).cpu(), expected, rtol=1e-2, atol=1e-2)
