"""Fused layers compute the values and gradients of the separate layers."""

import pytest
import torch
from torch import nn

import alexnet
from alexnet.errors import UsageError
from alexnet.networks import list_networks
from alexnet.ops import LocalResponseNorm, blocks, native
from alexnet.ops.fusion import Fused, applied, fused

KERNELS = {
    "krizhevsky2012": ["lrn_pool", "lrn_within", "pool_lrn", "pool_lrn"],
    "paper": ["lrn_pool", "lrn_pool", "pool_lrn"],
    "bvlc": ["lrn_pool", "lrn_pool", "pool_lrn"],
    "caffenet": ["pool_lrn", "pool_lrn", "pool_lrn"],
    "one_weird_trick": ["pool_lrn", "pool_lrn", "pool_lrn"],
    "article": ["pool_lrn", "norm", "pool_lrn", "norm", "norm", "norm", "pool_lrn", "norm", "norm", "norm", "norm"],
    "modern": ["norm"] * 7,
    "cifar-80sec": ["pool_lrn"],
    "cifar-19pct": ["pool_lrn"],
    "cifar-18pct": ["pool_lrn", "lrn_within", "lrn_within"],
    "cifar-13pct": ["pool_lrn", "pool_lrn"],
    "cifar-11pct": ["pool_lrn", "lrn_pool"],
}


@pytest.mark.parametrize("name", list_networks())
def test_every_pool_and_lrn_of_a_published_network_is_fused(name: str) -> None:
    steps = list(fused(stage for _, stage in alexnet.create(name, 2).stages()))
    assert [step.kernel for step in steps if isinstance(step, Fused)] == KERNELS[name]
    assert not any(isinstance(step, (LocalResponseNorm, nn.MaxPool2d)) for step in steps)


@pytest.mark.parametrize("name", list_networks())
def test_networks_agree_with_and_without_kernels(name: str) -> None:
    torch.manual_seed(0)
    network = alexnet.create(name, 5).eval()
    images = torch.randn(2, 3, network.input_size, network.input_size) * 50

    def run(mode: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
        with native.using(mode):
            logits = network(images)
            return logits.detach(), list(torch.autograd.grad(logits.square().sum(), list(network.parameters())))

    (ours, gradients), (plain, expected) = run("auto"), run("off")
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5 * plain.abs().max().item())
    for one, other in zip(gradients, expected, strict=True):
        # Where two values of a pool's window differ by rounding alone, the gradient may take the other one's way.
        assert (one - other).norm() <= 1e-2 * other.norm()


@pytest.mark.parametrize("faster", [True, False])
@pytest.mark.parametrize("name", ["bvlc", "modern"])
def test_conv1_takes_its_gradient_over_blocks_where_that_is_faster(
    name: str, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "FASTER", faster)
    steps = list(fused(stage for _, stage in alexnet.create(name, 2).stages()))
    assert [type(step) for step in steps].count(blocks.ImageConv) == faster


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_whose_settings_are_read_once_give_the_same(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    steps = list(
        fused([nn.ReLU(), LocalResponseNorm(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(), nn.MaxPool2d(2)])
    )
    for step in steps:
        once = applied(step)
        assert once is not step
        for shape in ((2, 24, 9, 7), (1, 16, 5, 6), (2, 24, 9, 7), (0, 24, 9, 7)):
            x = torch.randn(shape, dtype=dtype)
            assert torch.equal(once(x), step(x))
        with native.using("off"):
            torch.testing.assert_close(once(x), step(x))
        with pytest.raises(UsageError, match="window"):
            once(torch.zeros(1, 16, 1, 1, dtype=dtype))


def test_layers_with_hooks_are_called() -> None:
    network = alexnet.create("bvlc", 2).eval()
    seen = []
    network.norm1.register_forward_hook(lambda *_: seen.append("norm1"))
    network(torch.zeros(1, 3, 63, 63))
    assert seen == ["norm1"]


@pytest.mark.parametrize(
    "layer",
    [
        LocalResponseNorm(beta=0.5),
        nn.MaxPool2d(3, dilation=2),
        nn.MaxPool2d((3, 2)),
        nn.MaxPool2d(3, return_indices=True),
        nn.LeakyReLU(),
    ],
)
def test_layers_with_unsupported_settings_are_not_fused(layer: nn.Module) -> None:
    assert list(fused([layer])) == [layer]


def test_exported_networks_contain_no_native_operator() -> None:
    network = alexnet.create("krizhevsky2012", 2, input_size=63).eval()
    program = torch.export.export(network, (torch.zeros(1, 3, 63, 63),))
    assert "alexnet" not in str(program.graph)


def test_torch_compile_accepts_a_network_as_one_graph() -> None:
    torch.manual_seed(0)
    network = alexnet.create("krizhevsky2012", 2, input_size=63).eval()
    images = torch.randn(2, 3, 63, 63) * 50
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), network(images))
