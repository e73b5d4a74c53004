"""BatchNorm [-> ReLU] [-> max-pool] as one operator with its gradients (Ioffe and Szegedy 2015, section 3).

PyTorch passes over the map in each of these layers, and twice more in BatchNorm; in a network without LRN they take a
quarter of a training step. The kernels, of `native/norm.cpp` on processors and of `triton/norm.py` on GPUs,
read the map twice forward, for its mean and variance and for the output, and twice backward. They keep the input, the
mean, one over the deviation, and of a pool one byte a value: which pixel of its window won.

N images, C channels, H x W pixels; vectors (N, C) count as maps of one pixel.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.errors import UsageError
from alexnet.ops import native, triton
from alexnet.ops.native import operators
from alexnet.ops.native.operators import Stage

WIDEST = 15
"""Side of the largest pool's window: the index of a winner fits a byte below 255."""


def fits(layer: nn.Module) -> bool:
    """Whether the layer is a BatchNorm with weights and running statistics, as `BatchNorm2d` makes it by default."""
    if not isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d) or type(layer) not in (nn.BatchNorm2d, nn.BatchNorm1d):
        return False  # a subclass may compute something else
    return layer.affine and layer.running_mean is not None


def takes(x: Tensor, layer: nn.BatchNorm1d | nn.BatchNorm2d, stage: Stage) -> bool:
    """Whether kernels compute these of `x` (N, C, H, W) or (N, C); if not, plain torch does, or complains."""
    held = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    dims = 4 if type(layer) is nn.BatchNorm2d else 2
    return (
        (operators.takes(x, dims) or triton.takes(x, stage, dims))
        and x.dtype in native.TYPES
        and stage.kernel <= WIDEST
        and all(isinstance(each, Tensor) and each.dtype == torch.float32 and each.device == x.device for each in held)
        and x.shape[1] == layer.num_features
        and x.numel() > x.shape[1]  # of one value there is no variance
    )


def apply(layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, stage: Stage) -> Tensor:
    """The layer's output for x, then `stage`'s ReLU and pool, in x's dtype; running statistics follow in training.

    x: float32 or bfloat16 (N, C, H, W) or (N, C), for which `takes` is true.
    """
    weight, bias, mean, variance = layer.weight, layer.bias, layer.running_mean, layer.running_var
    direct = operators.unwatched(x)
    if layer.training:
        moments = _functions[x.device.type][0] if direct else torch.ops.alexnet.norm_moments
        mean, variance = moments(x.detach())
        follow(layer, mean, variance, x.numel() // x.shape[1])
    assert variance is not None  # `takes` saw to it
    inverse = (variance + layer.eps).rsqrt()
    settings = (layer.eps, layer.training, stage.relu or stage.relu_after, *_pool_of(stage))
    y: Tensor
    if direct and torch.is_grad_enabled():
        y = _Directly.apply(x, weight, bias, mean, inverse, *settings)
    else:
        forward = _functions[x.device.type][1] if direct else torch.ops.alexnet.norm
        y, _ = forward(x, weight, bias, mean, inverse, *settings)
    return y


@torch.no_grad()
def follow(layer: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics towards a batch's, of `count` values a channel: the variance is the unbiased one."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.mul_(1 - share).add_(mean, alpha=share)
    layer.running_var.mul_(1 - share).add_(variance, alpha=share * count / (count - 1))


def plain(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, eps: float, batch: bool, *then: Any
) -> Tensor:
    """The operator's output in plain torch, rounded once to x's type, differentiable any number of times.

    batch: mean and deviation are those of x, taken anew. then: relu, kernel, stride, padding, ceil_mode.
    """
    relu, kernel, stride, padding, ceil_mode = then
    a = x if x.dtype == torch.float64 else x.float()
    if batch:
        dims = [dim for dim in range(x.ndim) if dim != 1]
        variance, mean = torch.var_mean(a, dims, correction=0)
        inverse = (variance + eps).rsqrt()
    mean, slope, bias = (each.view(-1, *[1] * (x.ndim - 2)) for each in (mean, weight * inverse, bias))
    a = (a - mean) * slope + bias
    a = F.relu(a) if relu else a
    return (F.max_pool2d(a, kernel, stride, padding, ceil_mode=ceil_mode) if kernel else a).to(x.dtype)


def _pool_of(stage: Stage) -> tuple[int, int, int, bool]:
    return stage.kernel, stage.stride, stage.padding, stage.ceil_mode


class _Norm(ctypes.Structure):
    """`struct Norm` of norm.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "channels")),
        *((name, ctypes.c_int64) for name in ("pooled_height", "pooled_width", "kernel", "stride", "padding")),
        *((name, ctypes.c_int32) for name in ("relu", "batch", "threads")),
    )


def _call(direction: str, batch: bool, stage: Stage, x: Tensor, *others: Tensor) -> None:
    height, width = x.shape[2:] if x.ndim == 4 else (1, 1)
    job = _Norm(
        images=x.shape[0],
        height=height,
        width=width,
        channels=x.shape[1],
        pooled_height=stage.pooled(height),
        pooled_width=stage.pooled(width),
        kernel=stage.kernel,
        stride=stage.stride,
        padding=stage.padding,
        relu=stage.relu,
        batch=batch,
        threads=torch.get_num_threads(),
    )
    native.call(f"norm_{direction}_{native.TYPES[x.dtype]}", ctypes.byref(job), x, *others)


def _check(x: Tensor, stage: Stage, *held: Tensor) -> None:
    """UsageError for unsupported input; the kernels check nothing."""
    if x.dtype not in native.TYPES or x.ndim not in (2, 4) or not x.numel():
        raise UsageError(f"norm got {x.dtype} {tuple(x.shape)}; it takes float32 or bfloat16 (N, C, H, W) or (N, C)")
    if any(each.dtype != torch.float32 or each.shape != x.shape[1:2] for each in held):
        found = ", ".join(f"{each.dtype} {tuple(each.shape)}" for each in held)
        raise UsageError(f"norm got {found} for {x.shape[1]} channels; it takes float32, one value a channel")
    if stage.kernel and (x.ndim != 4 or not 1 <= stage.kernel <= WIDEST or stage.stride < 1):
        raise UsageError(f"norm got {stage}; it pools maps in windows of 1 to {WIDEST} pixels a side")
    if not 0 <= 2 * stage.padding <= stage.kernel:
        raise UsageError(f"norm got padding={stage.padding}; it takes at most half the pool's window")
    if stage.kernel and min(map(stage.pooled, x.shape[2:])) < 1:
        raise UsageError(f"norm got a map of {tuple(x.shape[2:])}; the pool's window of {stage.kernel} is larger")


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def _empty(x: Tensor, stage: Stage, dtype: torch.dtype) -> Tensor:
    """Memory for the output, after the pool, as the kernels lay it out."""
    if x.ndim == 2:
        return torch.empty(x.shape, dtype=dtype, device=x.device)
    shape = (*x.shape[:2], *map(stage.pooled, x.shape[2:]))
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


def _moments_shape(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[1], dtype=torch.float32), x.new_empty(x.shape[1], dtype=torch.float32)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    _check(x, Stage())
    mean, variance = _moments_shape(x)
    _call("moments", True, Stage(), _last(x), mean, variance)
    return mean, variance


def _moments_cuda(x: Tensor) -> tuple[Tensor, Tensor]:
    from alexnet.ops.triton import norm as kernels  # needs Triton, which takes half a second to import

    _check(x, Stage())
    return kernels.moments(_last(x))


def _shape(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, eps: float, batch: bool, *then: Any
) -> tuple[Tensor, Tensor]:
    stage = _stage(*then)
    y = _empty(x, stage, x.dtype)
    return y, _empty(x, stage, torch.uint8) if stage.kernel else x.new_empty(0, dtype=torch.uint8)


def _forward(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, eps: float, batch: bool, *then: Any
) -> tuple[Tensor, Tensor]:
    held = [each.contiguous() for each in (mean, inverse, weight, bias)]
    _check(x, _stage(*then), *held)
    y, winners = _shape(x, weight, bias, mean, inverse, eps, batch, *then)
    _call("forward", batch, _stage(*then), _last(x), *held, y, winners)
    return y, winners


def _forward_cuda(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, eps: float, batch: bool, *then: Any
) -> tuple[Tensor, Tensor]:
    from alexnet.ops.triton import norm as kernels

    held = [each.contiguous() for each in (mean, inverse, weight, bias)]
    _check(x, _stage(*then), *held)
    y, winners = _shape(x, weight, bias, mean, inverse, eps, batch, *then)
    kernels.forward_launch(_last(x), held, y, winners, _stage(*then)).run(x.device)
    return y, winners


def _backward_shape(x: Tensor, dy: Tensor, winners: Tensor, weight: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(x, Stage(), x.dtype), torch.empty_like(weight), torch.empty_like(weight)


def _backward(
    x: Tensor,
    dy: Tensor,
    winners: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    inverse: Tensor,
    batch: bool,
    *then: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    held = [each.contiguous() for each in (mean, inverse, weight, bias)]
    gradients = _backward_shape(x, dy, winners, weight)
    _call("backward", batch, _stage(*then), _last(x), _last(dy), *held, winners, *gradients)
    return gradients


def _backward_cuda(
    x: Tensor,
    dy: Tensor,
    winners: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    inverse: Tensor,
    batch: bool,
    *then: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    from alexnet.ops.triton import norm as kernels

    held = [each.contiguous() for each in (mean, inverse, weight, bias)]
    dx = _empty(x, Stage(), x.dtype)
    return dx, *kernels.gradients(_last(x), _last(dy), winners, held, _stage(*then), batch, dx)


def _stage(relu: bool, kernel: int, stride: int, padding: int, ceil_mode: bool) -> Stage:
    return Stage(relu=relu, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.eps, ctx.batch = inputs[:7]
    ctx.then = inputs[7:]
    ctx.save_for_backward(*tensors, output[1])
    ctx.set_materialize_grads(False)  # the winners have none


def _gradient(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    x, weight, bias, mean, inverse, winners = ctx.saved_tensors
    if operators.differentiated(dy):
        found = _recorded(ctx, dy)
    else:
        backward = _functions[x.device.type][2] if operators.unwatched(x) else torch.ops.alexnet.norm_backward
        found = backward(x, dy, winners, weight, bias, mean, inverse, ctx.batch, *ctx.then)
    return *found, *(None for _ in range(9))


def _recorded(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of x, weight and bias by plain torch, themselves differentiable if the backward pass is."""
    x, weight, bias, mean, inverse, _ = ctx.saved_tensors
    create_graph = torch.is_grad_enabled()
    needed = [each for each in (x, weight, bias) if each.requires_grad]
    with torch.enable_grad():
        y = plain(x, weight, bias, mean, inverse, ctx.eps, ctx.batch, *ctx.then)
    found = iter(torch.autograd.grad(y, needed, dy, create_graph=create_graph))
    return tuple(next(found) if each.requires_grad else None for each in (x, weight, bias))


class _Directly(torch.autograd.Function):
    """The operator with its gradient, without torch's registry of operators."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        output: tuple[Tensor, Tensor] = _functions[inputs[0].device.type][1](*inputs)
        _keep(ctx, inputs, output)
        return output[0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return _gradient(ctx, dy, None)


_functions: dict[str, tuple[Callable[..., Any], ...]] = {
    "cpu": (_moments, _forward, _backward),
    "cuda": (_moments_cuda, _forward_cuda, _backward_cuda),
}
"""By kind of device: moments, forward, backward."""

NAME = "alexnet::norm"
_HELD = "Tensor weight, Tensor bias, Tensor mean, Tensor inverse"
_THEN = "bool relu, int kernel, int stride, int padding, bool ceil_mode"
torch.library.define(f"{NAME}_moments", "(Tensor x) -> (Tensor, Tensor)")
torch.library.define(NAME, f"(Tensor x, {_HELD}, float eps, bool batch, {_THEN}) -> (Tensor, Tensor)")
torch.library.define(
    f"{NAME}_backward",
    f"(Tensor x, Tensor dy, Tensor winners, {_HELD}, bool batch, {_THEN}) -> (Tensor, Tensor, Tensor)",
)
for _kind, _every in _functions.items():
    for _name, _function in zip((f"{NAME}_moments", NAME, f"{NAME}_backward"), _every, strict=True):
        torch.library.impl(_name, _kind, _function)
torch.library.register_fake(f"{NAME}_moments", _moments_shape)
torch.library.register_fake(NAME, _shape)
torch.library.register_fake(f"{NAME}_backward", _backward_shape)
torch.library.register_autograd(NAME, _gradient, setup_context=_keep)
