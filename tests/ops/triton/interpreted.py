"""Run the Triton kernels in its interpreter: python interpreted.py, with TRITON_INTERPRET=1; prints errors as JSON.

The interpreter computes with NumPy what a GPU would, program by program: slowly, so that the maps are small. Errors are
those of output, gradient and gradient of the bias against float64, by its norm. Run by test_stages.py.
"""

import json

import torch
from torch import Tensor

from alexnet.ops import blocks, norm
from alexnet.ops.native import operators
from alexnet.ops.native.operators import Stage
from alexnet.ops.triton import launch
from alexnet.ops.triton import norm as kernels
from alexnet.ops.triton.blocks import blocks_of

LRN = {"size": 5, "alpha": 2e-5, "k": 1.0}
POOL = {"kernel": 3, "stride": 2, "ceil_mode": True}
EPS = 1e-5
WITHIN = {"within_size": 5, "within_alpha": 4e-5, "within_k": 1.0}
CASES = {  # name: operator, settings, shape, whether there is a bias
    "relu, lrn, pool": ("lrn_pool", Stage(relu=True, **LRN, **POOL), (2, 19, 7, 6), True),
    "lrn, pool, relu, two blocks": ("lrn_pool", Stage(relu_after=True, blocks=2, **LRN, **POOL), (1, 32, 5, 5), False),
    "ragged blocks": ("lrn_pool", Stage(blocks=2, **LRN, **POOL), (1, 22, 5, 5), True),
    "relu, pool, lrn": ("pool_lrn", Stage(relu=True, **LRN, **POOL), (1, 19, 7, 6), True),
    "padded pool": ("pool_lrn", Stage(kernel=3, stride=2, padding=1), (1, 9, 6, 5), False),
    "pool 2": ("pool_lrn", Stage(relu=True, kernel=2, stride=2), (1, 9, 5, 4), True),
    "pool with gaps": ("lrn_pool", Stage(**LRN, kernel=2, stride=3), (1, 9, 8, 7), False),
    "dense pool": ("pool_lrn", Stage(kernel=3, stride=1), (1, 9, 5, 4), False),
    "bias and relu": ("pool_lrn", Stage(relu=True, kernel=1), (1, 20, 3, 3), True),
    "lrn": ("lrn", Stage(**LRN), (1, 40, 2, 3), False),
    "even lrn": ("lrn", Stage(relu=True, size=4, alpha=2e-5, k=2.0), (1, 19, 2, 3), True),
    "wide lrn": ("lrn", Stage(size=9, alpha=2e-5, k=1.0), (1, 23, 2, 2), False),
    "within": ("lrn_within", Stage(relu=True, within_size=3, within_alpha=4e-5, within_k=1.0), (1, 9, 4, 5), True),
    "even within": ("lrn_within", Stage(within_size=4, within_alpha=4e-5, within_k=1.0), (1, 9, 5, 4), False),
    "relu, lrn, within": ("lrn_within", Stage(relu=True, blocks=2, **LRN, **WITHIN), (1, 32, 4, 4), True),
}

NORMS = {  # name: settings of what follows BatchNorm, shape, whether the moments are the batch's
    "norm, relu, padded pool": (Stage(relu=True, kernel=3, stride=2, padding=1), (2, 19, 5, 6), True),
    "norm, pool": (Stage(kernel=2, stride=2), (2, 9, 5, 4), True),
    "norm, relu, of vectors": (Stage(relu=True), (5, 20), True),
    "norm, relu, in evaluation": (Stage(relu=True), (2, 9, 3, 2), False),
}


def main() -> None:
    """All cases in float32, and in bfloat16 and float16 the first."""
    found = {f"{name}, float32": errors(*case, torch.float32) for name, case in CASES.items()}
    first = next(iter(CASES))
    for name in (first, "relu, pool, lrn", "relu, lrn, within"):
        found[f"{name}, bfloat16"] = errors(*CASES[name], torch.bfloat16)
    found[f"{first}, float16"] = errors(*CASES[first], torch.float16)
    found["images in blocks, float32"] = [blocks_error()]
    for name, case in NORMS.items():
        found[f"{name}, float32"] = norm_errors(*case, torch.float32)
    first = next(iter(NORMS))
    found[f"{first}, bfloat16"] = norm_errors(*NORMS[first], torch.bfloat16)
    print(json.dumps(found))


def errors(kernel: str, stage: Stage, shape: tuple[int, ...], biased: bool, dtype: torch.dtype) -> list[float]:
    """Of the output and of the gradients, each by the norm of the right one."""
    x, bias = drawn(shape, 100).to(dtype), drawn(shape[1:2], 30) if biased else None
    dy = drawn((*shape[:2], *map(stage.pooled, shape[2:])), 1, seed=1).to(dtype)
    found = launched(kernel, stage, x, bias, dy)
    exact = formula(kernel, stage, x.double(), None if bias is None else bias.double(), dy.double())
    return [relative(one, right) for one, right in zip(found, exact, strict=True)]


def blocks_error() -> float:
    """Of images in blocks: nothing is computed, so that they are equal."""
    x = drawn((2, 3, 13, 10), 1).contiguous(memory_format=torch.channels_last)
    right = blocks._gathered(x, 11, 4, 5)
    found = torch.full_like(right, torch.nan)
    blocks_of(x, found, 4, 5)
    return 0.0 if torch.equal(found, right) else float("inf")


def norm_errors(stage: Stage, shape: tuple[int, ...], batch: bool, dtype: torch.dtype) -> list[float]:
    """Of mean, variance and output, and of the gradients of input, weight and bias; values far from zero."""
    x = (drawn(shape, 2) + 10).to(dtype)
    weight, bias = drawn(shape[1:2], 0.2, 2) + 1, drawn(shape[1:2], 0.5, 3)
    pooled = [*map(stage.pooled, shape[2:])] if stage.kernel else shape[2:]
    dy = drawn((*shape[:2], *pooled), 1, seed=1).to(dtype)
    last = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    x, dy = x.contiguous(memory_format=last), dy.contiguous(memory_format=last)
    mean, variance = kernels.moments(x)
    inverse = (variance + EPS).rsqrt()
    held = [mean, inverse, weight, bias]
    y, dx = torch.full_like(dy, torch.nan), torch.full_like(x, torch.nan)
    winners = torch.full_like(y, 255, dtype=torch.uint8) if stage.kernel else y.new_empty(0, dtype=torch.uint8)
    kernels.forward_launch(x, held, y, winners, stage).run(x.device)
    found = [mean, variance, y, dx, *kernels.gradients(x, dy, winners, held, stage, batch, dx)]
    exact = norm_formula(x.double(), weight.double(), bias.double(), dy.double(), stage, batch)
    return [relative(one, right) for one, right in zip(found, exact, strict=True)]


def norm_formula(x: Tensor, weight: Tensor, bias: Tensor, dy: Tensor, stage: Stage, batch: bool) -> list[Tensor]:
    """By plain torch in float64."""
    dims = [dim for dim in range(x.ndim) if dim != 1]
    variance, mean = torch.var_mean(x, dims, correction=0)
    given = [each.requires_grad_() for each in (x, weight, bias)]
    pool = (stage.kernel, stage.stride, stage.padding, stage.ceil_mode)
    y = norm.plain(*given, mean, (variance + EPS).rsqrt(), EPS, batch, stage.relu, *pool)
    return [mean, variance, y.detach(), *torch.autograd.grad(y, given, dy)]


def drawn(shape: tuple[int, ...], scale: float, seed: int = 0) -> Tensor:
    """Normal numbers; as large as conv1's outputs for pixels in 0..255 the denominator is far from k."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def launched(kernel: str, stage: Stage, x: Tensor, bias: Tensor | None, dy: Tensor) -> list[Tensor]:
    """By the kernels; memory that they must fill holds NaN."""
    last = torch.channels_last
    x, dy = x.contiguous(memory_format=last), dy.contiguous(memory_format=last)
    y, dx = torch.full_like(dy, torch.nan), torch.full_like(x, torch.nan)
    winners = torch.full_like(y, 255, dtype=torch.uint8) if stage.pools else y.new_empty(0, dtype=torch.uint8)
    launch.forward(kernel, x, bias, stage, y, winners)
    sums = launch.backward(kernel, x, bias, dy, winners, stage, dx)
    return [y, dx, *([] if sums is None else [sums])]


def formula(kernel: str, stage: Stage, x: Tensor, bias: Tensor | None, dy: Tensor) -> list[Tensor]:
    """By plain torch in float64."""
    given = [each.requires_grad_() for each in (x, bias) if each is not None]
    y = operators.plain(kernel, x, stage, bias)
    return [y.detach(), *torch.autograd.grad(y, given, dy)]


def relative(found: Tensor, right: Tensor) -> float:
    """The norm of their difference by the norm of the right one."""
    return float((found.double() - right).norm() / right.norm())


if __name__ == "__main__":
    main()
