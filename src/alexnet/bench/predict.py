"""One image in a process that has its model loaded: from pixels to names, and the network alone."""

import numpy as np
import torch

from alexnet.bench import stock
from alexnet.bench.measure import Contender, Options, race
from alexnet.bench.pictures import PHOTO
from alexnet.bench.table import Row, duration, share
from alexnet.bench.worker import Work, repeated
from alexnet.data.preprocess import Preprocessing
from alexnet.device import held_weights
from alexnet.evaluation.predict import of_images
from alexnet.inference.classifier import Classifier
from alexnet.networks import create
from alexnet.weights.card import Card

WHOLE, ALONE = "from pixels to names", "network alone"


def measure(options: Options) -> list[Row]:
    """`bvlc`, one centre view of an image of 500 x 375 pixels."""
    settings = options.settings(network="bvlc")
    ours, theirs = [], []
    for title, photo in ((WHOLE, [PHOTO[1], PHOTO[0]]), (ALONE, None)):
        told = {**settings, "photo": photo}
        ours.append(Contender(f"bvlc, {title}: ours", f"{__name__}:prediction", told))
        theirs += [stock.contender("predict", each, told, f"bvlc, {title}: ") for each in (stock.EAGER, stock.HALF)]
    found = race("predict", [*ours, *theirs], options.repeats)
    rows = [duration("predict", found[each.name]) for each in (*ours, *theirs)]
    for title, own in zip((WHOLE, ALONE), ours, strict=True):
        eager = found[f"bvlc, {title}: {stock.EAGER}"]
        what = f"bvlc, {title}: ours of stock eager float32"
        rows.append(share("predict", what, found[own.name], eager, at_most=45))
    return rows


def prediction(network: str, seconds: float, device: str, photo: list[int] | None = None) -> Work:
    """`Classifier.predict` of one image, or, where its height and width are not given, the network alone. Unit: image.

    The network alone has its image in the stored form, cropped and normalised by our preprocessing.
    """
    net = create(network)
    preprocessing = Preprocessing(net.input_size, net.resize, net.mean, net.std)
    names = [str(number) for number in range(net.num_classes)]
    card = Card(network, net.num_classes, net.input_size, {}, names, preprocessing.to_json())
    classifier = Classifier(net, card, device, "auto")
    if photo:
        image = np.zeros((*photo, 3), np.uint8)
        return repeated(lambda: classifier.predict([image]), 1, seconds, device)
    stored = torch.zeros(1, preprocessing.store_size, preprocessing.store_size, 3, dtype=torch.uint8)
    weights = held_weights(classifier.network, classifier.precision)
    told = (weights, preprocessing, list(stored), 1, classifier.device, classifier.precision)
    return repeated(lambda: of_images(classifier.network, *told), 1, seconds, device)
