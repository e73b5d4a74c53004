"""Views of stored images on a GPU by `alexnet.ops.triton.views`: what is sent there, and what is launched.

Of a batch the GPU is sent 84 bytes a view and, unless it holds them, the stored images in uint8. N views, images of
S x S pixels.
"""

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.ops import native, triton
from alexnet.ops.views import LUMA, ColorMap, Images, Mixing, Windows, addresses_of, check_windows, mix, render

TYPES = (torch.float32, torch.bfloat16)
Record = TypeVar("Record")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Orders:
    """How the views of a batch are made: `alexnet.ops.views.render` and then `mix`, as numbers for a kernel."""

    views: Tensor  # float32 (N, 21): the columns of `alexnet.ops.triton.views`
    size: int
    looks_at_mean: bool
    keys: Tensor | None = None  # int64 (N,), of noise
    deviation: tuple[float, ...] = (0.0, 0.0, 0.0)
    share: Tensor | None = None  # float32 (N,), as in Mixing
    box: Tensor | None = None  # int32 (N, 4), as in Mixing

    @classmethod
    def of(
        cls,
        shown: Windows,
        colors: ColorMap,
        size: int,
        noise: tuple[Tensor, Tensor] | None = None,
        how: Mixing | None = None,
    ) -> "Orders":
        """From what `render` and `mix` take; all on the processor."""
        count = len(shown.parts)
        mirrored = torch.zeros(count, 1) if shown.mirrored is None else shown.mirrored[:, None].float()
        bounded = torch.full((count, 1), float(shown.bounded))
        columns = [shown.parts, bounded, mirrored, colors.matrix.flatten(1), colors.offset, colors.gray]
        views = torch.cat(columns, 1)
        orders = cls(views, size, bool(colors.gray.any()))
        if noise is not None:
            orders = replace(orders, keys=noise[0], deviation=tuple(noise[1].tolist()))
        return orders if how is None else replace(orders, share=how.share, box=how.box)

    def render(self, images: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """`dtype` (N, 3, size, size), channels last, of uint8 images (M, S, S, 3) and the image of each view (N,).

        The images, the rows and these numbers lie on the device.
        """
        from alexnet.ops.triton import views as kernels

        first, second, third = self.deviation
        numbers = (LUMA, self.looks_at_mean, self.keys, (first, second, third))
        batch = kernels.render(images, rows, self.views, self.size, dtype, *numbers)
        if self.share is not None and self.box is not None:
            kernels.mix(batch, self.share, self.box)
        return batch


def over_tensors(record: Record, change: Callable[[Tensor], Tensor]) -> Record:
    """The record, a dataclass, with each tensor changed, in records within it, too."""
    changed: dict[str, Any] = {}
    for each in fields(record):  # type: ignore[arg-type]
        value = getattr(record, each.name)
        if isinstance(value, Tensor):
            changed[each.name] = change(value)
        elif is_dataclass(value):
            changed[each.name] = over_tensors(value, change)
    return replace(record, **changed)  # type: ignore[type-var]


def gathered(images: Images) -> Tensor:
    """uint8 (N, S, S, 3): the images one after the other, in memory that a GPU reads by itself where there is one."""
    places, kept = addresses_of(images)
    together = _gathered(places, len(images[0]))
    del kept
    return together


def _gathered(places: NDArray[np.uint64], side: int) -> Tensor:
    """uint8 (N, side, side, 3), as `gathered`: what lies at N addresses."""
    together = torch.empty(len(places), side, side, 3, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
    size = 3 * side * side
    if native.instruction_set() is not None:  # one call, beside which other threads go on
        sizes = (ctypes.c_int64(len(places)), ctypes.c_int64(size))
        native.call("views_gather_uint8", places.ctypes, *sizes, together, ctypes.c_int32(native.threads()))
        return together
    for image, place in zip(together, places.tolist(), strict=True):
        ctypes.memmove(image.data_ptr(), place, size)
    return together


def render_there(
    images: Images,
    shown: Windows,
    colors: ColorMap,
    size: int,
    dtype: torch.dtype,
    device: torch.device,
    noise: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """`alexnet.ops.views.render` on a GPU that `renders`; nothing is waited for."""
    check_windows(images, shown)
    orders = over_tensors(Orders.of(shown, colors, size, noise), lambda each: _there(each, device))
    places, kept = addresses_of(images)
    different, rows = np.unique(places, return_inverse=True)  # ten views of an image are sent as one
    stored = _there(_gathered(different, len(images[0])), device)
    del kept
    return orders.render(stored, _there(torch.from_numpy(rows), device), dtype)


def pinned(tensor: Tensor) -> Tensor:
    """The tensor in memory that a GPU reads by itself, where there is a GPU."""
    return tensor.pin_memory() if torch.cuda.is_available() and not tensor.is_pinned() else tensor


def _there(tensor: Tensor, device: torch.device) -> Tensor:
    return pinned(tensor).to(device, non_blocking=True)


def renders(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device renders views itself, in this type."""
    return device.type == "cuda" and dtype in TYPES and trusted(device)


def trusted(device: torch.device) -> bool:
    """Whether the kernels are used on this device: it has Triton, and they give what the processor gives.

    What does not hold is said once; then the processor renders, or the GPU in plain torch.
    """
    return device.type == "cuda" and torch.cuda.is_available() and triton.usable(device) and _trusted(device)


@cache
def _trusted(device: torch.device) -> bool:
    try:
        error = _error(device)
    except Exception as failure:  # a compiler that is missing, a driver that is too old
        reason = f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
    else:
        if error <= 0.01:
            return True
        reason = f"its views differ from the processor's by {error:.2g}"
    logger.warning("the kernel of views for %s is not used: %s; the processor prepares batches", device, reason)
    return False


def _error(device: torch.device) -> float:
    """The largest difference, of values of 0 to 255, between a GPU's views and the processor's; mixed ones, too."""
    images = torch.arange(3 * 40 * 40 * 3).mul(7919).remainder(256).to(torch.uint8).view(3, 40, 40, 3)
    parts = torch.tensor([[0.0, 0, 40, 40], [3, 5, 24, 24], [11, 2, 9, 31]])
    shown = Windows(parts, True, torch.tensor([True, False, True]))
    colors = ColorMap(torch.eye(3).expand(3, 3, 3).roll(1, 2), torch.ones(3, 3), torch.full((3, 3), 0.5))
    how = Mixing(torch.tensor([0.25, 1.0, 1.0]), torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [2, 9, 3, 7]]).int())
    noise = (torch.tensor([1, -2, 2**40]), torch.tensor([0.5, 1.0, 2.0]))
    orders = over_tensors(Orders.of(shown, colors, 24, noise, how), lambda each: each.to(device))
    found = orders.render(images.to(device), torch.arange(3, device=device), torch.float32)
    right = mix(render(list(images), shown, colors, 24, noise=noise), how)
    return float((found.cpu() - right).abs().max())
