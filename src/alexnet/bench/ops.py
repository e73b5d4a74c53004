"""What stands between two convolutions, forward and backward: one native pass beside torch's layers."""

import torch

from alexnet.bench import stock
from alexnet.bench.ceilings import MAP
from alexnet.bench.measure import Contender, Options, race
from alexnet.bench.table import Row, duration, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.device import PRECISIONS, pick_precision
from alexnet.memory import reuse_memory
from alexnet.networks import create
from alexnet.ops.fusion import fused

STAGES = {  # title: network, layers, channels and side of the map
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


def measure(options: Options) -> list[Row]:
    """Each stage as one pass and in torch's layers, and a copy of the largest map."""
    dtype = str(pick_precision("auto", torch.device(options.device))).removeprefix("torch.")
    shape = (options.batch_size, *MAP[1:])
    copy = Contender(
        f"copy of bvlc's map after conv1, {dtype}", f"{__name__}:copy", options.settings(shape=shape, precision=dtype)
    )
    contenders = [copy]
    for title in STAGES:
        contenders += _pair(title, dtype, options)
    found = race("ops", contenders, options.repeats)
    rows = [duration("ops", found[each.name]) for each in contenders]
    for title in STAGES:
        ours, theirs = found[f"{title}: ours, {dtype}"], found[f"{title}: {stock.EAGER}"]
        marks = {"at_least": 40} if title == MARKED else {}
        rows.append(times_as_fast("ops", f"{title}: ours by stock", ours, theirs, **marks))
    ours = found[f"{MARKED}: ours, {dtype}"]
    return [*rows, times_as_fast("ops", f"{MARKED}: copies of its input", found[copy.name], ours, at_most=8)]


def _pair(title: str, dtype: str, options: Options) -> list[Contender]:
    network, layers, (channels, side) = STAGES[title]
    shape = (options.batch_size, channels, side, side)
    settings = options.settings(network=network, layers=layers, shape=shape)
    own = Contender(f"{title}: ours, {dtype}", f"{__name__}:stages", {**settings, "precision": dtype})
    return [own, stock.contender("stages", stock.EAGER, settings, f"{title}: ")]


def stages(network: str, layers: list[str], shape: list[int], precision: str, seconds: float, device: str) -> Work:
    """Forward and backward through these layers as the network does it in a training process. Unit: one pass."""
    reuse_memory()
    with torch.device("meta"):  # these layers have no weights
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
    """A copy of a map. Unit: one."""
    x = torch.ones(*shape, dtype=PRECISIONS[precision], device=device)
    y = torch.empty_like(x)
    return repeated(lambda: y.copy_(x), 1, seconds, device)
