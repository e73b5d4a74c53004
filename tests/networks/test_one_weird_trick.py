"""one_weird_trick equals torchvision's AlexNet."""

import pytest
import torch
import torchvision

from alexnet.networks import create


@pytest.fixture(scope="module")
def pair() -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet(weights=None, num_classes=10).eval()
    ours = create("one_weird_trick", num_classes=10).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("shape", [(63, 63), (64, 64), (127, 127), (224, 224), (256, 256), (299, 180)])
def test_torchvision_state_dict_loads_strictly_with_equal_outputs(
    shape: tuple[int, int], pair: tuple[torch.nn.Module, torch.nn.Module]
) -> None:
    ours, theirs = pair
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-7)


def test_gradient_penalty_equals_torchvision(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    """The penalty of WGAN-GP (Gulrajani et al. 2017), whose gradient differentiates the network's gradient."""
    x = torch.randn(2, 3, 63, 63, generator=torch.Generator().manual_seed(1))

    def gradients(network: torch.nn.Module) -> list[torch.Tensor]:
        images = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        weights = [parameter for name, parameter in network.named_parameters() if name.endswith("weight")]
        return list(torch.autograd.grad(penalty, weights))

    for mine, other in zip(*map(gradients, pair), strict=True):
        assert other.norm() > 0
        assert (mine - other).norm() <= 1e-4 * other.norm()


def test_dropout_equals_torchvision(
    pair: tuple[torch.nn.Module, torch.nn.Module],
) -> None:
    ours, theirs = (network.train() for network in pair)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.manual_seed(2)
        expected = theirs(x)
        torch.manual_seed(2)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-7)
    ours.eval(), theirs.eval()


def test_mean_and_std_equal_torchvision(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    transform = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    assert pair[0].mean == pytest.approx([255 * value for value in transform.mean])
    assert pair[0].std == pytest.approx([255 * value for value in transform.std])
