"""Subject "evaluate": class probabilities for a packed store, compared with the same loop in stock PyTorch."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from alexnet.bench import stock
from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.pictures import noise_store
from alexnet.bench.table import Row, fastest, rate, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import open_store
from alexnet.evaluation.predict import probabilities
from alexnet.memory import reuse_memory
from alexnet.networks import create

BATCH = 64


def measure(options: Options) -> Iterator[Row]:
    """`bvlc`, one centre view per image, batches of at most 64."""
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), options.images // 4, options.classes // 4)
        settings = options.settings(network="bvlc", store=store, batch_size=min(BATCH, options.batch_size))
        ours = Contender("bvlc: evaluation from the packed store", f"{__name__}:evaluation", settings)
        theirs = [stock.contender("evaluate", each, settings, "bvlc: ") for each in (stock.EAGER, stock.HALF)]

        def rows(found: dict[str, Series]) -> Iterator[Row]:
            own, stocks = found[ours.name], [found[each.name] for each in theirs]
            best = fastest(*stocks)
            yield rate("evaluate", own, at_least=600)
            yield from (rate("evaluate", each) for each in stocks)
            yield times_as_fast("evaluate", "bvlc: ours by stock eager float32", own, stocks[0])
            yield times_as_fast("evaluate", "bvlc: ours by the best stock", own, best, note=best.name)

        yield from measured("evaluate", [ours, *theirs], options.repeats, rows)


def evaluation(network: str, store: str, batch_size: int, seconds: float, device: str) -> Work:
    """The computation of `alexnet evaluate` on a whole store, in a process set up the same way. Unit: image."""
    reuse_memory()
    packed = open_store(store, verify=False)
    net = create(network, len(packed.class_names))
    net = net.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocessing = Preprocessing(net.input_size, net.resize, net.mean, net.std, packed.size)
    rows = np.arange(len(packed))
    return repeated(
        lambda: probabilities(net, preprocessing, packed, rows, batch_size=batch_size, device=device),
        len(packed),
        seconds,
        device,
    )
