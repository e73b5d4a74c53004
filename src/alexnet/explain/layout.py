"""The last hidden vectors of many images in a plane: what the network takes for alike lies near."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from alexnet.errors import DataError, unknown_name
from alexnet.plots.canvas import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION, WIDTH, new_figure, shorten

METHODS = ("t-sne", "pca")
COLORED = 24  # classes that have colours and stand in the legend; the rest is gray
NAMED_FROM = 12  # images of a class from which its name is written among them; fewer have no middle to speak of
MARKERS = "os^Dv"  # with seven colours 35 looks; classes are told apart by colour, by form and by name
COLORS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, "#222222")
NAME_WIDTH, NAME_HEIGHT = 0.23, 0.028  # of the longest name that is written, in shares of the picture
FEW = 12  # images below which t-SNE has no neighbourhoods to keep


def positions(vectors: ArrayLike, method: str = "t-sne", seed: int = 0) -> NDArray[np.float64]:
    """The place of each vector in a plane: (N, D) -> (N, 2), a function of the vectors, the method and the seed.

    "pca": the two directions of largest spread. "t-sne" (van der Maaten and Hinton 2008): the neighbours are kept, the
    distances are not; from the 50 first principal components, perplexity 30 or a third of the images, begun with PCA.
    DataError for fewer than three images, or twelve for t-SNE, and where all vectors are the same.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in METHODS:
        raise unknown_name("layout", method, METHODS)
    values = np.asarray(vectors, np.float64)
    least = FEW if method == "t-sne" else 3
    if len(values) < least:
        raise DataError(f"{len(values)} images are too few for a layout by {method}; give {least} or more")
    if not np.ptp(values, axis=0).any():
        raise DataError("all images have the same vector, which gives no layout; train the network for longer")
    if method == "pca":
        return np.asarray(PCA(2, random_state=seed).fit_transform(values), np.float64)
    kept = PCA(min(50, *values.shape), random_state=seed).fit_transform(values)
    kept /= max(float(kept[:, 0].std()), 1e-12)
    perplexity = min(30.0, (len(values) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(kept), np.float64)


def _middle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """That of the points (N, 2) with the least sum of distances to the others: a name stands among its own."""
    sums = np.linalg.norm(points[:, None] - points[None], axis=2).sum(1)
    return np.asarray(points[sums.argmin()])


def figure(places: ArrayLike, labels: ArrayLike, class_names: Sequence[str], vector: str, method: str) -> Figure:
    """A point for each image, with the class's name at the one in the middle of its points.

    places: (N, 2), of `positions`. labels: (N,). vector: what was laid out ("fc7"). Up to 24 classes, those with most
    images, have colours; of these, those with twelve images or more have their names among the points.
    """
    at, of = np.asarray(places, float), np.asarray(labels)
    drawn = new_figure(WIDTH, 8.2)
    axes = drawn.subplots()
    counts = np.bincount(of, minlength=len(class_names))
    colored = sorted(int(label) for label in np.argsort(-counts, kind="stable")[:COLORED] if counts[label])
    rest = ~np.isin(of, colored)
    axes.scatter(at[rest, 0], at[rest, 1], s=14, color=GRAY, alpha=0.5, linewidths=0)
    for number, label in enumerate(colored):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number // len(COLORS) % len(MARKERS)]
        points = at[of == label]
        axes.scatter(points[:, 0], points[:, 1], s=26, alpha=0.8, linewidths=0, color=color, marker=marker, label="x")
    named = [label for label in colored if counts[label] >= NAMED_FROM]
    _names(axes, at, [_middle(at[of == label]) for label in named], [class_names[label] for label in named])
    _legend(axes, [class_names[label] for label in colored], int(rest.sum()))
    kind = "t-SNE: near is alike, distances have no unit" if method == "t-sne" else "the first two principal components"
    axes.set_title(f"{len(at):,} images by their {vector} vectors ({kind})", fontsize=12)
    unit = "no unit" if method == "t-sne" else f"in units of {vector}"
    axes.set(xlabel=f"first direction ({unit})", ylabel=f"second direction ({unit})")
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _names(axes: Axes, at: NDArray[np.float64], middles: Sequence[NDArray[np.float64]], names: Sequence[str]) -> None:
    """Each class's name at the middle of its points, readable over them, moved a little where two would meet."""
    extent = max(float(np.ptp(at, axis=0).max()), 1e-12)
    places = apart(np.reshape(middles, (-1, 2)) / extent) * extent
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "edgecolor": "none"}
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "bbox": box, "parse_math": False}
    for (x, y), name in zip(places, names, strict=True):
        axes.text(x, y, shorten(name, 20), **look)


def apart(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (N, 2) of names in shares of the picture, moved up and down until no two names meet, or nearly so."""
    moved = places.copy()
    for _ in range(100):
        order = np.argsort(moved[:, 1], kind="stable")
        still = True
        for low, high in combinations(order, 2):
            lacking = NAME_HEIGHT - (moved[high, 1] - moved[low, 1])
            if abs(moved[high, 0] - moved[low, 0]) < NAME_WIDTH and lacking > 1e-9:
                moved[low, 1] -= lacking / 2
                moved[high, 1] += lacking / 2
                still = False
        if still:
            break
    return moved


def _legend(axes: Axes, names: Sequence[str], others: int) -> None:
    """Beside the picture; of its own texts none is read as a formula."""
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, handletextpad=0.2)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(shorten(name, 22))
    if others:
        legend.set_title(f"gray: {others:,} images\nof other classes")
        legend.get_title().set_fontsize(9)
