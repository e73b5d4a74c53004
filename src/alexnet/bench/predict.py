"""Subject "predict": latency of one image with the model loaded: pixels to class names, and network alone."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet.bench import engines, given, stock
from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.pictures import PHOTO, photographs
from alexnet.bench.table import Row, duration, share, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.evaluation.predict import of_images
from alexnet.inference.classifier import Classifier
from alexnet.networks import create
from alexnet.weights.card import Card

FILE, WHOLE, ALONE = "from JPEG to names", "from pixels to names", "network alone"
MARKS = {"modern": (engines.FLOATING, 120), "bvlc": (engines.BEST, 100)}  # rival, percent of its time, network alone


def measure(options: Options) -> Iterator[Row]:
    """One image of 500 x 375 pixels, one centre view: `bvlc` beside stock PyTorch, both networks beside engines.

    Or the models of the options, in their place.
    """
    if options.models:
        yield from given.measure(options)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = str(folder / photographs(folder, 1)[0])
        yield from _whole(options)
        for network in MARKS:
            yield from _files(options, network, folder, photo)
            yield from _alone(options, network, folder)


def _whole(options: Options) -> Iterator[Row]:
    settings = options.settings(network="bvlc", photo=[PHOTO[1], PHOTO[0]])
    own = Contender(f"bvlc, {WHOLE}: ours", f"{__name__}:prediction", settings)
    yield from measured("predict", [own, *_stock(settings, WHOLE)], options.repeats, partial(_rows, own, "bvlc", WHOLE))


def _files(options: Options, network: str, folder: Path, photo: str) -> Iterator[Row]:
    settings = options.settings(network=network, photo=photo)
    title = f"{network}, {FILE}: "
    own = Contender(f"{title}ours", f"{__name__}:prediction", settings)
    others = engines.contenders("predict", settings, folder, title)
    yield from measured("predict", [own, *others], options.repeats, partial(_rows, own, network, FILE))


def _alone(options: Options, network: str, folder: Path) -> Iterator[Row]:
    settings = options.settings(network=network)
    own = Contender(f"{network}, {ALONE}: ours", f"{__name__}:prediction", settings)
    others = _stock({**settings, "photo": None}, ALONE) if network == "bvlc" else []
    others += engines.contenders("alone", {**settings, "batch_size": 1}, folder, f"{network}, {ALONE}: ")
    yield from measured("predict", [own, *others], options.repeats, partial(_rows, own, network, ALONE))


def _stock(settings: dict[str, Any], title: str) -> list[Contender]:
    return [stock.contender("predict", each, settings, f"bvlc, {title}: ") for each in (stock.EAGER, stock.HALF)]


def _rows(own: Contender, network: str, title: str, found: dict[str, Series]) -> Iterator[Row]:
    """Every contender's time, and ours as a share of stock PyTorch's and of the engines'."""
    prefix = f"{network}, {title}: "
    ours = found[own.name]
    yield from (duration("predict", each) for each in found.values())
    if eager := found.get(prefix + stock.EAGER):
        yield share("predict", f"{prefix}ours of stock eager float32", ours, eager, at_most=45)
    for what, rival in engines.rivals(found, prefix).items():
        mark = {"at_most": MARKS[network][1]} if (title, what) == (ALONE, MARKS[network][0]) else {}
        yield share("predict", f"{prefix}ours of {what}", ours, rival, note=rival.name.removeprefix(prefix), **mark)
    if title == ALONE:
        by_float, by_int8 = (found[prefix + name] for name in (engines.ORT, engines.ORT_INT8))
        mark = {"at_least": 4} if network == "modern" else {}
        yield times_as_fast("predict", f"{prefix}ONNX Runtime's int8 by its float32", by_int8, by_float, **mark)


def prediction(network: str, seconds: float, device: str, photo: list[int] | str | None = None) -> Work:
    """`Classifier.predict` of one image; photo=None: the network alone. Unit: image.

    photo: a file, or the (height, width) of an image in memory.

    The network alone gets an image in stored form, which our preprocessing crops and normalises.
    """
    net = create(network)
    preprocessing = Preprocessing(net.input_size, net.resize, net.mean, net.std)
    names = [str(number) for number in range(net.num_classes)]
    card = Card(network, net.num_classes, net.input_size, {}, names, preprocessing.to_json())
    classifier = Classifier(net, card, device, "auto")
    if photo:
        image = photo if isinstance(photo, str) else np.zeros((*photo, 3), np.uint8)
        return repeated(lambda: classifier.predict([image]), 1, seconds, device)
    side = preprocessing.store_size
    images = list(torch.zeros(1, side, side, 3, dtype=torch.uint8))
    return repeated(lambda: of_images(classifier.prepared, preprocessing, images, 1), 1, seconds, device)
