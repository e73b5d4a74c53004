"""Training: our step and our loop beside the same network in stock PyTorch and in Keras."""

import itertools
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from alexnet.bench import keras_stock, stock
from alexnet.bench.ceilings import product_contender
from alexnet.bench.measure import Contender, Options, Series, race
from alexnet.bench.pictures import noise_store
from alexnet.bench.table import Row, fastest, memory, rate, share, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.console import Report
from alexnet.data.store import open_store
from alexnet.device import pick_precision
from alexnet.memory import reuse_memory
from alexnet.networks.summary import summarize
from alexnet.runs.checkpoint import Progress
from alexnet.training.loop import train_epoch
from alexnet.training.recipes import recipe
from alexnet.training.saving import Saver
from alexnet.training.supervised import Supervised, build

RATE = 1e-4  # small enough for a loss that stays finite on noise, however often a batch is taken
PAPER = "crop,flip,pca"
LIKE_STOCK = {"optimizer": "sgd", "ema": 0.0, "train_scale": 1.0, "first_train_scale": 1.0}
ARTICLE = {"classes": 17, "batch_size": 64}  # the article's own


def measure(options: Options) -> list[Row]:
    """`bvlc` and `krizhevsky2012` with their marks, then the networks without LRN, then the article's program."""
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), options.images, options.classes)
        rows = [*_with_lrn(store, options), *_without_lrn(store, options)]
    with tempfile.TemporaryDirectory() as folder:
        return [*rows, *_article(folder, options)]


def flop(network: str) -> int:
    """Floating-point operations that a training step needs for one image.

    Two for each multiply-accumulate, three times: forward, gradient of the weights, gradient of the input. The first
    convolution's input, the image, needs no gradient.
    """
    layers = summarize(network).layers
    first = next(layer.macs for layer in layers if layer.macs)
    return 2 * (3 * sum(layer.macs for layer in layers) - first)


def _with_lrn(store: str, options: Options) -> list[Row]:
    dtype = _precision(options)
    ours = _ours("bvlc", store, options)
    single = _ours("bvlc", store, options, precision="float32")
    paper = _ours("krizhevsky2012", store, options)
    real = _real("bvlc", store, options)
    product = product_contender(dtype, options)
    theirs = [*_stock("bvlc", options), *_keras("bvlc", options)]
    found = race("train", [product, ours, single, paper, real, *theirs], options.repeats)
    step, eager = found[ours.name], found[f"bvlc: {stock.EAGER}"]
    best = fastest(*(found[each.name] for each in theirs if "Keras" not in each.name))
    needed = 100 * flop("bvlc")
    return [
        *(rate("train", found[each.name]) for each in (ours, single, paper, real, *theirs)),
        rate("train", found[product.name], "TFLOP/s", 1e-12),
        times_as_fast("train", f"bvlc: step, {dtype}, by stock eager float32", step, eager, at_least=11),
        times_as_fast("train", f"bvlc: step, {dtype}, by the best stock", step, best, at_least=5, note=_kind(best)),
        share(
            "train",
            f"bvlc: step, {dtype}, of the rate of matrix products",
            found[product.name],
            step,
            needed,
            at_least=55,
            note=f"{flop('bvlc') / 1e9:.2f} GFLOP an image",
        ),
        share("train", "krizhevsky2012: time of a step, of bvlc's", found[paper.name], step, at_most=120),
        times_as_fast("train", "bvlc: step, float32, by stock eager float32", found[single.name], eager, at_least=3),
        share("train", "bvlc: train with the paper's augmentation, of the step", step, found[real.name], at_least=92),
        memory("train", step, at_most=2.5, note="peak, with libraries, without the mapped store"),
        memory("train", found[real.name], note="the same"),
    ]


def _without_lrn(store: str, options: Options) -> list[Row]:
    rows = []
    for network, name in (("one_weird_trick", "torchvision"), ("modern", "modern")):
        ours = _ours(network, store, options, name, changes=LIKE_STOCK)
        also = [_ours(network, store, options, title="step with the recipe's Muon")] if name == "modern" else []
        contenders = [ours, *also, *_stock(network, options)]
        found = race(network, contenders, options.repeats)
        rows += [rate("train", series) for series in found.values()]
        rows += _beside_stock(network, found, ours)
    return rows


def _beside_stock(network: str, found: dict[str, Series], ours: Contender) -> list[Row]:
    step, eager = found[ours.name], found[f"{network}: {stock.EAGER}"]
    best = fastest(*(found[f"{network}: {configuration}"] for configuration in stock.CONFIGURATIONS))
    return [
        times_as_fast("train", f"{network}: step by stock eager float32", step, eager),
        times_as_fast("train", f"{network}: step by the best stock", step, best, note=_kind(best)),
    ]


def _kind(series: Series) -> str:
    """'bvlc: stock eager, float32' -> 'stock eager, float32'."""
    return series.name.rpartition(": ")[2]


def _article(folder: str, options: Options) -> list[Row]:
    """Adam, and batches of 64 at most."""
    batch = min(ARTICLE["batch_size"], options.batch_size)
    store = noise_store(Path(folder), max(batch, 2 * ARTICLE["classes"]), ARTICLE["classes"])
    ours = _ours("article", store, options, changes={"batch_size": batch})
    theirs = [*_stock("article", options, batch, ARTICLE["classes"], "adam"), *_keras("article", options, batch)]
    found = race("article", [ours, *theirs], options.repeats)
    step, keras = found[ours.name], {each.name: found[each.name] for each in theirs if "Keras" in each.name}
    rows = [rate("train", series) for series in found.values()] + _beside_stock("article", found, ours)
    for name, series in keras.items():
        at_least = 1.3 if "bfloat16" in name else 4
        rows.append(times_as_fast("train", f"article: step by {_kind(series)}", step, series, at_least=at_least))
    return rows


def _ours(
    network: str,
    store: str,
    options: Options,
    name: str | None = None,
    precision: str | None = None,
    title: str = "step",
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> Contender:
    """Our step; name: the recipe's, if it is not the network's."""
    precision = precision or _precision(options)
    told = {"batch_size": options.batch_size, "precision": precision, **changes}
    settings = options.settings(store=store, name=name or network, changes=told)
    return Contender(f"{network}: our {title}, {precision}", f"{__name__}:step", settings)


def _real(network: str, store: str, options: Options) -> Contender:
    changes = {"batch_size": options.batch_size, "augment": PAPER}
    settings = {"store": store, "name": network, "changes": changes, "device": options.device}
    name = f"{network}: our train with the paper's augmentation, {_precision(options)}"
    return Contender(name, f"{__name__}:epochs", settings)


def _stock(
    network: str, options: Options, batch_size: int = 0, classes: int = 0, optimizer: str = "sgd"
) -> list[Contender]:
    settings = options.settings(
        network=network,
        classes=classes or options.classes,
        batch_size=batch_size or options.batch_size,
        optimizer=optimizer,
    )
    return [stock.contender("train_step", each, settings, f"{network}: ") for each in stock.CONFIGURATIONS]


def _keras(network: str, options: Options, batch_size: int = 0) -> Sequence[Contender]:
    """LRN has no bfloat16 kernel there. TensorFlow chooses its device itself, so that only the processor compares."""
    if options.device != "cpu":
        return ()
    classes = ARTICLE["classes"] if network == "article" else options.classes
    precisions = ("bfloat16", "float32") if network == "article" else ("float32",)
    batch = batch_size or options.batch_size
    return [keras_stock.contender(network, classes, batch, options.seconds, precision) for precision in precisions]


def _precision(options: Options) -> str:
    return str(pick_precision("auto", torch.device(options.device))).removeprefix("torch.")


def step(store: str, name: str, changes: dict[str, Any], seconds: float, device: str) -> Work:
    """The step that `alexnet train` takes, on one batch over and over. Unit: image."""
    task = prepared(store, name, {**changes, "lr": RATE}, device)
    task.begin_epoch(0)
    loader = task.state.loader
    batch = next(iter(loader.batches(0, size=task.image_size(0))))
    numbers = itertools.cycle(range(len(loader)))
    return repeated(lambda: task.step(batch, 0, next(numbers)), loader.batch_size, seconds, device)


def epochs(store: str, name: str, changes: dict[str, Any], device: str) -> Work:
    """The loop of `alexnet train`: an epoch a repeat, from the packed store, the second first. Unit: image."""
    task = prepared(store, name, {**changes, "lr": RATE}, device)
    progress, report, stopped = Progress(), Report(0), threading.Event()
    saver = Saver(minutes=60, size=0)  # nothing is saved

    def epoch() -> float:
        progress.step = 0
        train_epoch(task, progress, report, stopped, saver)
        progress.epoch += 1
        return float(progress.step * task.state.recipe.batch_size)

    epoch()  # the first, in which the store is read from the disk
    return epoch


def prepared(store: str, name: str, changes: dict[str, Any], device: str) -> Supervised:
    """The task of a recipe with these changes, in a process set up as `alexnet train` sets it up."""
    reuse_memory()
    every: dict[str, Any] = {"validation": 0.0, "test": 0.0}  # images are for training
    return build(open_store(store, verify=False), recipe(name, device=device, **every, **changes))
