"""The pictures of a trained network with their captions: a model, images and data brought to `alexnet.explain`.

Everything is computed in float32 from one view of each image, the centre. What cannot be shown is left out, with the
reason, unless the network has no such layer.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet.data.images import Pixels
from alexnet.data.splits import evenly_spaced
from alexnet.errors import DataError
from alexnet.evaluation.metrics import MANY_CLASSES, most_confused
from alexnet.explain import attribution, exciting, filters, inhibition, maps, projection
from alexnet.explain.activations import Activations, compute_activations, last_hidden, view_pixels
from alexnet.explain.field import receptive_field
from alexnet.explain.mistakes import most_confident_mistakes
from alexnet.explain.neighbours import nearest
from alexnet.inference.classifier import Classifier
from alexnet.inference.parts import Labelled
from alexnet.plots import image_grids
from alexnet.plots import projection as projection_plot
from alexnet.plots.canvas import png
from alexnet.plots.page import Picture, Table
from alexnet.plots.pictures import confusion_figure

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

EXAMPLES = 8  # images of the data that are shown if the caller gives none, as many as in the paper's figure 4
ASKED = 4  # of these, those with occlusion and Grad-CAM
DATA_UP_TO = 10_000  # images of a part that are computed, evenly spread over it
LAID_OUT_UP_TO = 2_000

NEIGHBOURS = "Nearest training images"
EXCITING = "Images that excite a unit most"
LAYOUT = "Projection of the last hidden vectors"
CONFUSION = "Confusion matrix"
PAIRS = "Classes most often confused"
LOST = "Most confident mistakes"


@dataclass(frozen=True)
class Examples:
    """The images that are shown individually."""

    images: list[Pixels]  # stored form, uint8 (S, S, 3)
    titles: list[str]
    truths: list[int | None]
    rows: list[int | None]  # of the store; None for the caller's own images
    activations: Activations


@dataclass(frozen=True)
class Part:
    """Images of one part of the data, and the network's activations for them."""

    rows: NDArray[np.int64]  # of the store
    images: Sequence[Pixels]  # memory-mapped
    labels: torch.Tensor  # int64 (N,)
    activations: Activations
    of: int  # number of images of the whole part


def parts(
    classifier: Classifier,
    found: Labelled,
    rows: NDArray[np.int64],
    layers: Sequence[str],
    progress: Progress | None,
) -> tuple[Part, Part | None]:
    """These images, and the training part: the same object if they are that part, None if there is none.

    layers: those whose peaks are recorded for the first part.
    """
    part = _look_at(classifier, found, rows, layers, progress)
    train = np.flatnonzero(found.parts == "train")
    if np.array_equal(rows, train) or not len(train):
        return part, part if len(train) else None
    return part, _look_at(classifier, found, train, (), progress)


def _look_at(
    classifier: Classifier,
    found: Labelled,
    rows: NDArray[np.int64],
    layers: Sequence[str],
    progress: Progress | None,
) -> Part:
    chosen = rows[evenly_spaced(len(rows), DATA_UP_TO)]
    some = f"{len(chosen):,} of " if len(chosen) < len(rows) else ""
    logger.info("looking at %s%s images", some, f"{len(rows):,}")
    images = found.store.mapped(chosen)
    seen = compute_activations(
        classifier.network, classifier.preprocessing, images, layers, progress, classifier.temperature
    )
    return Part(chosen, images, torch.from_numpy(found.labels[chosen]), seen, len(rows))


def given_examples(classifier: Classifier, paths: Sequence[Path], images: list[Pixels]) -> Examples:
    """The caller's images, titled by the names of their files."""
    seen = compute_activations(classifier.network, classifier.preprocessing, images, temperature=classifier.temperature)
    nothing: list[int | None] = [None] * len(images)
    return Examples(images, [path.name for path in paths], nothing, nothing, seen)


def evenly_spaced_examples(part: Part, classifier: Classifier) -> Examples:
    """Images of a part, evenly spread over it in the order of the classes."""
    order = torch.sort(part.labels, stable=True).indices
    places = order[evenly_spaced(len(order), EXAMPLES)].tolist()
    images = [np.array(part.images[place]) for place in places]
    truths = part.labels[places].tolist()
    titles = [classifier.class_names[truth] for truth in truths]
    seen = Activations(part.activations.probabilities[places], part.activations.vectors[places], {}, {})
    return Examples(images, titles, truths, part.rows[places].tolist(), seen)


# --- the pictures ---


def _picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    return Picture(name, title, caption, png(figure))


def of_the_network(classifier: Classifier) -> Picture:
    """The first layer's filters."""
    count = filters.towers(classifier.network)
    towers = (
        f" The network has {count} towers: each block of filters feeds its own group of the second convolution."
        if count > 1
        else " The network has one tower: all filters feed the whole second convolution."
    )
    return _picture(
        "filters",
        "The first layer's filters",
        "The weights of the first convolution, as in the paper's figure 3. A trained network has oriented edges and"
        f" blobs of colour; noise means that it has not been trained for long enough.{towers}",
        filters.figure(classifier.network),
    )


def of_examples(
    classifier: Classifier,
    examples: Examples,
    label: int | None,
    progress: Progress | None,
) -> Iterator[Picture]:
    """Answers, attribution, maps, and, in a network that has it, local response normalisation between channels.

    label: the class that attribution explains; None: the most probable class of each image.
    """
    network, preprocessing, names = classifier.network, classifier.preprocessing, classifier.class_names
    views, shown = view_pixels(preprocessing, examples.images), image_grids.LABELS
    yield _picture(
        "answers",
        f"The {shown} most probable labels" if shown < len(names) else "The probabilities of the labels",
        "Each image with the network's most probable labels, as in the paper's figure 4 (left). The true label is"
        f" orange and bold{f'; if it is missing, it is not among the {shown}' if shown < len(names) else ''}.",
        image_grids.top_labels_figure(
            views, examples.activations.probabilities, names, examples.truths, examples.titles
        ),
    )
    asked = _asked(examples)
    labels = [int(examples.activations.probabilities[place].argmax()) if label is None else label for place in asked]
    whose = f"the label {names[label]!r}" if label is not None else "the most probable label of each image"
    yield _picture(
        "attribution",
        "Which part of the image supports a label",
        f"Asked about {whose}. Occlusion: a square of the mean colour, with about 1/{attribution.PATCH} of the"
        " image's side, is moved over the image; orange marks places where the label's probability falls when they"
        " are hidden, purple those where it rises. Grad-CAM: where the last convolution's maps support the label.",
        attribution.figure(
            network,
            preprocessing,
            [examples.images[place] for place in asked],
            labels,
            names,
            progress,
            truths=[examples.truths[place] for place in asked],
            temperature=classifier.temperature,
        ),
    )
    for number, place in enumerate(asked if examples.rows[0] is None else asked[:1], 1):
        yield _picture(
            f"maps-{number}",
            f"Outputs of all layers: {examples.titles[place]}",
            "The outputs of the layers for one image, from input to output. Of each block the ten maps with the largest"
            " mean absolute value are shown; the shape of the output and the row's scale are at the left.",
            maps.figure(network, preprocessing, examples.images[place]),
        )
    if inhibition.first_normalization(network) is None:
        return
    yield _picture(
        "inhibition",
        "Local response normalisation: lateral inhibition",
        "Local response normalisation divides an activation by those of neighbouring maps at the same place. Gray bars"
        " are activations before, blue ones after; red bars give the reduction of each by its neighbours: strong"
        " activations reduce weak neighbours.",
        inhibition.figure(network, preprocessing, examples.images[asked[0]]),
    )


def _asked(examples: Examples) -> list[int]:
    """The indices of the examples that attribution explains: all of the caller's, some of the data's."""
    count = len(examples.images)
    return list(range(count)) if examples.rows[0] is None else evenly_spaced(count, ASKED).tolist()


def without_data(absent: str) -> dict[str, str]:
    """The titles of the pictures that need data, each with the reason. absent: why there is no data."""
    reason = f"it needs data, and {absent}; give some with --data DATA"
    return dict.fromkeys((NEIGHBOURS, EXCITING, LAYOUT, CONFUSION, LOST), reason)


def of_data(
    classifier: Classifier,
    examples: Examples,
    part: Part,
    train: Part | None,
    layers: Sequence[str],
    left_out: dict[str, str],
) -> Iterator[Picture | Table]:
    """Neighbours, exciting images, projection, confusion and mistakes; adds to `left_out` what cannot be drawn."""
    draw: dict[str, Callable[[], Picture | Table]] = {NEIGHBOURS: partial(_neighbours, classifier, examples, train)}
    draw |= {f"{EXCITING}: {layer}": partial(_exciting, classifier, part, layer) for layer in layers}
    draw[LAYOUT] = partial(_layout, classifier, part)
    draw[CONFUSION] = partial(_confusion, part, classifier.class_names)
    if len(classifier.class_names) > MANY_CLASSES:
        draw[PAIRS] = partial(confused_pairs, part, classifier.class_names)
    draw[LOST] = partial(_lost, classifier, part)
    for title, one in draw.items():
        try:
            yield one()
        except DataError as error:
            left_out[title] = str(error)


def _neighbours(classifier: Classifier, examples: Examples, train: Part | None) -> Picture:
    if train is None:
        raise DataError("the data has no training part to search for neighbours")
    vectors, own = train.activations.vectors, own_places(examples, train)
    found, distances = nearest(examples.activations.vectors, vectors, own=own)
    views = view_pixels(classifier.preprocessing, examples.images)
    rows = []
    for number, (places, lengths) in enumerate(zip(found.tolist(), distances.tolist(), strict=True)):
        labels = train.labels[places].tolist()
        truth = examples.truths[number]
        alike = int(examples.activations.probabilities[number].argmax()) if truth is None else truth
        images = list(view_pixels(classifier.preprocessing, [train.images[place] for place in places]))
        titles = [classifier.class_names[label] for label in labels]
        same = [label == alike for label in labels]
        rows.append(image_grids.NeighbourRow(views[number], examples.titles[number], images, titles, same, lengths))
    name = last_hidden(classifier.network)[1]
    whose = "the same class" if examples.truths[0] is not None else "the class that the network predicts"
    return _picture(
        "neighbours",
        NEIGHBOURS,
        f"As in the paper's figure 4 (right): the training images with the smallest Euclidean distance (the number) of"
        f" {name} vectors, the {vectors.shape[1]} inputs of the last layer. They are similar to the network even if"
        f" their pixels are not. Blue frames: {whose}; red, dashed ones: another class."
        f"{_of(train, 'training images')}",
        image_grids.neighbours_figure(rows, name),
    )


def own_places(examples: Examples, part: Part) -> list[int | None]:
    """The index of each example among the images of a part; None if it is not one of them."""
    place_of = {int(row): place for place, row in enumerate(part.rows)}
    return [None if row is None else place_of.get(row) for row in examples.rows]


def _exciting(classifier: Classifier, part: Part, layer: str) -> Picture:
    found = exciting.exciting_images(part.activations, receptive_field(classifier.network, layer), layer)
    rows = sorted({row for unit in found for row in unit.images})
    views = dict(zip(rows, view_pixels(classifier.preprocessing, [part.images[row] for row in rows]), strict=True))
    titles = {row: classifier.class_names[int(part.labels[row])] for row in rows}
    return _picture(
        f"exciting-{layer}",
        f"{EXCITING}: {layer}",
        f"The eight most selective units of {layer}, one row each, with the images, of {len(part.rows):,} that were"
        " searched, in which they reach their highest activations. Selective: the highest activations are far above"
        " the mean. The white frame with black edges is the receptive field of the highest activation; without a frame"
        " it is the whole image. Images are cropped around small receptive fields."
        f"{_of(part, 'images')}",
        exciting.figure(found, views, titles),
    )


def _layout(classifier: Classifier, part: Part) -> Picture:
    rows = evenly_spaced(len(part.rows), LAID_OUT_UP_TO)
    method = "t-sne" if len(rows) >= projection.TSNE_LEAST else "pca"
    places = projection.project(part.activations.vectors[rows].numpy(), method)
    name = last_hidden(classifier.network)[1]
    return _picture(
        "layout",
        LAYOUT,
        f"Each point is an image, placed by its {name} vector: images that are similar to the network are close. The"
        " network separates classes that form clusters of their own and confuses classes that overlap. Classes of fewer"
        f" than {projection_plot.NAMED_FROM} images are named in the legend only.",
        projection_plot.figure(places, part.labels[rows].numpy(), classifier.class_names, name, method),
    )


def _confusion(part: Part, names: Sequence[str]) -> Picture:
    return _picture(
        "confusion",
        CONFUSION,
        "A row for each true class, a column for each predicted class; correct predictions are on the diagonal."
        + _of(part, "images"),
        confusion_figure(_counts(part, len(names)), names),
    )


def confused_pairs(part: Part, names: Sequence[str]) -> Table:
    """The pairs of classes most often confused. DataError where every image is classified correctly."""
    pairs = most_confused(_counts(part, len(names)), list(names))
    if not pairs:
        raise _all_right(part)
    rows = [(pair["label"], pair["prediction"], f"{pair['images']:,}") for pair in pairs]
    return Table("confused", PAIRS, ("class", "predicted as", "images"), rows)


def _counts(part: Part, classes: int) -> NDArray[np.int64]:
    """int64 (K, K): [i][j] images of class i predicted as j."""
    said = part.activations.probabilities.argmax(1)
    counts: NDArray[np.int64] = torch.bincount(part.labels * classes + said, minlength=classes**2).numpy()
    return counts.reshape(classes, classes)


def _all_right(part: Part) -> DataError:
    return DataError(f"all {len(part.rows):,} images are classified correctly")


def _lost(classifier: Classifier, part: Part) -> Picture:
    rows = most_confident_mistakes(part.activations.probabilities, part.labels)
    if not rows:
        raise _all_right(part)
    views = view_pixels(classifier.preprocessing, [part.images[row] for row in rows])
    return _picture(
        "lost",
        LOST,
        "The misclassified images with the highest predicted probability, with the probabilities of the predicted and"
        " the true label. Wrong labels in the data often appear here first.",
        image_grids.mistakes_figure(
            views, part.activations.probabilities[rows], part.labels[rows].tolist(), classifier.class_names
        ),
    )


def _of(part: Part, what: str) -> str:
    """A sentence for the caption if not all images of the part were computed."""
    if len(part.rows) == part.of:
        return ""
    return f" Computed from {len(part.rows):,} of {part.of:,} {what}, evenly spaced."
