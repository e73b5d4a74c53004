"""Subject "evaluate": class probabilities for a packed store, compared with the same loop in stock PyTorch."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.func import functional_call

from alexnet.bench import engines, stock
from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.pictures import noise_store
from alexnet.bench.table import Row, fastest, rate, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import open_store
from alexnet.device import autocast, held_weights, pick_precision
from alexnet.evaluation.predict import probabilities
from alexnet.memory import reuse_memory
from alexnet.networks import create

BATCH = 64
MARKS = {"bvlc": (engines.BEST, 2.5), "modern": (engines.FLOATING, 1.0)}  # rival, times as fast, network alone


def measure(options: Options) -> Iterator[Row]:
    """One centre view per image, batches of at most 64: a packed store, and the network alone on one batch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = noise_store(folder, options.images // 4, options.classes // 4)
        for network in MARKS:
            yield from _stored(options, network, folder, store)
            yield from _alone(options, network, folder)


def _stored(options: Options, network: str, folder: Path, store: str) -> Iterator[Row]:
    settings = options.settings(network=network, store=store, batch_size=min(BATCH, options.batch_size))
    ours = Contender(f"{network}: evaluation from the packed store", f"{__name__}:evaluation", settings)
    theirs = [stock.contender("evaluate", each, settings, "bvlc: ") for each in (stock.EAGER, stock.HALF)]
    others = engines.contenders("evaluate", settings, folder, f"{network}: ")

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        own = found[ours.name]
        yield rate("evaluate", own, at_least=600 if network == "bvlc" else None)
        yield from (rate("evaluate", each) for each in found.values() if each is not own)
        if network == "bvlc":
            stocks = [found[each.name] for each in theirs]
            best = fastest(*stocks)
            yield times_as_fast("evaluate", "bvlc: ours by stock eager float32", own, stocks[0])
            yield times_as_fast("evaluate", "bvlc: ours by the best stock", own, best, note=best.name)
        yield from _by_engines(own, found, f"{network}: ")

    contenders = [ours, *(theirs if network == "bvlc" else ()), *others]
    yield from measured("evaluate", contenders, options.repeats, rows)


def _alone(options: Options, network: str, folder: Path) -> Iterator[Row]:
    settings = options.settings(network=network, batch_size=min(BATCH, options.batch_size))
    title = f"{network}, network alone: "
    ours = Contender(f"{title}ours", f"{__name__}:alone", settings)

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield from (rate("evaluate", each) for each in found.values())
        yield from _by_engines(found[ours.name], found, title, MARKS[network])

    contenders = [ours, *engines.contenders("alone", settings, folder, title)]
    yield from measured("evaluate", contenders, options.repeats, rows)


def _by_engines(
    own: Series, found: dict[str, Series], prefix: str, mark: tuple[str, float] | None = None
) -> Iterator[Row]:
    """Our speed by that of the engines. mark: one of them, and how many times as fast we are to be."""
    for what, rival in engines.rivals(found, prefix).items():
        at_least = mark[1] if mark and mark[0] == what else None
        note = rival.name.removeprefix(prefix)
        yield times_as_fast("evaluate", f"{prefix}ours by {what}", own, rival, note=note, at_least=at_least)


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


def alone(network: str, batch_size: int, seconds: float, device: str) -> Work:
    """The network on one batch that is ready for it, as `Classifier` computes it. Unit: image."""
    reuse_memory()
    place = torch.device(device)
    dtype = pick_precision("auto", place)
    net = create(network).eval()
    net = net.to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    side = net.input_size
    images = torch.randn(batch_size, 3, side, side, device=place)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last)
    weights = held_weights(net, dtype)

    @torch.inference_mode()
    def one() -> None:
        with autocast(place, dtype):
            functional_call(net, weights, (images,)).float()

    return repeated(one, batch_size, seconds, device)
