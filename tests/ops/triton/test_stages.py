"""The Triton kernels equal the formula in float64, and compile for a GPU that is not here as they must to be fast."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import alexnet
from alexnet.device import kind_of, standing_for
from alexnet.ops import LocalResponseNorm, triton
from alexnet.ops.fusion import Convolved, fused
from alexnet.ops.native import operators
from alexnet.ops.native.operators import Stage

INTERPRETED = Path(__file__).with_name("interpreted.py")
LIMITS = {"float32": 1e-5, "bfloat16": 5e-3, "float16": 1e-3}
LRN = {"size": 5, "alpha": 2e-5, "k": 1.0}
POOL = {"kernel": 3, "stride": 2, "ceil_mode": True}
STAGE = Stage(relu=True, **LRN, **POOL)
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@pytest.mark.slow
@needs_triton
def test_kernels_equal_the_formula_in_float64() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, INTERPRETED], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    wrong = {name: errors for name, errors in found.items() if not max(errors) <= LIMITS[name.rpartition(", ")[2]]}
    assert wrong == {}
    assert len(found) >= 24


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("name", ["bvlc, after conv1", "bvlc, after conv2", "caffenet, after conv1"])
def test_kernels_for_an_h100_spill_nothing_and_load_16_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from alexnet.ops.triton.compiled import launches, report
    from alexnet.ops.triton.published import STAGES

    kernel, stage, (channels, side) = STAGES[name]
    reports = [report(launch) for launch in launches(kernel, stage, channels, side)]
    assert reports[0].name == "forward"
    for each in reports:
        assert each.spilled == 0, each
        assert each.registers <= 128, each
        assert each.widest == 16, each


def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def test_takes_what_a_gpu_computes_and_nothing_else() -> None:
    x = meta(1, 96, 5, 5)
    assert not triton.takes(x, STAGE)
    with standing_for("cuda"):
        assert kind_of(x) == "cuda"
        assert triton.takes(x, STAGE)
        assert not triton.takes(meta(1, 513, 5, 5), STAGE)
        assert not triton.takes(meta(1, 96, 5, 5, dtype=torch.float64), STAGE)
        assert not triton.takes(x, Stage(size=11, alpha=1.0))
        assert not triton.takes(x, Stage(kernel=8))
        with triton.without():
            assert not triton.takes(x, STAGE)
    assert not triton.takes(torch.zeros(1, 96, 5, 5), STAGE)


def test_a_gpu_keeps_one_byte_a_pooled_value_for_the_backward_pass_alone() -> None:
    x = meta(2, 96, 11, 11)
    for stands_for, keep, size in (("cuda", True, 2 * 96 * 25), ("cuda", False, 0), ("cpu", True, 0)):
        with standing_for(stands_for):
            y, winners = torch.ops.alexnet.lrn_pool(x, None, *vars(STAGE).values(), keep)
        assert y.shape == (2, 96, 5, 5)
        assert (winners.dtype, winners.numel()) == (torch.uint8, size)


def layers() -> list[nn.Module]:
    return [nn.Conv2d(3, 16, 3), nn.ReLU(), LocalResponseNorm(), nn.MaxPool2d(3, 2)]


def test_on_a_gpu_a_stage_takes_the_bias_of_the_convolution_before_it() -> None:
    with standing_for("cuda"):
        (step,) = fused(layer.to("meta") for layer in layers())
        assert isinstance(step, Convolved)
        assert step(meta(2, 3, 9, 9, dtype=torch.float32)).shape == (2, 16, 3, 3)
        (step,) = fused(layer.to("meta") for layer in layers()[:2])
        assert isinstance(step, Convolved)
        assert len(list(fused(layer.to("meta") for layer in (nn.Conv2d(3, 16, 3, bias=False), nn.ReLU())))) == 2
    assert not any(isinstance(step, Convolved) for step in fused(layers()))


def test_a_convolution_with_its_stage_gives_what_the_layers_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor's own operators, which take a bias too."""
    torch.manual_seed(0)
    own = layers()
    (step,) = _as_on_gpu(own, monkeypatch)
    assert isinstance(step, Convolved)
    x = torch.randn(2, 3, 9, 9) * 50
    expected = nn.Sequential(*own)(x)
    right = torch.autograd.grad(expected.square().sum(), list(own[0].parameters()))
    y = step(x)
    torch.testing.assert_close(y, expected)
    for one, other in zip(torch.autograd.grad(y.square().sum(), list(own[0].parameters())), right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def _as_on_gpu(own: list[nn.Module], monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setattr("alexnet.ops.fusion.device_of", lambda _: "cuda")
    monkeypatch.setattr("alexnet.ops.triton.usable", lambda _: True)
    return list(fused(own))


def test_bias_has_the_formulas_derivatives_of_both_orders() -> None:
    x, bias = torch.randn(2, 16, 7, 7) * 50, torch.randn(16)

    def derivatives(function: object, *given: Tensor) -> list[Tensor]:
        given = tuple(each.clone().requires_grad_() for each in given)
        y = function(*given)  # type: ignore[operator]
        first = torch.autograd.grad(y.square().sum(), given, create_graph=True)
        return [*first, *torch.autograd.grad(sum(each.square().sum() for each in first), given)]

    found = derivatives(lambda a, b: operators.apply("lrn_pool", a, STAGE, b), x, bias)
    right = derivatives(lambda a, b: operators.plain("lrn_pool", a, STAGE, b), x.double(), bias.double())
    for one, other in zip(found, right, strict=True):
        assert (one.double() - other).norm() <= 1e-5 * other.norm()


def test_a_bias_of_another_size_is_refused() -> None:
    with pytest.raises(alexnet.errors.UsageError, match=r"bias \(3,\) for 16 channels"):
        operators.apply("lrn_pool", torch.zeros(1, 16, 7, 7), STAGE, torch.zeros(3))


def test_what_is_missing_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    triton._usable.cache_clear()
    with pytest.warns(UserWarning, match="pip install triton"):
        assert not triton.usable(torch.device("cuda", 0))
    assert not triton.usable(torch.device("cuda", 0))  # warnings are errors here
    triton._usable.cache_clear()


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_kernels_equal_the_formula_in_float64(dtype: torch.dtype) -> None:
    from alexnet.ops.triton.published import STAGES
    from device_parts.kernels import LIMITS as ON_GPU
    from device_parts.kernels import errors

    for kernel, stage, (channels, _) in STAGES.values():
        assert max(errors(kernel, stage, (channels, 13), dtype, "cuda", images=2)) <= ON_GPU[dtype]
