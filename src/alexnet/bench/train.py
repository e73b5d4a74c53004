"""Subject "train": our training step and loop, compared with the same networks in stock PyTorch and Keras."""

import itertools
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from alexnet.bench import keras_stock, stock
from alexnet.bench.ceilings import product_contender
from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.pictures import noise_store
from alexnet.bench.table import Row, fastest, memory, rate, share, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.console import TrainingBar
from alexnet.data.store import open_store
from alexnet.device import pick_precision
from alexnet.memory import reuse_memory
from alexnet.networks.summary import summarize
from alexnet.runs.checkpoint import Progress
from alexnet.training.loop import train_epoch
from alexnet.training.recipes import recipe
from alexnet.training.recorded import USUAL
from alexnet.training.saving import Saver
from alexnet.training.supervised import Supervised, build

RATE = 1e-4  # learning rate; keeps the loss finite on noise
PAPER = "crop,flip,pca"
LIKE_STOCK = {"optimizer": "sgd", "ema": 0.0, "train_scale": 1.0, "first_train_scale": 1.0}
ARTICLE_CLASSES, ARTICLE_BATCH = 17, 64  # as in the article


def measure(options: Options) -> Iterator[Row]:
    """`bvlc` and `krizhevsky2012`, which have marks; two networks without LRN; the article's network."""
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder), options.images, options.classes)
        yield from _with_lrn(store, options)
        yield from _without_lrn("one_weird_trick", "torchvision", store, options)
        yield from _without_lrn("modern", "modern", store, options)
    with tempfile.TemporaryDirectory() as folder:
        yield from _article(folder, options)


def flop(network: str) -> int:
    """Floating-point operations of one training step per image.

    Each multiply-accumulate counts 2, in three passes: forward, gradient of the weights, gradient of the input. The
    input of the first convolution is the image, which needs no gradient.
    """
    layers = summarize(network).layers
    first = next(layer.macs for layer in layers if layer.macs)
    return 2 * (3 * sum(layer.macs for layer in layers) - first)


def _with_lrn(store: str, options: Options) -> Iterator[Row]:
    dtype = _precision(options)
    ours = _ours("bvlc", store, options)
    single = _ours("bvlc", store, options, precision="float32")
    paper = _ours("krizhevsky2012", store, options)
    real = _real("bvlc", store, options)
    product = product_contender(dtype, options)
    theirs = [*_stock("bvlc", options), *_keras("bvlc", options)]
    mine = {each.name: each for each in (ours, single, paper, real)}  # without bfloat16 the first two are one

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        step, eager = found[ours.name], found[f"bvlc: {stock.EAGER}"]
        best = fastest(*(found[each.name] for each in theirs if "Keras" not in each.name))
        yield from (rate("train", found[each.name]) for each in (*mine.values(), *theirs))
        yield rate("train", found[product.name], "TFLOP/s", 1e-12)
        if dtype != "float32":
            yield times_as_fast("train", f"bvlc: step, {dtype}, by stock eager float32", step, eager, at_least=11)
        yield times_as_fast(
            "train", f"bvlc: step, {dtype}, by the best stock", step, best, at_least=5, note=_kind(best)
        )
        yield _of_peak(dtype, step, found[product.name])
        yield share("train", "krizhevsky2012: time of a step, of bvlc's", found[paper.name], step, at_most=120)
        yield times_as_fast(
            "train", "bvlc: step, float32, by stock eager float32", found[single.name], eager, at_least=3
        )
        what = "bvlc: train with the paper's augmentation, of the step"
        yield share("train", what, step, found[real.name], at_least=92)
        yield memory("train", step, at_most=2.5, note="peak, with libraries, without the mapped store")
        yield memory("train", found[real.name], note="the same")

    yield from measured("train", [product, *mine.values(), *theirs], options.repeats, rows)


def _of_peak(dtype: str, step: Series, product: Series) -> Row:
    """FLOP/s of bvlc's step in percent of those of a matrix product."""
    needed = flop("bvlc")
    what, note = f"bvlc: step, {dtype}, of the rate of matrix products", f"{needed / 1e9:.2f} GFLOP an image"
    return share("train", what, product, step, 100 * needed, at_least=55, note=note)


def _without_lrn(network: str, recipe_name: str, store: str, options: Options) -> Iterator[Row]:
    """The network with stock's optimiser settings and, for modern, with its recipe's optimiser too."""
    ours = _ours(network, store, options, recipe_name, changes=LIKE_STOCK)
    muon = [_ours(network, store, options, title="step with the recipe's Muon")] if recipe_name == "modern" else []

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield from (rate("train", series) for series in found.values())
        yield from _beside_stock(network, found, ours)

    yield from measured(network, [ours, *muon, *_stock(network, options)], options.repeats, rows)


def _beside_stock(network: str, found: dict[str, Series], ours: Contender) -> Iterator[Row]:
    """Our step compared with stock eager float32 and with the fastest stock configuration."""
    step, eager = found[ours.name], found[f"{network}: {stock.EAGER}"]
    best = fastest(*(found[f"{network}: {configuration}"] for configuration in stock.CONFIGURATIONS))
    yield times_as_fast("train", f"{network}: step by stock eager float32", step, eager)
    yield times_as_fast("train", f"{network}: step by the best stock", step, best, note=_kind(best))


def _kind(series: Series) -> str:
    """'bvlc: stock eager, float32' -> 'stock eager, float32'."""
    return series.name.rpartition(": ")[2]


def _article(folder: str, options: Options) -> Iterator[Row]:
    """The article's network with Adam, batches of at most 64."""
    batch = min(ARTICLE_BATCH, options.batch_size)
    store = noise_store(Path(folder), batch, ARTICLE_CLASSES)
    ours = _ours("article", store, options, changes={"batch_size": batch})
    keras = _keras("article", options, batch)
    contenders = [ours, *_stock("article", options, batch, ARTICLE_CLASSES, "adam"), *keras]

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield from (rate("train", series) for series in found.values())
        yield from _beside_stock("article", found, ours)
        for series in (found[each.name] for each in keras):
            at_least = 1.3 if "bfloat16" in series.name else 4
            what = f"article: step by {_kind(series)}"
            yield times_as_fast("train", what, found[ours.name], series, at_least=at_least)

    yield from measured("article", contenders, options.repeats, rows)


def _ours(
    network: str,
    store: str,
    options: Options,
    name: str | None = None,
    precision: str | None = None,
    title: str = "step",
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> Contender:
    """Our training step. name: of the recipe, if it differs from the network's; title: for the row."""
    precision = precision or _precision(options)
    changed = {"batch_size": options.batch_size, "precision": precision, **changes}
    settings = options.settings(store=store, name=name or network, changes=changed)
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
    """Keras's training steps; none on a GPU, because TensorFlow chooses its device itself. Its LRN lacks bfloat16."""
    if options.device != "cpu":
        return ()
    classes = ARTICLE_CLASSES if network == "article" else options.classes
    precisions = ("bfloat16", "float32") if network == "article" else ("float32",)
    batch = batch_size or options.batch_size
    return [keras_stock.contender(network, classes, batch, options.seconds, precision) for precision in precisions]


def _precision(options: Options) -> str:
    return str(pick_precision("auto", torch.device(options.device))).removeprefix("torch.")


def step(store: str, name: str, changes: dict[str, Any], seconds: float, device: str) -> Work:
    """The training step of `alexnet train`, on the same batch each time. Unit: image."""
    task = prepared(store, name, {**changes, "lr": RATE}, device)
    task.begin_epoch(0)
    loader = task.state.loader
    batch = next(iter(loader.batches(0, size=task.image_size(0))))
    numbers = itertools.cycle(range(len(loader)))
    for _ in range(USUAL + 1 if device.startswith("cuda") else 0):  # until a GPU has recorded its step
        task.step(batch, 0, next(numbers))
    return repeated(lambda: task.step(batch, 0, next(numbers)), loader.batch_size, seconds, device)


def epochs(store: str, name: str, changes: dict[str, Any], device: str) -> Work:
    """The training loop of `alexnet train` on a packed store, one epoch per repeat. Unit: image."""
    task = prepared(store, name, {**changes, "lr": RATE}, device)
    progress, report, stopped = Progress(), TrainingBar(0), threading.Event()
    saver = Saver(minutes=60, size=0)  # nothing is saved

    def epoch() -> float:
        progress.step = 0
        train_epoch(task, progress, report, stopped, saver)
        progress.epoch += 1
        return float(progress.step * task.state.recipe.batch_size)

    epoch()  # bring the store into the page cache
    return epoch


def prepared(store: str, name: str, changes: dict[str, Any], device: str) -> Supervised:
    """The task of recipe `name` with `changes`, in a process set up as `alexnet train` does."""
    reuse_memory()
    every: dict[str, Any] = {"validation": 0.0, "test": 0.0}  # all images train
    return build(open_store(store, verify=False), recipe(name, device=device, **every, **changes))
