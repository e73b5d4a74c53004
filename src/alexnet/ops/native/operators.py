"""The native kernels as torch operators with gradients: the layers between two convolutions.

Each takes a tensor x, float32 or bfloat16 (N, C, H, W), in channels-last memory, a bias (C,) that is added to it first,
or None, and the settings of a `Stage`. The backward pass recomputes intermediate values from x. On processors the
kernels are those of this folder; on GPUs they are `alexnet.ops.triton`'s, which keep also one byte for each value of a
pool: its place in the window.

    lrn         [ReLU ->] LRN between channels
    lrn_within  [ReLU -> LRN between channels ->] LRN within each map
    lrn_pool    [ReLU ->] LRN between channels -> max-pool [-> ReLU]
    pool_lrn    [ReLU ->] max-pool [-> LRN between channels]

They are registered as alexnet::<kernel>, and torch.compile keeps them in its graphs. The kernels compute values and
first derivatives in reverse mode. `plain` provides all other derivatives: a backward pass with create_graph=True
differentiates it, and `takes` returns False inside torch.func transforms and forward-mode AD.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from alexnet.device import kind_of
from alexnet.errors import UsageError
from alexnet.ops import native, reference

BETA = 0.75
"""The published exponent, and the only one that the kernels support."""


@dataclass(frozen=True)
class Stage:
    """The settings of a kernel; a size of 0 omits that step."""

    relu: bool = False
    blocks: int = 1  # groups of channels that are normalised separately
    size: int = 0  # channels in a window
    alpha: float = 0.0  # alpha' of `alexnet.ops.lrn`
    k: float = 1.0
    within_size: int = 0  # side of the square window of within-channel LRN
    within_alpha: float = 0.0
    within_k: float = 1.0
    kernel: int = 0  # the pool's window
    stride: int = 1
    padding: int = 0
    ceil_mode: bool = False
    relu_after: bool = False

    @property
    def pools(self) -> bool:
        """Whether there is a pool that does more than copy."""
        return self.kernel > 1 or (self.kernel == 1 and self.stride > 1)

    def pooled(self, length: int) -> int:
        """Output length of the pool along one side; as in torch, no window starts beyond the map."""
        if not self.kernel:
            return length
        span = length + 2 * self.padding - self.kernel
        count = (-(-span // self.stride) if self.ceil_mode else span // self.stride) + 1
        return count - (self.ceil_mode and (count - 1) * self.stride >= length + self.padding)


def takes(x: Tensor, dims: int = 4) -> bool:
    """Whether the kernels support this tensor in the current context; if not, plain torch computes."""
    return (
        x.device.type == "cpu"
        and x.ndim == dims
        and x.dtype in native.TYPES
        and not torch.compiler.is_exporting()  # exported graphs must run without the kernels
        and not transformed()
        and native.instruction_set() is not None
    )


def transformed() -> bool:
    """Whether a torch.func transform or forward-mode AD is active; the operators have no rules for either."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def differentiated(dy: Tensor) -> bool:
    """Whether a backward pass, given dy, is for plain torch: by create_graph=True or is_grads_batched=True."""
    return torch.is_grad_enabled() or transformed() or torch._C._functorch.is_legacy_batchedtensor(dy)


def apply(kernel: str, x: Tensor, stage: Stage, bias: Tensor | None = None) -> Tensor:
    """Run `kernel` ("lrn", ...) on x (N, C, H, W), plus bias (C,); returns x's dtype in channels-last memory."""
    y: Tensor
    keep = torch.is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad))
    if unwatched(x):
        y = _Directly.apply(kernel, x, bias, stage) if keep else _computed(kernel, x, bias, stage, keep)[0]
    else:
        y = getattr(torch.ops.alexnet, kernel)(x, bias, *vars(stage).values(), keep)[0]
    return y


_functions: dict[tuple[str, str], tuple[Callable[..., Any], Callable[..., Any]]] = {}
"""By kernel and device forward and backward, filled by `_define`."""


def unwatched(x: Tensor) -> bool:
    """Whether nothing looks on that must see operators: no compiler, tracer, exporter or mode of dispatch."""
    return (
        type(x) in (Tensor, Parameter)
        and x.device.type in ("cpu", "cuda")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch._C._len_torch_dispatch_stack()
    )


def _computed(kernel: str, x: Tensor, bias: Tensor | None, stage: Stage, keep: bool) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _functions[kernel, x.device.type][0](x, bias, *vars(stage).values(), keep)
    return found


class _Directly(torch.autograd.Function):
    """The operator with its gradient, without torch's registry of operators, which takes half of their calls' time."""

    @staticmethod
    def forward(ctx: Any, kernel: str, x: Tensor, bias: Tensor | None, stage: Stage) -> Tensor:
        y, winners = _computed(kernel, x, bias, stage, True)
        ctx.kernel, ctx.stage = kernel, stage
        ctx.save_for_backward(x, bias, winners)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        x, bias, winners = ctx.saved_tensors
        if differentiated(dy):
            found = differentiate(lambda a, b: plain(ctx.kernel, a, ctx.stage, b), x, bias, dy)
        else:
            found = _functions[ctx.kernel, x.device.type][1](x, bias, dy, winners, *vars(ctx.stage).values())
        return None, found[0], None if bias is None else found[1], None


def plain(kernel: str, x: Tensor, stage: Stage, bias: Tensor | None = None) -> Tensor:
    """The values of `apply` in plain torch, computed in float32 (float64 of float64) and rounded once to x's type."""
    steps = (_pool, _normalize) if kernel == "pool_lrn" else (_normalize, _normalize_within, _pool)
    a = x if x.dtype == torch.float64 else x.float()
    a = a if bias is None else a + bias.to(a.dtype)[:, None, None]
    a = F.relu(a) if stage.relu else a
    for step in steps:
        a = step(a, stage)
    return (F.relu(a) if stage.relu_after else a).to(x.dtype)


def _normalize(a: Tensor, stage: Stage) -> Tensor:
    if not stage.size:
        return a
    parts = a.chunk(stage.blocks, dim=1)
    return torch.cat([reference.lrn(part, stage.size, stage.alpha, BETA, stage.k, False) for part in parts], dim=1)


def _normalize_within(a: Tensor, stage: Stage) -> Tensor:
    if not stage.within_size:
        return a
    return reference.lrn(a, stage.within_size, stage.within_alpha, BETA, stage.within_k, True)


def _pool(a: Tensor, stage: Stage) -> Tensor:
    if not stage.kernel:
        return a
    return F.max_pool2d(a, stage.kernel, stage.stride, stage.padding, ceil_mode=stage.ceil_mode)


def differentiate(
    function: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, bias: Tensor | None, dy: Tensor
) -> list[Tensor | None]:
    """The gradients of function(x, bias), weighted by dy, inside a backward pass; differentiable if that pass is."""
    create_graph = torch.is_grad_enabled()
    needed = [each for each in (x, bias) if each is not None and each.requires_grad]
    with torch.enable_grad():
        y = function(x, bias)
    found = dict(zip(map(id, needed), torch.autograd.grad(y, needed, dy, create_graph=create_graph), strict=True))
    return [found.get(id(each)) for each in (x, bias)]


class _Stage(ctypes.Structure):
    """`struct Stage` of stage.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "blocks", "channels")),
        *((name, ctypes.c_int64) for name in ("pooled_height", "pooled_width", "kernel", "stride", "padding")),
        *((name, ctypes.c_int64) for name in ("size", "within_size")),
        *((name, ctypes.c_float) for name in ("alpha", "k", "within_alpha", "within_k")),
        *((name, ctypes.c_int32) for name in ("relu", "relu_after", "threads")),
    )


def _check(kernel: str, x: Tensor, bias: Tensor | None, stage: Stage) -> None:
    """Raise UsageError for unsupported input; the kernels themselves check nothing."""
    types = [*native.TYPES, *([torch.float16] if x.is_cuda else [])]
    if x.ndim != 4 or x.dtype not in types:
        raise UsageError(f"{kernel} got {x.dtype} {tuple(x.shape)}; it takes float32 or bfloat16 (N, C, H, W)")
    if bias is not None and (bias.shape != x.shape[1:2] or bias.device != x.device or not bias.is_floating_point()):
        raise UsageError(f"{kernel} got a bias {tuple(bias.shape)} for {x.shape[1]} channels; it takes one a channel")
    if stage.blocks < 1 or x.shape[1] % stage.blocks:
        raise UsageError(f"{kernel} got {x.shape[1]} channels; it takes multiples of blocks={stage.blocks}")
    needed = {"lrn": ("size",), "lrn_within": ("within_size",), "lrn_pool": ("size", "kernel"), "pool_lrn": ("kernel",)}
    for name in needed[kernel]:
        if getattr(stage, name) < 1:
            raise UsageError(f"{kernel} got {name}={getattr(stage, name)}; it takes 1 or more")
    if min(stage.size, stage.within_size, stage.padding, stage.kernel - 2 * stage.padding) < 0 or stage.stride < 1:
        raise UsageError(f"{kernel} got {stage}; sizes are 0 or more, padding at most half the pool's window")
    if min(map(stage.pooled, x.shape[2:])) < 1:
        raise UsageError(f"{kernel} got a map of {tuple(x.shape[2:])}; the pool's window of {stage.kernel} is larger")


class Applied:
    """`apply` of one kernel with settings that stay, without gradients: a tenth of the time of an operator of torch."""

    def __init__(self, kernel: str, stage: Stage) -> None:
        self._kernel, self._stage = kernel, stage
        self._jobs: dict[tuple[torch.Size, int], tuple[_Stage, tuple[int, ...]]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Float32 or bfloat16 (N, C, H, W), for which `takes` is true -> the kernel's output, channels last."""
        x, key = _last(x), (x.shape, torch.get_num_threads())
        if key not in self._jobs:
            self._jobs = {**self._jobs, key: self._job(x)}
        settings, shape = self._jobs[key]
        y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        if y.numel():
            native.call(f"{self._kernel}_forward_{native.TYPES[x.dtype]}", ctypes.byref(settings), x, y)
        return y

    def _job(self, x: Tensor) -> tuple[_Stage, tuple[int, ...]]:
        """The kernel's settings for inputs like x, and the shape of its output."""
        _check(self._kernel, x, None, self._stage)
        return _settings(self._stage, x), (*x.shape[:2], *map(self._stage.pooled, x.shape[2:]))


def _call(kernel: str, stage: Stage, x: Tensor, *others: Tensor) -> None:
    settings = _settings(stage, x)
    if len(x):
        native.call(f"{kernel}_{native.TYPES[x.dtype]}", ctypes.byref(settings), x, *others)


def _settings(stage: Stage, x: Tensor) -> _Stage:
    """What a kernel is told of a stage and of its input (N, C, H, W)."""
    count, channels, height, width = x.shape
    fields = {field[0]: getattr(stage, field[0]) for field in _Stage._fields_ if hasattr(stage, field[0])}
    fields |= {"images": count, "height": height, "width": width, "channels": channels // stage.blocks}
    fields |= {"pooled_height": stage.pooled(height), "pooled_width": stage.pooled(width)}
    return _Stage(**fields, threads=torch.get_num_threads())


def _like(x: Tensor, height: int, width: int) -> Tensor:
    shape = (*x.shape[:2], height, width)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _biased(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias[:, None, None].to(x.dtype)


SETTINGS = ", ".join(f"{field.type.__name__} {field.name}" for field in fields(Stage))  # type: ignore[union-attr]


def _define(kernel: str) -> None:
    """Register alexnet::<kernel> and alexnet::<kernel>_backward.

    The first returns also the places of a pool's winners, uint8 and empty where the backward pass needs none: on
    processors, and unless `keep`. The second returns the gradients of x and bias, the latter empty without one.
    """
    name = f"alexnet::{kernel}"

    def shape(x: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
        *settings, keep = rest
        stage = Stage(*settings)
        y = _like(x, stage.pooled(x.shape[2]), stage.pooled(x.shape[3]))
        keeps = keep and stage.pools and kind_of(x) == "cuda"
        return y, torch.empty_like(y, dtype=torch.uint8) if keeps else y.new_empty(0, dtype=torch.uint8)

    def forward(x: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
        stage = Stage(*rest[:-1])
        _check(kernel, x, bias, stage)
        y, winners = shape(x, bias, *rest)
        _call(f"{kernel}_forward", stage, _last(_biased(x, bias)), y)
        return y, winners

    def forward_cuda(x: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
        from alexnet.ops.triton import launch  # needs Triton, which takes half a second to import

        stage = Stage(*rest[:-1])
        _check(kernel, x, bias, stage)
        y, winners = shape(x, bias, *rest)
        launch.forward(kernel, _last(x), bias, stage, y, winners)
        return y, winners

    def backward_shape(
        x: Tensor, bias: Tensor | None, dy: Tensor, winners: Tensor, *settings: Any
    ) -> tuple[Tensor, Tensor]:
        return _like(x, *x.shape[2:]), x.new_empty(0) if bias is None else torch.empty_like(bias)

    def backward(x: Tensor, bias: Tensor | None, dy: Tensor, winners: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
        dx = _like(x, *x.shape[2:])
        _call(f"{kernel}_backward", Stage(*settings), _last(_biased(x, bias)), _last(dy), dx)
        return dx, dx.new_empty(0) if bias is None else dx.sum((0, 2, 3), dtype=torch.float32).to(bias.dtype)

    def backward_cuda(
        x: Tensor, bias: Tensor | None, dy: Tensor, winners: Tensor, *settings: Any
    ) -> tuple[Tensor, Tensor]:
        from alexnet.ops.triton import launch

        dx = _like(x, *x.shape[2:])
        sums = launch.backward(kernel, _last(x), bias, _last(dy), winners, Stage(*settings), dx)
        return dx, dx.new_empty(0) if bias is None or sums is None else sums.to(bias.dtype)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, bias, *settings = inputs
        ctx.settings = settings[:-1]
        ctx.save_for_backward(x, bias, output[1])
        ctx.set_materialize_grads(False)  # the winners have none

    def gradient(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        x, bias, winners = ctx.saved_tensors
        if differentiated(dy):
            found = differentiate(lambda a, b: plain(kernel, a, Stage(*ctx.settings), b), x, bias, dy)
        else:
            found = getattr(torch.ops.alexnet, f"{kernel}_backward")(x, bias, dy, winners, *ctx.settings)
        return found[0], None if bias is None else found[1], *(None for _ in ctx.settings), None

    torch.library.define(name, f"(Tensor x, Tensor? bias, {SETTINGS}, bool keep) -> (Tensor, Tensor)")
    torch.library.define(
        f"{name}_backward", f"(Tensor x, Tensor? bias, Tensor dy, Tensor winners, {SETTINGS}) -> (Tensor, Tensor)"
    )
    for device, functions in {"cpu": (forward, backward), "cuda": (forward_cuda, backward_cuda)}.items():
        _functions[kernel, device] = functions
        torch.library.impl(name, device, functions[0])
        torch.library.impl(f"{name}_backward", device, functions[1])
    torch.library.register_fake(name, shape)
    torch.library.register_fake(f"{name}_backward", backward_shape)
    torch.library.register_autograd(name, gradient, setup_context=keep)


for _kernel in ("lrn", "lrn_within", "lrn_pool", "pool_lrn"):
    _define(_kernel)
