"""Packed convolutions give what the layers give, follow their weights, and stay out where they cannot compute."""

import pytest
import torch
from torch import nn

from alexnet.ops.packed import PackedConv, packed, takes


@pytest.mark.parametrize(
    ("stride", "padding", "groups", "bias"), [(1, 1, 1, True), (4, 2, 1, False), (1, (0, 2), 2, True)]
)
@pytest.mark.parametrize("relu", [False, True])
def test_a_packed_convolution_equals_its_layers(
    stride: int, padding: int | tuple[int, int], groups: int, bias: bool, relu: bool
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 8, 5, stride, padding, groups=groups, bias=bias).requires_grad_(False)
    layers = [("conv", conv), ("relu", nn.ReLU()), ("relu2", nn.ReLU())][: 3 if relu else 1]
    both = list(packed(layers))
    assert [name for name, _ in both] == [name for name, _ in layers]
    for height, width in ((23, 31), (9, 8)):
        x = torch.randn(2, 6, height, width)
        assert takes(x)
        wanted = found = x
        for (_, one), (_, other) in zip(layers, both, strict=True):
            wanted, found = one(wanted), other(found)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_weights_that_change_are_laid_out_anew() -> None:
    conv = nn.Conv2d(3, 4, 3).requires_grad_(False)
    layer, x = PackedConv(conv, relu=False), torch.randn(1, 3, 9, 9)
    before = layer(x)
    conv.weight.mul_(2)
    torch.testing.assert_close(layer(x), conv(x), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(layer(x), before)


def test_other_layers_and_their_order_stay() -> None:
    hooked = nn.Conv2d(3, 3, 3)
    hooked.register_forward_hook(lambda *_: None)
    layers = [nn.Conv2d(3, 3, 3, padding="same"), nn.ReLU(), hooked, nn.ReLU(), nn.MaxPool2d(2)]
    assert [layer for _, layer in packed(zip("abcde", layers, strict=True))] == layers


def test_where_gradients_or_other_types_are_asked_for_it_stays_out() -> None:
    x = torch.randn(1, 3, 9, 9)
    assert not takes(x.clone().requires_grad_())
    with torch.no_grad():
        assert takes(x.clone().requires_grad_())
    assert not takes(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not takes(x)
    inside = []
    torch.func.grad(lambda each: inside.append(takes(each)) or each.sum())(x)
    assert inside == [False]
