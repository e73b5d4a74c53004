"""The auto-encoder of one layer: its code, its decoder and its export into the network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.networks import create
from alexnet.pretraining.autoencoder import AutoEncoder, constant_error, maxima
from alexnet.pretraining.cut import Layer, cut


def layer_of(name: str, number: int, size: int = 67) -> tuple[Layer, torch.Tensor]:
    """A layer of a fresh network and some of its inputs."""
    torch.manual_seed(0)
    layer = cut(create(name, 2, size).eval())[number]
    with torch.no_grad():
        return layer, layer.inputs(torch.randn(3, 3, size, size) * 50)


def test_only_the_maximum_of_each_window_is_kept():
    code = torch.rand(2, 3, 6, 8)
    kept = maxima(code, nn.MaxPool2d(2, return_indices=True))
    assert torch.equal(F.max_pool2d(kept, 2), F.max_pool2d(code, 2))
    assert (kept > 0).sum() == code.numel() / 4
    assert torch.equal(kept[kept > 0], code[kept > 0])


def test_a_maximum_of_any_overlapping_window_is_kept():
    code = torch.rand(2, 3, 7, 7)
    pool = nn.MaxPool2d(3, stride=2, return_indices=True)
    assert torch.equal(pool(maxima(code, pool))[0], pool(code)[0])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("name", "number"), [("modern", 0), ("modern", 3), ("bvlc", 0), ("bvlc", 1), ("caffenet", 1)])
def test_reconstructions_have_the_size_of_the_inputs_for_any_stride_and_groups(name, number, tied):
    layer, probe = layer_of(name, number)
    coder = AutoEncoder(layer, probe, 0.3, tied)
    x = coder.prepare(probe)
    assert coder.reconstruct(x).shape == x.shape
    coder.train()
    coder(x)[0].backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in coder.parameters())


def test_a_tied_decoder_is_the_transpose_of_the_convolution():
    layer, probe = layer_of("bvlc", 1)
    coder = AutoEncoder(layer, probe, 0.0, tied=True)
    nn.init.zeros_(coder.shift)
    x = torch.randn_like(probe)
    code = torch.randn_like(layer.conv(probe))
    filtered = F.conv2d(x, coder.conv.weight, None, layer.conv.stride, layer.conv.padding, groups=layer.conv.groups)
    one, two = (filtered * code).sum(), (x * coder.decode(code, x.shape[2:])).sum()
    assert one.item() == pytest.approx(two.item(), rel=1e-3)


def test_noise_is_seeded_and_absent_in_evaluation():
    layer, probe = layer_of("modern", 0)
    coder = AutoEncoder(layer, probe, 0.5, tied=True)
    x = coder.prepare(probe)

    def error(seed: int) -> float:
        torch.manual_seed(seed)
        return coder(x)[1].item()

    coder.train()
    assert error(1) == error(1) != error(2)
    coder.eval()
    assert error(1) == error(2)


def test_training_reduces_the_error_below_a_constant_prediction():
    layer, _ = layer_of("modern", 0)
    smooth = F.interpolate(torch.randn(8, 3, 9, 9), size=67, mode="bilinear") * 50 + 20
    coder = AutoEncoder(layer, smooth, 0.3, tied=True).train()
    x = coder.prepare(smooth)
    optimizer = torch.optim.Adam(coder.parameters(), 3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        coder(x)[0].backward()
        optimizer.step()
    assert coder.eval()(x)[1] < 0.7 * constant_error(x, coder.mean)


@pytest.mark.parametrize("name", ["bvlc", "modern"])
def test_exported_weights_give_the_same_code_at_the_initial_scale(name):
    layer, probe = layer_of(name, 0)
    plain = F.conv2d(probe, layer.conv.weight, None, layer.conv.stride, layer.conv.padding)
    coder = AutoEncoder(layer, probe, 0.3, tied=True)
    nn.init.normal_(coder.conv.weight)
    if coder.conv.bias is not None:
        nn.init.normal_(coder.conv.bias)
    coder.export(layer, probe)
    after = F.conv2d(probe, layer.conv.weight, None, layer.conv.stride, layer.conv.padding)
    assert after.square().mean().item() == pytest.approx(plain.square().mean().item(), rel=1e-3)
    mine, network = coder.conv(coder.prepare(probe)), layer.conv(probe)
    scale = (network.square().mean() / mine.square().mean()).sqrt()
    assert torch.allclose(network, mine * scale, atol=1e-3 * network.abs().max().item())
