"""Subject "ops": the layers between two convolutions, forward and backward, fused by us and as torch's layers."""

import itertools
from collections.abc import Iterator

import torch

from alexnet.bench import stock
from alexnet.bench.ceilings import MAP
from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.table import Row, duration, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.device import PRECISIONS, pick_precision
from alexnet.memory import reuse_memory
from alexnet.networks import create
from alexnet.ops.fusion import fused

STAGES = {  # title: network, layers, (channels, side) of the input
    "bvlc: ReLU, LRN, pool after conv1": ("bvlc", ["relu1", "norm1", "pool1"], (96, 55)),
    "bvlc: ReLU, LRN, pool after conv2": ("bvlc", ["relu2", "norm2", "pool2"], (256, 27)),
    "caffenet: ReLU, pool, LRN after conv1": ("caffenet", ["relu1", "pool1", "norm1"], (96, 55)),
    "krizhevsky2012: LRN, pool, ReLU after conv1": ("krizhevsky2012", ["norm1", "pool1", "relu1"], (96, 55)),
    "krizhevsky2012: ReLU, both LRNs, pool after conv2": (
        "krizhevsky2012",
        ["relu2", "norm2", "mapnorm2", "pool2"],
        (256, 27),
    ),
}
MARKED = "bvlc: ReLU, LRN, pool after conv1"


def measure(options: Options) -> Iterator[Row]:
    """Milliseconds of each stage, ours and stock, and of a copy of the largest input; then their ratios."""
    dtype = str(pick_precision("auto", torch.device(options.device))).removeprefix("torch.")
    pairs = {title: _pair(title, dtype, options) for title in STAGES}
    copied = options.settings(shape=(options.batch_size, *MAP[1:]), precision=dtype)
    copy = Contender(f"copy of bvlc's map after conv1, {dtype}", f"{__name__}:copy", copied)
    contenders = [copy, *itertools.chain.from_iterable(pairs.values())]

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield from (duration("ops", found[each.name]) for each in contenders)
        for title, (ours, theirs) in pairs.items():
            at_least = 40 if title == MARKED else None
            what = f"{title}: ours by stock"
            yield times_as_fast("ops", what, found[ours.name], found[theirs.name], at_least=at_least)
        own = found[pairs[MARKED][0].name]
        yield times_as_fast("ops", f"{MARKED}: copies of its input", found[copy.name], own, at_most=8)

    yield from measured("ops", contenders, options.repeats, rows)


def _pair(title: str, dtype: str, options: Options) -> tuple[Contender, Contender]:
    """Ours and stock PyTorch's."""
    network, layers, (channels, side) = STAGES[title]
    shape = (options.batch_size, channels, side, side)
    settings = options.settings(network=network, layers=layers, shape=shape)
    own = Contender(f"{title}: ours, {dtype}", f"{__name__}:stages", {**settings, "precision": dtype})
    return own, stock.contender("stages", stock.EAGER, settings, f"{title}: ")


def stages(network: str, layers: list[str], shape: list[int], precision: str, seconds: float, device: str) -> Work:
    """Forward and backward through these layers as in training, input `shape` (N, C, H, W). Unit: one pass."""
    reuse_memory()
    with torch.device("meta"):  # no memory for the weights: these layers have none
        found = dict(create(network).stages())
    steps = list(fused([found[name] for name in layers]))
    x = torch.randn(*shape, device=device).to(PRECISIONS[precision], memory_format=torch.channels_last)
    x.requires_grad_()

    def forward() -> torch.Tensor:
        y = x
        for step in steps:
            y = step(y)
        return y

    dy = torch.ones_like(forward())

    def both() -> None:
        x.grad = None
        forward().backward(dy)  # type: ignore[no-untyped-call]

    return repeated(both, 1, seconds, device)


def copy(shape: list[int], precision: str, seconds: float, device: str) -> Work:
    """Copy a tensor of `shape`. Unit: one copy."""
    x = torch.ones(*shape, dtype=PRECISIONS[precision], device=device)
    y = torch.empty_like(x)
    return repeated(lambda: y.copy_(x), 1, seconds, device)
