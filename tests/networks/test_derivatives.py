"""Networks with native kernels have the derivatives of plain torch, of any order and in any mode."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.ops import native


@pytest.fixture(params=["cifar-18pct", "cifar-11pct"], scope="module")  # LRN within maps; LRN between channels
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    network = create(request.param, 3, input_size=9).eval()
    for parameter in network.parameters():
        parameter.data.normal_(std=0.1)
    return network


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(1)) * 50


def penalty_gradients(network: Network, x: Tensor) -> list[Tensor]:
    """Gradients of the squared gradient of the images by the weights."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
    weights = [value for name, value in network.named_parameters() if "conv" in name and name.endswith("weight")]
    return list(torch.autograd.grad(slope.square().sum(), weights))


def assert_near(ours: list[Tensor], plain: list[Tensor], tolerance: float = 1e-4) -> None:
    for one, other in zip(ours, plain, strict=True):
        assert other.norm() > 0
        assert (one.double() - other.double()).norm() <= tolerance * other.norm()


def with_and_without(compute: Callable[[], list[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    found = compute()
    with native.using("off"):
        return found, compute()


def test_double_backward_matches_plain_torch(network: Network) -> None:
    assert_near(*with_and_without(lambda: penalty_gradients(network, images())))


def test_double_backward_in_bfloat16_approximates_float32(network: Network) -> None:
    exact = penalty_gradients(network, images())
    half = penalty_gradients(create_like(network).bfloat16(), images().bfloat16())
    assert_near(half, exact, 0.5)  # eight bits of a mantissa through some ten layers, four times


def create_like(network: Network) -> Network:
    copy = create(network.name, 3, input_size=9).eval()
    copy.load_state_dict(network.state_dict())
    return copy


def test_torch_func_grad_and_jacrev_match_autograd(network: Network) -> None:
    x = images(1)
    (expected,) = torch.autograd.grad(network(x.requires_grad_())[0, 0], x)
    x = x.detach()
    assert_near([torch.func.grad(lambda x: network(x)[0, 0])(x)], [expected])
    assert_near([torch.func.jacrev(network)(x)[0, 0]], [expected])


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, at the first dual tensor
def test_forward_mode_matches_the_jacobian(network: Network) -> None:
    x, direction = images(1), images(2)[1:]
    _, along = torch.func.jvp(network, (x,), (direction,))
    jacobian = torch.func.jacrev(network)(x)
    assert_near([along], [(jacobian[:, :, 0] * direction).sum((-3, -2, -1))])
    with torch.autograd.forward_ad.dual_level():
        dual = network(torch.autograd.forward_ad.make_dual(x, direction))
        assert_near([torch.autograd.forward_ad.unpack_dual(dual).tangent], [along])


def test_vmapped_per_sample_gradients_match_a_loop(network: Network) -> None:
    weights = {name: value.detach() for name, value in network.named_parameters()}

    def loss(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(network, weights, image[None])
        return logits.square().sum()

    batched = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, images())
    for place, image in enumerate(images()):
        single = torch.autograd.grad(network(image[None]).square().sum(), list(network.parameters()))
        assert_near([batched[name][place] for name, _ in network.named_parameters()], list(single))
