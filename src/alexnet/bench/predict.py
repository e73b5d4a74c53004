"""Subject "predict": latency of one image with the model loaded: pixels to class names, and network alone."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from alexnet.bench import stock
from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.pictures import PHOTO
from alexnet.bench.table import Row, duration, share
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.evaluation.predict import of_images
from alexnet.inference.classifier import Classifier
from alexnet.networks import create
from alexnet.weights.card import Card

WHOLE, ALONE = "from pixels to names", "network alone"


def measure(options: Options) -> Iterator[Row]:
    """`bvlc`, one centre view of an image of 500 x 375 pixels."""
    settings = options.settings(network="bvlc")
    ours, theirs = {}, {}
    for title, photo in ((WHOLE, [PHOTO[1], PHOTO[0]]), (ALONE, None)):
        shared = {**settings, "photo": photo}
        ours[title] = Contender(f"bvlc, {title}: ours", f"{__name__}:prediction", shared)
        theirs[title] = [
            stock.contender("predict", each, shared, f"bvlc, {title}: ") for each in (stock.EAGER, stock.HALF)
        ]
    contenders = [*ours.values(), *itertools.chain.from_iterable(theirs.values())]

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        yield from (duration("predict", found[each.name]) for each in contenders)
        for title, own in ours.items():
            eager = found[theirs[title][0].name]
            yield share("predict", f"bvlc, {title}: ours of stock eager float32", found[own.name], eager, at_most=45)

    yield from measured("predict", contenders, options.repeats, rows)


def prediction(network: str, seconds: float, device: str, photo: list[int] | None = None) -> Work:
    """`Classifier.predict` of one image of (height, width) `photo`; photo=None: the network alone. Unit: image.

    The network alone gets an image in stored form, which our preprocessing crops and normalises.
    """
    net = create(network)
    preprocessing = Preprocessing(net.input_size, net.resize, net.mean, net.std)
    names = [str(number) for number in range(net.num_classes)]
    card = Card(network, net.num_classes, net.input_size, {}, names, preprocessing.to_json())
    classifier = Classifier(net, card, device, "auto")
    if photo:
        image = np.zeros((*photo, 3), np.uint8)
        return repeated(lambda: classifier.predict([image]), 1, seconds, device)
    side = preprocessing.store_size
    images = list(torch.zeros(1, side, side, 3, dtype=torch.uint8))
    return repeated(lambda: of_images(classifier.prepared, preprocessing, images, 1), 1, seconds, device)
