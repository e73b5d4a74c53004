"""Optimisers' steps on a GPU: one launch for all tensors of a rule, by the formulas of `alexnet.ops.update`.

Where the tensors lie, their sizes and their types stand in a table on the GPU, and so do the rule's numbers, such as
the learning rate: a launch that a CUDA graph recorded is repeated with other numbers. A program takes one block of one
tensor and passes over its memory once: 20 bytes a weight where momentum is float32 and the gradient and the copy are
bfloat16, 8 more with a moving average. T tensors, all float32 but gradients and copies.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

RULES = ("sgd", "nesterov", "velocity", "adam", "ahead", "move")
"""In the order of the kernel's numbers; `ahead` is `average_step` and `move` is `move_step` of `ops.update`."""
BLOCK = 2048  # values a program
WARPS = 4
OPTIONS = {"num_warps": WARPS, "enable_fp_fusion": True}  # the latter is Triton's default, which is to change
WIDTH = 16  # bytes of the widest load
FIELDS, PLACE = 8, 2  # words a tensor in the table of tensors and in that of gradients

SGD, NESTEROV, VELOCITY, ADAM, AHEAD = (tl.constexpr(number) for number in range(5))
BFLOAT16 = tl.constexpr(1)
_FIELDS, _PLACE, _NUMBERS, _WIDTH = tl.constexpr(FIELDS), tl.constexpr(PLACE), tl.constexpr(9), tl.constexpr(WIDTH)
KINDS = {torch.float32: 0, torch.bfloat16: 1}
NUMPY = {torch.float32: np.float32, torch.int32: np.int32, torch.int64: np.int64}


class Tensors(NamedTuple):
    """What a rule reads and writes of one weight; all have the weight's shape and strides, without gaps."""

    w: Tensor  # float32; of "ahead" the mean gradient
    m: Tensor | None = None  # float32: momentum, or Adam's first moment
    s: Tensor | None = None  # float32: Adam's second moment
    copy: Tensor | None = None  # float32 or bfloat16: receives the new weight; of "ahead" the direction
    average: Tensor | None = None  # float32: the moving average of the weight


class Numbers(NamedTuple):
    """A rule's numbers for one weight, as in `alexnet.ops.update`."""

    rate: float = 0.0
    momentum: float = 0.0  # or Adam's beta1
    beta2: float = 0.0
    eps: float = 0.0
    decay: float = 0.0
    shrink: float = 1.0
    unbias1: float = 1.0
    unbias2: float = 1.0
    follow: float = 0.0  # the moving average takes this share of the distance to the new weight


class Launch:
    """One launch of a rule over several tensors."""

    def __init__(self, rule: str, tensors: Sequence[Tensors]) -> None:
        """ValueError for tensors whose types or strides the kernel does not take."""
        for each in tensors:
            _check(each)
        self.rule, self.tensors = RULES.index(rule), list(tensors)
        self.device = tensors[0].w.device
        self.places = places_of(tensors)
        counts = [each.w.numel() for each in tensors]
        self._fields = sent([_fields(each) for each in tensors], torch.int64, self.device)
        self._blocks = sent(blocks_of(counts), torch.int32, self.device)
        self._numbers = torch.zeros(len(tensors), len(Numbers._fields), device=self.device)
        self._gradients: tuple[list[list[int]], Tensor] | None = None
        self._recorded: list[list[int]] | None = None
        # Outside the memory of a CUDA graph, in which each place is written by every tensor that had it.
        self._replayed = torch.zeros(len(tensors), PLACE, dtype=torch.int64, device=self.device)

    def set(self, numbers: Sequence[Numbers]) -> None:
        """The numbers of the launches that follow, of each tensor; nothing is waited for."""
        if self.device.type != "meta":
            self._numbers.copy_(held(numbers, torch.float32, self.device), non_blocking=True)

    def __call__(self, gradients: Sequence[Tensor | None]) -> None:
        """Update all tensors but those without a gradient. gradients: float32 or bfloat16, in the weights' shapes."""
        laid = [None if g is None else _laid_out(g, each.w) for g, each in zip(gradients, self.tensors, strict=True)]
        if self.device.type == "meta":
            self._count(laid)
            return
        table = self._table([[0, 0] if g is None else [g.data_ptr(), KINDS[g.dtype]] for g in laid])
        aligned = all(place % WIDTH == 0 for row in self.places for place in row)
        aligned = aligned and all(g is None or g.data_ptr() % WIDTH == 0 for g in laid)
        if len(self._blocks):
            self._launch(table, aligned)

    def _count(self, gradients: Sequence[Tensor | None]) -> None:
        """On the meta device: say what a launch reads and writes."""
        state = [getattr(each, name) for each in self.tensors for name in ("w", "m", "s", "average")]
        given = [[each for each in every if each is not None] for every in (state, gradients)]
        torch.ops.alexnet.update_launch(*given, [each.copy for each in self.tensors if each.copy is not None])

    def _launch(self, table: Tensor, aligned: bool) -> None:
        grid = (len(self._blocks),)
        arguments = (self._fields, table, self._numbers, self._blocks)
        with current(self.device):
            update_kernel[grid](*arguments, RULE=self.rule, ALIGNED=aligned, BLOCK=BLOCK, **OPTIONS)

    def settle(self) -> None:
        """Once a CUDA graph was recorded: write down where the gradients lie that it computes."""
        if self._recorded is not None:
            self._replayed.copy_(sent(self._recorded, torch.int64, self.device))
        self._recorded = None

    def _table(self, rows: list[list[int]]) -> Tensor:
        """Where the gradients lie. While a graph is recorded nothing is copied: `settle` does, before a replay."""
        if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            self._recorded = rows
            return self._replayed
        if self._gradients is None or self._gradients[0] != rows:
            self._gradients = (rows, sent(rows, torch.int64, self.device))
        return self._gradients[1]


def places_of(tensors: Sequence[Tensors]) -> list[list[int]]:
    """The addresses of all tensors, 0 where there is none."""
    return [[0 if tensor is None else tensor.data_ptr() for tensor in each] for each in tensors]


def blocks_of(counts: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """int32 (B, 2): the tensor and the number of each block, for tensors of these sizes."""
    blocks = [-(-count // BLOCK) for count in counts]
    which = np.repeat(np.arange(len(counts)), blocks)
    number = np.concatenate([np.arange(count) for count in blocks]) if blocks else np.empty(0)
    return np.stack([which, number], 1).astype(np.int32)


def held(values: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers in the processor's memory, where a GPU copies them from by itself."""
    tensor = torch.from_numpy(np.asarray(values, NUMPY[dtype]))
    return tensor.pin_memory() if device.type == "cuda" else tensor


def sent(values: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on the device; nothing is waited for."""
    return held(values, dtype, device).to(device, non_blocking=True)


def current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The context in which Triton launches on this device."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _fields(each: Tensors) -> list[int]:
    kind = 0 if each.copy is None else KINDS[each.copy.dtype]
    return [each.w.numel(), *places_of([each])[0], kind, 0]


def _laid_out(gradient: Tensor, like: Tensor) -> Tensor:
    """The gradient in the order of memory of its weight."""
    if gradient.stride() == like.stride():
        return gradient
    return torch.empty_like(like, dtype=gradient.dtype).copy_(gradient)


def _check(each: Tensors) -> None:
    given = [tensor for tensor in each if tensor is not None]
    if any(tensor.stride() != each.w.stride() for tensor in given):
        raise ValueError("the optimiser state and its weights differ in strides")
    whole = each.w.is_contiguous() or each.w.is_contiguous(memory_format=torch.channels_last)
    single = all(tensor.dtype == torch.float32 for tensor in given if tensor is not each.copy)
    if not (whole and single and (each.copy is None or each.copy.dtype in KINDS) and each.w.numel() < 2**31 - BLOCK):
        raise ValueError(f"no kernel updates weights of {each.w.dtype}, {tuple(each.w.shape)}, {each.w.stride()}")


def _moved(state: list[Tensor], gradients: list[Tensor], copies: list[Tensor]) -> list[Tensor]:
    """What a launch writes beside the copies, for those who count bytes."""
    return [torch.empty_like(each) for each in state]


torch.library.define("alexnet::update_launch", "(Tensor[] state, Tensor[] gradients, Tensor[] copies) -> Tensor[]")
torch.library.impl("alexnet::update_launch", "Meta", _moved)


# --- the kernel ---


@triton.jit
def update_kernel(tensors, gradients, numbers, blocks, RULE: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """tensors: int64 (T, 8); gradients: int64 (T, 2); numbers: float32 (T, 9); blocks: int32 (B, 2), B programs."""
    block = tl.program_id(0)
    tensor = tl.load(blocks + 2 * block)
    first = tl.load(blocks + 2 * block + 1) * BLOCK
    fields, gradient, own = tensors + _FIELDS * tensor, gradients + _PLACE * tensor, numbers + _NUMBERS * tensor
    if tl.load(gradient) != 0:
        if first + BLOCK <= tl.load(fields):
            _update(fields, gradient, own, first, RULE, ALIGNED, False, BLOCK)
        else:
            _update(fields, gradient, own, first, RULE, ALIGNED, True, BLOCK)


@triton.jit
def _update(  # type: ignore[no-untyped-def]
    fields, gradient, numbers, first, RULE: tl.constexpr, ALIGNED: tl.constexpr, LAST: tl.constexpr, BLOCK: tl.constexpr
):
    """One block: the formulas are those of `alexnet.ops.update`. LAST: the block may reach beyond the tensor."""
    places, count = first + tl.arange(0, BLOCK), tl.load(fields)
    at_w, at_m, at_s = tl.load(fields + 1), tl.load(fields + 2), tl.load(fields + 3)
    rate, momentum, beta2, eps = tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2), tl.load(numbers + 3)
    decay, shrink = tl.load(numbers + 4), tl.load(numbers + 5)
    g = _read_any(tl.load(gradient), tl.load(gradient + 1), places, count, ALIGNED, LAST)
    w = _read(at_w, places, count, ALIGNED, LAST)
    d = g + decay * w
    new = w
    if RULE == AHEAD:
        mean = w + (1 - momentum) * (g - w)
        _write(at_w, mean, places, count, ALIGNED, LAST)
        new = g + momentum * (mean - g)
    elif RULE == ADAM:
        m, s = _read(at_m, places, count, ALIGNED, LAST), _read(at_s, places, count, ALIGNED, LAST)
        m += (1 - momentum) * (d - m)
        s += (1 - beta2) * (d * d - s)
        root = tl.sqrt(s * tl.load(numbers + 7)) + eps
        new = shrink * w - rate * tl.load(numbers + 6) * m / root
        _write(at_m, m, places, count, ALIGNED, LAST)
        _write(at_s, s, places, count, ALIGNED, LAST)
    elif RULE <= VELOCITY:
        m = momentum * _read(at_m, places, count, ALIGNED, LAST)
        if RULE == VELOCITY:
            m -= rate * d
            new = w + m
        elif RULE == NESTEROV:
            m += d
            new = w - rate * (d + momentum * m)
        else:
            m += d
            new = w - rate * m
        _write(at_m, m, places, count, ALIGNED, LAST)
    else:
        new = shrink * w - rate * g
    if RULE != AHEAD:
        _write(at_w, new, places, count, ALIGNED, LAST)
        _follow(tl.load(fields + 5), tl.load(numbers + 8), new, places, count, ALIGNED, LAST)
    _write_any(tl.load(fields + 4), tl.load(fields + 6), new, places, count, ALIGNED, LAST)


@triton.jit
def _follow(address, share, values, places, count, ALIGNED: tl.constexpr, LAST: tl.constexpr):  # type: ignore[no-untyped-def]
    if address != 0:
        mean = _read(address, places, count, ALIGNED, LAST)
        _write(address, mean + share * (values - mean), places, count, ALIGNED, LAST)


@triton.jit
def _read(address, places, count, ALIGNED: tl.constexpr, LAST: tl.constexpr):  # type: ignore[no-untyped-def]
    begin = address.to(tl.pointer_type(tl.float32))
    if ALIGNED:
        begin = tl.multiple_of(begin, _WIDTH)
    if LAST:
        values = tl.load(begin + places, mask=places < count, other=0.0)
    else:
        values = tl.load(begin + places)
    return values


@triton.jit
def _read_any(address, kind, places, count, ALIGNED: tl.constexpr, LAST: tl.constexpr):  # type: ignore[no-untyped-def]
    if kind == BFLOAT16:
        begin = address.to(tl.pointer_type(tl.bfloat16))
        if ALIGNED:
            begin = tl.multiple_of(begin, _WIDTH)
        if LAST:
            values = tl.load(begin + places, mask=places < count, other=0.0).to(tl.float32)
        else:
            values = tl.load(begin + places).to(tl.float32)
    else:
        values = _read(address, places, count, ALIGNED, LAST)
    return values


@triton.jit
def _write(address, values, places, count, ALIGNED: tl.constexpr, LAST: tl.constexpr):  # type: ignore[no-untyped-def]
    begin = address.to(tl.pointer_type(tl.float32))
    if ALIGNED:
        begin = tl.multiple_of(begin, _WIDTH)
    if LAST:
        tl.store(begin + places, values, mask=places < count)
    else:
        tl.store(begin + places, values)


@triton.jit
def _write_any(address, kind, values, places, count, ALIGNED: tl.constexpr, LAST: tl.constexpr):  # type: ignore[no-untyped-def]
    if address != 0:
        if kind == BFLOAT16:
            begin = address.to(tl.pointer_type(tl.bfloat16))
            if ALIGNED:
                begin = tl.multiple_of(begin, _WIDTH)
            if LAST:
                tl.store(begin + places, values.to(tl.bfloat16), mask=places < count)
            else:
                tl.store(begin + places, values.to(tl.bfloat16))
        else:
            _write(address, values, places, count, ALIGNED, LAST)
