"""One optimiser step for one parameter tensor, by a native kernel or in plain torch.

w: parameters, float32 (in plain torch float64, too), updated in place. m, s: optimiser state, in w's type and shape,
updated in place. g: gradient, float32 or bfloat16. copy: an optional copy of the parameters, often bfloat16, that
receives the new values. The kernel passes over memory once, plain torch four to ten times.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from alexnet.ops import native

RULES = ("sgd", "nesterov", "velocity")


def momentum_step(
    w: Tensor, m: Tensor, g: Tensor, copy: Tensor | None, rule: str, rate: float, momentum: float, decay: float
) -> None:
    """Gradient descent with momentum; d = g + decay * w.

    sgd        m <- momentum * m + d;  w <- w - rate * m                     torch.optim.SGD
    nesterov   m <- momentum * m + d;  w <- w - rate * (d + momentum * m)    torch.optim.SGD(nesterov=True)
    velocity   m <- momentum * m - rate * d;  w <- w + m                     Krizhevsky et al. 2012, section 5
    """
    if _kernel_takes(w, g):
        job = _Momentum(
            count=w.numel(),
            rate=rate,
            momentum=momentum,
            decay=decay,
            rule=RULES.index(rule),
            threads=torch.get_num_threads(),
        )
        _call("update_momentum", job, (w, m), g, copy)
        return
    d = g.to(w.dtype).add(w, alpha=decay)
    if rule == "velocity":
        m.mul_(momentum).sub_(d, alpha=rate)
        w.add_(m)
    else:
        m.mul_(momentum).add_(d)
        w.sub_(d.add(m, alpha=momentum) if rule == "nesterov" else m, alpha=rate)
    if copy is not None:
        copy.copy_(w)


def adam_step(
    w: Tensor,
    m: Tensor,
    s: Tensor,
    g: Tensor,
    copy: Tensor | None,
    step: int,
    rate: float,
    betas: Sequence[float],
    eps: float,
    decay: float,
    decoupled: bool,
) -> None:
    """Adam (Kingma and Ba 2014, algorithm 1), step 1, 2, ...; decoupled: AdamW (Loshchilov and Hutter 2017).

    m <- b1 * m + (1 - b1) * d;  s <- b2 * s + (1 - b2) * d²;  w <- w - rate * (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t))
    + eps), where d = g + decay * w, or, decoupled, d = g and w is first multiplied by 1 - rate * decay.
    """
    (beta1, beta2), within = betas, 0.0 if decoupled else decay
    shrink = 1 - rate * decay if decoupled else 1.0
    unbias1, unbias2 = 1 / (1 - beta1**step), 1 / (1 - beta2**step)
    if _kernel_takes(w, g):
        job = _Adam(
            count=w.numel(),
            rate=rate,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            decay=within,
            shrink=shrink,
            unbias1=unbias1,
            unbias2=unbias2,
            threads=torch.get_num_threads(),
        )
        _call("update_adam", job, (w, m, s), g, copy)
        return
    d = g.to(w.dtype).add(w, alpha=within)
    m.lerp_(d, 1 - beta1)
    s.lerp_(d.square(), 1 - beta2)
    w.mul_(shrink).addcdiv_(m, (s * unbias2).sqrt_().add_(eps), value=-rate * unbias1)
    if copy is not None:
        copy.copy_(w)


def average_step(m: Tensor, g: Tensor, momentum: float) -> Tensor:
    """m <- momentum * m + (1 - momentum) * g; returns momentum * m + (1 - momentum) * g, in g's type and m's strides.

    Nesterov's look ahead, as in K. Jordan 2024.
    """
    ahead = torch.empty_like(m, dtype=g.dtype)
    if _kernel_takes(m, g):
        job = _Average(count=m.numel(), momentum=momentum, threads=torch.get_num_threads())
        _call("update_average", job, (m,), g, ahead)
        return ahead
    exact = g.to(m.dtype)
    m.lerp_(exact, 1 - momentum)
    return ahead.copy_(exact.lerp(m, momentum))


def move_step(w: Tensor, d: Tensor, copy: Tensor | None, rate: float, shrink: float) -> None:
    """w <- shrink * w - rate * d. d: a direction in w's shape, float32 or bfloat16."""
    if _kernel_takes(w, d):
        job = _Move(count=w.numel(), rate=rate, shrink=shrink, threads=torch.get_num_threads())
        _call("update_move", job, (w,), d, copy)
        return
    w.mul_(shrink).sub_(d, alpha=rate)
    if copy is not None:
        copy.copy_(w)


class _Momentum(ctypes.Structure):
    """`struct Momentum` of update.cpp."""

    _fields_ = (
        ("count", ctypes.c_int64),
        *((name, ctypes.c_float) for name in ("rate", "momentum", "decay")),
        *((name, ctypes.c_int32) for name in ("rule", "threads")),
    )


class _Adam(ctypes.Structure):
    """`struct Adam` of update.cpp."""

    _fields_ = (
        ("count", ctypes.c_int64),
        *((name, ctypes.c_float) for name in ("rate", "beta1", "beta2", "eps", "decay")),
        *((name, ctypes.c_float) for name in ("shrink", "unbias1", "unbias2")),
        ("threads", ctypes.c_int32),
    )


class _Average(ctypes.Structure):
    """`struct Average` of update.cpp."""

    _fields_ = (("count", ctypes.c_int64), ("momentum", ctypes.c_float), ("threads", ctypes.c_int32))


class _Move(ctypes.Structure):
    """`struct Move` of update.cpp."""

    _fields_ = (
        ("count", ctypes.c_int64),
        *((name, ctypes.c_float) for name in ("rate", "shrink")),
        ("threads", ctypes.c_int32),
    )


def _kernel_takes(w: Tensor, g: Tensor) -> bool:
    return (
        w.device.type == "cpu"
        and w.dtype == torch.float32
        and g.dtype in native.TYPES
        and (w.is_contiguous() or w.is_contiguous(memory_format=torch.channels_last))
        and native.instruction_set() is not None
    )


def _call(kernel: str, settings: Any, state: tuple[Tensor, ...], g: Tensor, copy: Tensor | None) -> None:
    """Call the kernel; all tensors must have the strides of the weights."""
    w = state[0]
    if g.stride() != w.stride():
        g = torch.empty_like(w, dtype=g.dtype).copy_(g)
    fits = copy is not None and copy.dtype == g.dtype and copy.stride() == w.stride()
    if any(other.stride() != w.stride() for other in state):
        raise ValueError("the optimiser state and its weights differ in strides")
    native.call(f"{kernel}_{native.TYPES[g.dtype]}", ctypes.byref(settings), *state, g, copy if fits else None)
    if copy is not None and not fits:
        copy.copy_(w)
