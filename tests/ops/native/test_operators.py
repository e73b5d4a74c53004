"""The kernels equal the layers that they replace, forward and backward, for every instruction set."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from alexnet.errors import UsageError
from alexnet.ops import native, reference
from alexnet.ops.native import operators
from alexnet.ops.native.builder import instruction_sets
from alexnet.ops.native.operators import Stage

Function = Callable[[Tensor], Tensor]
LAST = torch.channels_last


def lrn(size: int = 5, blocks: int = 1, alpha: float = 2e-5, k: float = 1.0) -> Function:
    return lambda x: torch.cat([reference.lrn(part, size, alpha, 0.75, k, False) for part in x.chunk(blocks, 1)], 1)


def within(size: int = 5) -> Function:
    return lambda x: reference.lrn(x, size, 4e-5, 0.75, 1.0, True)


def pool(kernel: int = 3, stride: int = 2, padding: int = 0, ceil_mode: bool = True) -> Function:
    return lambda x: F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil_mode)


def chain(*functions: Function) -> Function:
    def composed(x: Tensor) -> Tensor:
        for function in functions:
            x = function(x)
        return x

    return composed


LRN = {"size": 5, "alpha": 2e-5, "k": 1.0}
WITHIN = {"within_size": 5, "within_alpha": 4e-5, "within_k": 1.0}
POOL = {"kernel": 3, "stride": 2, "ceil_mode": True}
CASES = {  # name: (kernel, its settings, the same in plain torch)
    "relu, lrn, pool": ("lrn_pool", Stage(relu=True, **LRN, **POOL), chain(F.relu, lrn(), pool())),
    "lrn, pool, relu": ("lrn_pool", Stage(relu_after=True, blocks=2, **LRN, **POOL), chain(lrn(5, 2), pool(), F.relu)),
    "relu, pool, lrn": ("pool_lrn", Stage(relu=True, **LRN, **POOL), chain(F.relu, pool(), lrn())),
    "pool": ("pool_lrn", Stage(**POOL), pool()),
    "padded pool": ("pool_lrn", Stage(relu=True, kernel=3, stride=2, padding=1), chain(F.relu, pool(3, 2, 1, False))),
    "pool 2": ("pool_lrn", Stage(relu=True, kernel=2, stride=2), chain(F.relu, pool(2, 2, 0, False))),
    "pool with gaps": ("lrn_pool", Stage(**LRN, kernel=2, stride=3), chain(lrn(), pool(2, 3, 0, False))),
    "lrn": ("lrn", Stage(**LRN), lrn()),
    "relu, even lrn": ("lrn", Stage(relu=True, size=4, alpha=2e-5, k=2.0), chain(F.relu, lrn(4, k=2.0))),
    "lrn of one": ("lrn", Stage(size=1, alpha=2e-5, k=2.0), lrn(1, k=2.0)),
    "lrn wider than the channels": ("lrn", Stage(size=101, alpha=2e-5, k=1.0), lrn(101)),
    "within": ("lrn_within", Stage(**WITHIN), within()),
    "even within": ("lrn_within", Stage(**{**WITHIN, "within_size": 4}), within(4)),
    "within wider than the map": ("lrn_within", Stage(**{**WITHIN, "within_size": 31}), within(31)),
    "relu, lrn, within": (
        "lrn_within",
        Stage(relu=True, blocks=2, **LRN, **WITHIN),
        chain(F.relu, lrn(5, 2), within()),
    ),
}
SHAPES = [(2, 38, 13, 14), (1, 96, 7, 9), (3, 2, 5, 3), (1, 16, 3, 3), (2, 66, 4, 11)]


def usable() -> list[str]:
    """The instruction sets that this CPU supports."""
    names = list(instruction_sets())
    return names[names.index(native.instruction_set() or "portable") :]


@pytest.fixture(params=list(instruction_sets()))
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param not in usable():
        pytest.skip(f"this processor lacks {request.param}")
    with native.using(request.param):
        yield request.param


def activations(*shape: int, seed: int = 0) -> Tensor:
    """Values as large as conv1's outputs for pixels in 0..255, so that the denominator is far from k."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 100


def values(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """function(x), and the gradient of its product with a fixed random weighting."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x)
    weighting = activations(*y.shape, seed=1).to(y.dtype)
    return y.detach(), torch.autograd.grad(y, x, weighting)[0]


def test_library_is_built() -> None:
    assert native.instruction_set() is not None, "the kernels are not built: python -m alexnet.ops.native"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_float32_kernels_match_float64_layers(case: str, shape: tuple[int, ...], instructions: str) -> None:
    kernel, stage, layers = CASES[case]
    x = activations(*shape).to(memory_format=LAST)
    y, dx = values(lambda x: operators.apply(kernel, x, stage), x)
    expected, gradient = values(layers, x.double())
    assert y.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(y.double(), expected, rtol=2e-6, atol=1e-6 * expected.abs().max().item())
    torch.testing.assert_close(dx.double(), gradient, rtol=2e-6, atol=1e-6 * gradient.abs().max().item())


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_kernels_round_the_exact_result_once(case: str, instructions: str) -> None:
    kernel, stage, layers = CASES[case]
    x = activations(2, 38, 13, 14).bfloat16().to(memory_format=LAST)
    y, dx = values(lambda x: operators.apply(kernel, x, stage), x)
    expected, gradient = values(layers, x.double())  # x is the same, and so are the maxima that the pool selects
    assert y.dtype == dx.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), expected, rtol=2**-8, atol=0)
    torch.testing.assert_close(dx.double(), gradient, rtol=2**-7, atol=2**-8 * gradient.abs().max().item())


def second_derivatives(function: Function, x: Tensor) -> tuple[Tensor, ...]:
    """The gradient dx with create_graph=True, and the gradients of <dx, direction> by the input and the weighting."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x)
    weighting = activations(*y.shape, seed=1).to(y.dtype).requires_grad_()
    (dx,) = torch.autograd.grad(y, x, weighting, create_graph=True)
    direction = activations(*x.shape, seed=2).to(x.dtype)
    return dx.detach(), *torch.autograd.grad(dx, (x, weighting), direction, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("case", CASES)
def test_double_backward_matches_float64_layers(
    case: str, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    kernel, stage, layers = CASES[case]
    x = activations(*shape).to(dtype, memory_format=LAST)
    ours = second_derivatives(lambda x: operators.apply(kernel, x, stage), x)
    for one, other in zip(ours, second_derivatives(layers, x.double()), strict=True):
        assert one.dtype == dtype
        assert (one.double() - other).norm() <= tolerance * other.norm()


def test_create_graph_changes_first_derivatives_by_rounding_only() -> None:
    kernel, stage, _ = CASES["relu, lrn, pool"]
    x = activations(2, 38, 13, 14)
    _, dx = values(lambda x: operators.apply(kernel, x, stage), x)
    recorded, *_ = second_derivatives(lambda x: operators.apply(kernel, x, stage), x)
    torch.testing.assert_close(recorded, dx, rtol=2e-6, atol=1e-4)


def test_batched_gradients_match_a_loop() -> None:
    kernel, stage, _ = CASES["relu, lrn, pool"]
    x = activations(1, 38, 5, 5).requires_grad_()
    y = operators.apply(kernel, x, stage)
    weightings = torch.stack([activations(*y.shape, seed=seed) for seed in (1, 2)])
    (batched,) = torch.autograd.grad(y, x, weightings, is_grads_batched=True, retain_graph=True)
    single = [torch.autograd.grad(y, x, weighting, retain_graph=True)[0] for weighting in weightings]
    torch.testing.assert_close(batched, torch.stack(single), rtol=2e-6, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_result_is_bit_identical_for_any_thread_count(case: str, dtype: torch.dtype) -> None:
    kernel, stage, _ = CASES[case]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found.append(values(lambda x: operators.apply(kernel, x, stage), activations(3, 38, 13, 14).to(dtype)))
    finally:
        torch.set_num_threads(before)
    for y, dx in found[1:]:
        assert torch.equal(y, found[0][0])
        assert torch.equal(dx, found[0][1])


@pytest.mark.parametrize("case", CASES)
def test_nan_and_infinity_propagate_as_in_torch(case: str, instructions: str) -> None:
    kernel, stage, layers = CASES[case]
    x = activations(1, 38, 9, 9)
    x[0, 3, 2, 2], x[0, 20, 4, 4], x[0, 30, 7, 7], x[0, 10, 6, 1] = torch.nan, torch.inf, -torch.inf, 1e30
    ours, expected = operators.apply(kernel, x, stage), layers(x)
    assert torch.equal(ours.isnan(), expected.isnan())
    torch.testing.assert_close(ours, expected, equal_nan=True, rtol=1e-5, atol=1e-3)


def test_ties_in_a_pool_send_the_gradient_to_the_first(instructions: str) -> None:
    x = torch.ones(1, 5, 6, 6)
    stage = Stage(kernel=3, stride=2)
    _, ours = values(lambda x: operators.apply("pool_lrn", x, stage), x)
    _, expected = values(pool(ceil_mode=False), x)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("case", CASES)
def test_empty_batches_are_accepted(case: str) -> None:
    kernel, stage, layers = CASES[case]
    x = torch.zeros(0, 38, 13, 14)
    y, dx = values(lambda x: operators.apply(kernel, x, stage), x)
    assert y.shape == layers(x).shape
    assert dx.shape == x.shape


@pytest.mark.parametrize("length", range(1, 12))
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (3, 2), (3, 3), (2, 5)])
def test_pooled_sizes_match_torch(length: int, padding: int, ceil_mode: bool, kernel: int, stride: int) -> None:
    stage = Stage(kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    if length + 2 * padding < kernel:
        assert stage.pooled(length) < 1 or ceil_mode
        return
    expected = F.max_pool2d(torch.zeros(1, 1, length, length), kernel, stride, padding, ceil_mode=ceil_mode)
    assert stage.pooled(length) == expected.shape[-1]


def test_torch_compile_keeps_the_operators_in_one_graph() -> None:
    kernel, stage, layers = CASES["relu, lrn, pool"]
    compiled = torch.compile(lambda x: operators.apply(kernel, x, stage), fullgraph=True, backend="aot_eager")
    x = activations(2, 38, 13, 14)
    torch.testing.assert_close(compiled(x), layers(x))


@pytest.mark.parametrize(
    ("kernel", "shape", "stage", "message"),
    [
        ("lrn", (1, 7, 3, 3), Stage(blocks=2, size=5), r"7 channels.*blocks=2"),
        ("lrn", (1, 7, 3), Stage(size=5), r"\(1, 7, 3\).*\(N, C, H, W\)"),
        ("lrn", (1, 7, 3, 3), Stage(), "size=0"),
        ("lrn_pool", (1, 7, 3, 3), Stage(size=5), "kernel=0"),
        ("pool_lrn", (1, 7, 2, 2), Stage(kernel=3, stride=2), r"\(2, 2\).*window of 3"),
        ("pool_lrn", (1, 7, 9, 9), Stage(kernel=3, padding=2), "at most half"),
    ],
)
def test_unsupported_input_is_rejected(kernel: str, shape: tuple[int, ...], stage: Stage, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        operators.apply(kernel, torch.zeros(shape), stage)


def test_takes_rejects_other_dtypes_and_devices() -> None:
    assert operators.takes(torch.zeros(1, 1, 1, 1))
    assert not operators.takes(torch.zeros(1, 1, 1, 1, dtype=torch.float64))
    assert not operators.takes(torch.zeros(1, 1, 1, 1, dtype=torch.float16))
    assert not operators.takes(torch.zeros(1, 1, 1, 1, device="meta"))
    with native.using("off"):
        assert not operators.takes(torch.zeros(1, 1, 1, 1))


def test_takes_rejects_torch_func_and_forward_mode() -> None:
    taken = torch.func.vmap(lambda x: torch.tensor(operators.takes(x)) | (x[0, 0, 0, 0] > 0))
    assert not taken(torch.zeros(2, 1, 1, 1, 1)).any()
    with forward_ad.dual_level():
        assert not operators.takes(torch.zeros(1, 1, 1, 1))
    assert operators.takes(torch.zeros(1, 1, 1, 1))
