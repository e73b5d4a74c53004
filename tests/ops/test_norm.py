"""BatchNorm, ReLU and max-pool in one operator equal torch's layers: values, gradients, running statistics."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.errors import UsageError
from alexnet.ops import native, norm
from alexnet.ops.fusion import Fused, fused
from alexnet.ops.native.operators import Stage

needs_kernels = pytest.mark.skipif(native.instruction_set() is None, reason="the native kernels are not built")

CASES: dict[str, list[nn.Module]] = {
    "alone": [],
    "relu": [nn.ReLU()],
    "relu, padded pool": [nn.ReLU(), nn.MaxPool2d(3, 2, 1)],
    "pool, relu": [nn.MaxPool2d(2, 2), nn.ReLU()],
    "pool with gaps": [nn.ReLU(), nn.MaxPool2d(2, 3, ceil_mode=True)],
    "dense pool": [nn.ReLU(), nn.MaxPool2d(5, 1, 2)],
}
SHAPES = [(2, 38, 13, 14), (3, 2, 5, 3), (3, 70, 17, 15)]  # the last in several parts


def made(
    channels: int, then: list[nn.Module], kind: type[nn.Module] = nn.BatchNorm2d, zero: bool = True
) -> list[nn.Module]:
    """The layers, with weights of either sign, if `zero` one that is zero, and running statistics of some data."""
    torch.manual_seed(1)
    layer = kind(channels)
    with torch.no_grad():
        layer.weight.normal_()
        layer.weight[0] *= not zero
        layer.bias.normal_()
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2)
    return [layer, *then]


def outcome(layers: list[nn.Module], x: Tensor, fuse: bool) -> tuple[Tensor, ...]:
    """Output, gradients of x, weight and bias for a fixed random weighting, and running statistics afterwards."""
    layers = [copy.deepcopy(layer) for layer in layers]
    if x.dtype == torch.float64:
        layers = [layer.double() for layer in layers]
    x = y = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    for step in fused(layers) if fuse else layers:
        y = step(y)
    weighting = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).bfloat16()
    gradients = torch.autograd.grad(y, [x, layers[0].weight, layers[0].bias], weighting.to(y.dtype))
    return y.detach(), *gradients, layers[0].running_mean, layers[0].running_var, layers[0].num_batches_tracked


def distinct(*shape: int, seed: int = 0) -> Tensor:
    """Values far from zero mean, bfloat16 numbers, hardly two of a window equal."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1).bfloat16().float()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_float32_matches_float64_layers(instructions, case, shape, training) -> None:
    layers = [layer.train(training) for layer in made(shape[1], CASES[case])]
    x = distinct(*shape)
    ours, expected = outcome(layers, x, fuse=True), outcome(layers, x.double(), fuse=False)
    for one, other in zip(ours, expected, strict=True):
        scale = other.double().abs().max().item()
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-5, atol=4e-6 * scale)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("zero", [True, False])  # whether a weight is zero: otherwise bits are compared, as integers
@pytest.mark.parametrize("case", CASES)
def test_bfloat16_rounds_the_exact_result_once(instructions, case, zero, training) -> None:
    if native.instruction_set() is None:
        pytest.skip("plain torch rounds after each layer")
    x = distinct(2, 38, 13, 14).to(torch.bfloat16, memory_format=torch.channels_last)
    layers = [layer.train(training) for layer in made(38, CASES[case], zero=zero)]
    ours, expected = outcome(layers, x, fuse=True), outcome(layers, x.double(), fuse=False)
    assert ours[0].dtype == ours[1].dtype == torch.bfloat16
    assert ours[2].dtype == torch.float32
    for one, other, share in zip(ours[:4], expected, (2**-8, 2**-8, 1e-5, 1e-5), strict=False):
        torch.testing.assert_close(one.double(), other, rtol=share, atol=share / 16 * other.abs().max().item())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("then", [[], [nn.ReLU()]])
def test_vectors_match_float64_layers(instructions, then, training) -> None:
    layers = [layer.train(training) for layer in made(70, then, nn.BatchNorm1d)]
    x = distinct(37, 70)
    for one, other in zip(outcome(layers, x, fuse=True), outcome(layers, x.double(), fuse=False), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-5, atol=4e-6 * other.abs().max().item())


@pytest.mark.parametrize("momentum", [0.1, 0.01, None])
def test_running_statistics_follow_as_in_torch(momentum) -> None:
    one, other = nn.BatchNorm2d(5, momentum=momentum), nn.BatchNorm2d(5, momentum=momentum)
    for seed in range(3):
        x = distinct(2, 5, 4, 3, seed=seed)
        next(fused([one]))(x)
        other(x)
    assert one.num_batches_tracked == 3
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-6, atol=1e-7)


@needs_kernels
def test_layers_in_evaluation_mode_keep_their_statistics() -> None:
    layer = made(5, [])[0].eval()
    before = copy.deepcopy(layer.state_dict())
    next(fused([layer]))(distinct(2, 5, 4, 3))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@needs_kernels
@pytest.mark.parametrize("channels", [3, 64])
def test_variance_survives_a_mean_a_hundred_thousand_times_larger(channels) -> None:
    x = torch.randn(4, channels, 65, 65, generator=torch.Generator().manual_seed(0)) - 1e5
    mean, variance = torch.ops.alexnet.norm_moments(x)
    exact, wanted = torch.var_mean(x.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(variance.double(), exact, rtol=1e-4, atol=0)
    torch.testing.assert_close(mean.double(), wanted, rtol=1e-7, atol=1e-7)


@needs_kernels
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_result_is_bit_identical_for_any_thread_count(case, dtype) -> None:
    before, found = torch.get_num_threads(), []
    x = distinct(5, 38, 23, 21).to(dtype)
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found.append(outcome(made(38, CASES[case]), x, fuse=True))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for each in found[1:] for one, other in zip(found[0], each, strict=True))


def test_ties_in_a_pool_send_the_gradient_to_the_first(instructions) -> None:
    layers = made(5, [nn.ReLU(), nn.MaxPool2d(3, 2)])
    nn.init.ones_(layers[0].bias)
    x = distinct(2, 5, 9, 9).round() / 4  # few different values
    for one, other in zip(outcome(layers, x, fuse=True), outcome(layers, x.double(), fuse=False), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", ["relu", "relu, padded pool"])
def test_nan_and_infinity_propagate_as_in_torch(instructions, case, training, dtype) -> None:
    layers = [layer.train(training) for layer in made(70, CASES[case], zero=False)]
    x = distinct(1, 70, 9, 9).to(dtype)
    x[0, 1, 2, 2], x[0, 2, 4, 4], x[0, 3, 7, 7], x[0, 4, 1, 1] = (
        torch.nan,
        torch.inf,
        -torch.inf,
        -torch.tensor(torch.nan),
    )
    ours, expected = outcome(layers, x, fuse=True)[0], outcome(layers, x, fuse=False)[0]
    assert ours.isnan().any()
    assert torch.equal(ours.isnan(), expected.isnan())
    rounding = 1e-5 if dtype == torch.float32 else 2**-7
    torch.testing.assert_close(ours, expected, equal_nan=True, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("then", [(False, 0, 1, 0, False), (True, 3, 2, 1, False)])
def test_the_twin_in_plain_torch_passes_gradcheck(then, batch) -> None:
    x = distinct(2, 3, 5, 4).double().requires_grad_()
    weight, bias, mean = (torch.randn(3, dtype=torch.float64) for _ in range(3))
    held = (weight.requires_grad_(), bias.requires_grad_(), mean, torch.rand(3, dtype=torch.float64) + 0.5)
    assert torch.autograd.gradcheck(lambda x, w, b: norm.plain(x, w, b, *held[2:], 1e-5, batch, *then), (x, *held[:2]))


@needs_kernels
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", ["relu", "relu, padded pool"])
def test_double_backward_matches_float64_layers(case, training) -> None:
    layers = [layer.train(training) for layer in made(7, CASES[case])]

    def second(layers: list[nn.Module], x: Tensor, fuse: bool) -> tuple[Tensor, ...]:
        x = y = x.clone().requires_grad_()
        for step in fused(layers) if fuse else layers:
            y = step(y)
        (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        direction = distinct(*x.shape, seed=3).to(x.dtype)
        return torch.autograd.grad((dx * direction).sum(), [x, layers[0].weight, layers[0].bias])

    x = distinct(2, 7, 6, 5)
    ours = second(copy.deepcopy(layers), x, fuse=True)
    expected = second([copy.deepcopy(layer).double() for layer in layers], x.double(), fuse=False)
    for one, other in zip(ours, expected, strict=True):
        assert (one.double() - other).norm() <= 1e-4 * other.norm()


@needs_kernels
def test_torch_compile_keeps_the_operator_in_one_graph() -> None:
    (layers,) = [[layer.eval() for layer in made(7, CASES["relu, padded pool"])]]
    step = next(fused(layers))
    x = distinct(2, 7, 6, 5)
    compiled = torch.compile(lambda x: step(x), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), nn.Sequential(*layers)(x))


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.BatchNorm3d(4),
        nn.GroupNorm(2, 4),
    ],
)
def test_other_normalisations_are_not_replaced(layer) -> None:
    assert list(fused([layer])) == [layer]


def test_layers_that_the_kernels_do_not_take_compute_as_in_torch() -> None:
    x = distinct(2, 4, 20, 20)
    for layers, inputs in (
        ([nn.BatchNorm2d(4).double()], x.double()),
        ([nn.BatchNorm2d(4).bfloat16()], x.bfloat16()),
        ([nn.BatchNorm2d(4), nn.MaxPool2d(17, 1)], x),
        ([nn.BatchNorm1d(4)], x.flatten(2)),
    ):
        (step,) = fused(layers)
        assert isinstance(step, Fused)
        assert torch.equal(step(inputs), nn.Sequential(*layers)(inputs))


def test_one_value_a_channel_is_refused_in_training_as_in_torch() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        next(fused([nn.BatchNorm2d(4)]))(torch.zeros(1, 4, 1, 1))
    assert torch.equal(next(fused([nn.BatchNorm2d(4).eval()]))(torch.zeros(1, 4, 1, 1)), torch.zeros(1, 4, 1, 1))


@needs_kernels
@pytest.mark.parametrize(
    ("x", "channels", "stage", "message"),
    [
        (torch.zeros(2, 4, 3, 3, dtype=torch.float64), 4, Stage(), r"float64 \(2, 4, 3, 3\).*float32 or bfloat16"),
        (torch.zeros(2, 4, 3), 4, Stage(), r"\(2, 4, 3\).*\(N, C\)"),
        (torch.zeros(2, 4, 3, 3), 5, Stage(), r"\(5,\).* for 4 channels"),
        (torch.zeros(2, 4, 3, 3), 4, Stage(kernel=16), "windows of 1 to 15"),
        (torch.zeros(2, 4, 3, 3), 4, Stage(kernel=3, padding=2), "at most half"),
        (torch.zeros(2, 4, 2, 2), 4, Stage(kernel=3), r"\(2, 2\).*window of 3"),
    ],
)
def test_unsupported_input_is_rejected(x, channels, stage, message) -> None:
    held = [torch.ones(channels)] * 4
    with pytest.raises(UsageError, match=message):
        torch.ops.alexnet.norm(x, *held, 1e-5, False, False, stage.kernel, stage.stride, stage.padding, False)


@needs_kernels
def test_nothing_but_a_byte_a_pooled_value_is_kept_beside_the_input() -> None:
    x = distinct(2, 7, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    held: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: held.append(each) or each, lambda each: each):
        y = next(fused(made(7, CASES["relu, padded pool"])))(x)
    sizes = sorted((each.numel() * each.element_size() for each in held), reverse=True)
    assert sizes[:2] == [4 * x.numel(), y.numel()]
    assert sum(sizes[2:]) == 4 * 4 * 7


def test_the_pool_of_the_twin_equals_torchs() -> None:
    x, ones, zeros = distinct(2, 3, 7, 7), torch.ones(3), torch.zeros(3)
    found = norm.plain(x, ones, zeros, zeros, ones, 1e-5, False, True, 3, 2, 1, False)
    assert torch.equal(found, F.max_pool2d(x.relu(), 3, 2, 1))
