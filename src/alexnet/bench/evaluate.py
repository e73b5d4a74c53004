"""Evaluation: the probabilities of a packed store's images, beside the same loop in stock PyTorch."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from alexnet.bench import stock
from alexnet.bench.measure import Contender, Options, race
from alexnet.bench.pictures import noise_store
from alexnet.bench.table import Row, fastest, rate, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import open_store
from alexnet.evaluation.predict import probabilities
from alexnet.memory import reuse_memory
from alexnet.networks import create

BATCH = 64


def measure(options: Options) -> list[Row]:
    """`bvlc`, one centre view, batches of 64 at most."""
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), options.images // 4, options.classes // 4)
        settings = options.settings(network="bvlc", store=store, batch_size=min(BATCH, options.batch_size))
        ours = Contender("bvlc: evaluation from the packed store", f"{__name__}:evaluation", settings)
        theirs = [stock.contender("evaluate", each, settings, "bvlc: ") for each in (stock.EAGER, stock.HALF)]
        found = race("evaluate", [ours, *theirs], options.repeats)
    eager, best = found[theirs[0].name], fastest(*(found[each.name] for each in theirs))
    return [
        rate("evaluate", found[ours.name], at_least=600),
        *(rate("evaluate", found[each.name]) for each in theirs),
        times_as_fast("evaluate", "bvlc: ours by stock eager float32", found[ours.name], eager),
        times_as_fast("evaluate", "bvlc: ours by the best stock", found[ours.name], best, note=best.name),
    ]


def evaluation(network: str, store: str, batch_size: int, seconds: float, device: str) -> Work:
    """What `alexnet evaluate` computes for every image of a store, as its process is set up. Unit: image."""
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
