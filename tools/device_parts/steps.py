"""Training steps: the package's own beside stock eager PyTorch, both in bfloat16, in turn; the smallest batches first.

Also as a share of the rate of bfloat16 matrix products, measured in the same rounds, by the operations that a step
needs (`alexnet.bench.train.flop`), and the memory of the GPU that each takes alone.
"""

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from alexnet.bench.ceilings import matrix_product
from alexnet.bench.pictures import noise_store
from alexnet.bench.stock import train_step
from alexnet.bench.train import LIKE_STOCK, flop, step
from alexnet.bench.worker import Work
from device_parts.record import Figures, Record, in_rounds, with_memory

NETWORKS = {"bvlc": "bvlc", "modern": "modern", "krizhevsky2012": "krizhevsky2012", "one_weird_trick": "torchvision"}
"""Network: its recipe."""
BATCHES, CLASSES = (128, 512), 1000
MARKS = {("bvlc", 128): 40_000, ("bvlc", 512): 60_000}
"""Images a second that our step is to reach."""
SECONDS, ROUNDS = 0.1, 5
PRODUCT = "matrix product"
Build = Callable[[], Work]


def run(record: Record) -> None:
    """Every network at every batch size."""
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), 32 if record.small else max(BATCHES), 16 if record.small else CLASSES)
        for batch_size in batches(record):
            for network in NETWORKS:
                contest(record, network, batch_size, contenders(record, network, batch_size, store))


def batches(record: Record) -> tuple[int, ...]:
    """Images a step."""
    return (2,) if record.small else BATCHES


def contenders(record: Record, network: str, batch_size: int, store: str) -> dict[str, Build]:
    """What takes turns; "modern" is optimised by Muon, and beside stock by SGD as stock is."""
    shared = {"batch_size": batch_size, "precision": "bfloat16", "workers": 0}
    own = partial(step, store, NETWORKS[network], seconds=seconds(record), device=record.device)
    found: dict[str, Build] = {"ours": partial(own, changes=shared)}
    if network == "modern":
        found["ours, SGD"] = partial(own, changes={**shared, **LIKE_STOCK})
    return {**found, "stock eager": stock(record, network, batch_size, compiled=False)}


def stock(record: Record, network: str, batch_size: int, compiled: bool) -> Build:
    """The same network in torch's own layers, channels last."""
    classes = 16 if record.small else CLASSES
    return partial(train_step, network, classes, batch_size, "bfloat16", compiled, seconds(record), record.device)


def seconds(record: Record) -> float:
    """Of a repeat."""
    return 0.0 if record.small else SECONDS


def contest(record: Record, network: str, batch_size: int, builds: dict[str, Build]) -> None:
    """Rows of what took turns; what cannot be built says why in its row."""
    works: dict[str, Work] = {}
    memory: dict[str, float | None] = {}
    found: Figures = {}
    reasons: dict[str, str] = {}
    for name, build in builds.items():
        with surviving(name, reasons):
            works[name], memory[name] = with_memory(build, record.device)
    with surviving(PRODUCT, reasons):
        works[PRODUCT] = matrix_product("bfloat16", 256 if record.small else 8192, seconds(record), record.device)
        found = in_rounds(works, 1 if record.small else ROUNDS)
    works.clear()
    for name in builds:
        what = f"{network}, batch {batch_size}: {name}"
        if name in found:
            note = ", ".join(notes(name, found, flop(network), batch_size, memory[name]))
            mark = MARKS.get((network, batch_size)) if name == "ours" else None
            record.add(what, "images/s", *(1 / each for each in found[name]), note=note, at_least=mark)
        else:
            record.missing(what, "images/s", reasons.get(name) or reasons[PRODUCT])


@contextlib.contextmanager
def surviving(name: str, reasons: dict[str, str]) -> Iterator[None]:
    """Let what fails in the block be the reason for a row without a figure: no memory left, no compiler."""
    try:
        yield
    except Exception as error:
        reasons[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]


def notes(name: str, found: Figures, needed: int, batch_size: int, memory: float | None) -> Iterator[str]:
    """What else there is to say of a contender's figures."""
    yield f"{1e3 * batch_size * statistics.median(found[name]):.2f} ms"
    shares = [needed * product / each for product, each in zip(found[PRODUCT], found[name], strict=True)]
    yield f"{100 * statistics.median(shares):.1f} % of the rate of matrix products"
    for other, title in (("stock eager", "stock"), ("torch.compile", "torch.compile")):
        if other in found and name.startswith("ours"):
            times = [theirs / ours for theirs, ours in zip(found[other], found[name], strict=True)]
            yield f"{statistics.median(times):.2f} x {title}"
    if memory is not None:
        yield f"{memory:.1f} GB"
