"""Upper limits of this machine: matrix products in each precision, and memory copies."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.table import Row, rate
from alexnet.bench.worker import Work, repeated
from alexnet.device import PRECISIONS

MAP = (128, 96, 55, 55)  # output of conv1 for a batch of 128 images, (N, C, H, W)
BUFFER = 2**28  # bytes; larger than any cache
LAYOUTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a @ b": lambda a, b: a @ b,
    "a @ b.T": lambda a, b: a @ b.T,
    "a.T @ b": lambda a, b: a.T @ b,
}


def ceilings(options: Options) -> Iterator[Row]:
    """Measure all of them: TFLOP/s of matrix products, GB/s of copies."""
    copies = [
        Contender("copy of a map, bfloat16 128 x 96 x 55 x 55", f"{__name__}:copy_of_map", options.settings()),
        Contender(f"copy of {BUFFER / 2**20:.0f} MiB", f"{__name__}:copy_of_buffer", options.settings()),
    ]
    products = [product_contender(precision, options) for precision in PRECISIONS]

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        for each in products:
            yield rate("ceilings", found[each.name], "TFLOP/s", 1e-12)
        for each in copies:
            yield rate("ceilings", found[each.name], "GB/s", 1e-9, note="bytes read and bytes written")

    yield from measured("ceilings", [*products, *copies], options.repeats, rows)


def product_contender(precision: str, options: Options) -> Contender:
    """The product of two square matrices in "float32" or "bfloat16". Unit: one floating-point operation."""
    name = f"matrix product, {precision}, {options.side} cubed"
    return Contender(name, f"{__name__}:matrix_product", options.settings(precision=precision, side=options.side))


def matrix_product(precision: str, side: int, seconds: float, device: str) -> Work:
    """The product of two (side, side) matrices in the fastest memory layout. Unit: floating-point operation."""
    a, b = (torch.randn(side, side, device=device).to(PRECISIONS[precision]) for _ in range(2))
    works = [repeated(partial(product, a, b), 2 * side**3, seconds / 10, device) for product in LAYOUTS.values()]
    best = min(works, key=lambda work: min(_seconds(work) for _ in range(2)))
    return repeated(best, best(), seconds, device)


def _seconds(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def copy_of_map(seconds: float, device: str, shape: tuple[int, ...] = MAP) -> Work:
    """Copy a bfloat16 tensor of `shape`. Unit: byte, read or written."""
    return _copy(torch.ones(shape, dtype=torch.bfloat16, device=device), seconds, device)


def copy_of_buffer(seconds: float, device: str, size: int = BUFFER) -> Work:
    """Copy `size` bytes. Unit: byte, read or written."""
    return _copy(torch.ones(size, dtype=torch.uint8, device=device), seconds, device)


def _copy(x: Tensor, seconds: float, device: str) -> Work:
    y = torch.empty_like(x)
    return repeated(lambda: y.copy_(x), 2 * x.nbytes, seconds, device)
