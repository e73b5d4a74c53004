"""The images of a data set that excite a unit most, with the part of each that the unit sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from alexnet.data.images import Pixels
from alexnet.errors import UsageError
from alexnet.explain.field import Field
from alexnet.explain.look import Look
from alexnet.plots.canvas import WIDTH, new_figure, shorten, show

UNITS, IMAGES = 8, 6  # rows and columns of the picture
CONTEXT, LEAST = 3, 24.0  # a small field is shown with thrice its side of image around it, 24 pixels at least


@dataclass(frozen=True)
class Unit:
    """A unit (a map of a convolution, a value of a dense layer) and the images that excite it most, in order."""

    layer: str
    number: int
    images: list[int]  # rows of the images that were looked at
    values: list[float]  # its largest value in each
    boxes: list[tuple[float, float, float, float]]  # what it saw there: top, left, bottom, right in pixels of the view


def units(
    look: Look, field: Field, layer: str, numbers: Sequence[int] | None = None, images: int = IMAGES
) -> list[Unit]:
    """The units of a layer with the images that excite each most.

    look: of at least one image, with this layer's peaks. field: the layer's. numbers: which units; None: the eight most
    selective (`selective`).
    """
    peaks, places = look.peaks[layer], look.places[layer]
    numbers = selective(look, layer, UNITS) if numbers is None else numbers
    if wrong := [number for number in numbers if not 0 <= number < peaks.shape[1]]:
        raise UsageError(f"layer {layer} has no unit {wrong[0]}; it has 0 to {peaks.shape[1] - 1}")
    found = []
    for number in numbers:
        values, rows = peaks[:, number].topk(min(images, len(peaks)))
        boxes = [field.box(*places[row, number].tolist()) for row in rows.tolist()]
        found.append(Unit(layer, number, rows.tolist(), values.tolist(), boxes))
    return found


def selective(look: Look, layer: str, count: int) -> list[int]:
    """The units that single out a few images most clearly, most selective first.

    By how many standard deviations of its peaks over all images a unit's mean peak in its favourite images lies above
    its mean over all; units that never answer come last.
    """
    peaks = look.peaks[layer].double()
    favourites = peaks.topk(min(IMAGES, len(peaks)), dim=0).values.mean(0)
    spread = peaks.std(0, correction=0)
    scores = torch.where(spread > 0, (favourites - peaks.mean(0)) / spread.clamp_min(1e-12), -torch.inf)
    return torch.sort(scores, descending=True, stable=True).indices[:count].tolist()


def figure(found: Sequence[Unit], images: Mapping[int, Pixels], titles: Mapping[int, str]) -> Figure:
    """A row for each unit: its favourite images, the part that it sees framed, its value above.

    images: uint8 (S, S, 3) views by row, for every row that `found` names; titles: what each shows. Where a unit sees
    less than a third of the image's side, only what lies around that part is shown.
    """
    columns = max(len(unit.images) for unit in found)
    field = max(max(box[2] - box[0], box[3] - box[1]) for unit in found for box in unit.boxes)
    drawn = new_figure(WIDTH, 0.5 + 1.86 * len(found))
    grid = drawn.subplots(len(found), columns, squeeze=False)
    for line, unit in zip(grid, found, strict=True):
        for axes in line[len(unit.images) :]:
            axes.set_axis_off()
        for axes, row, value, box in zip(line, unit.images, unit.values, unit.boxes, strict=False):
            _draw(axes, images[row], box, field, f"{value:.3g}: {shorten(titles[row], 18)}")
        line[0].set_ylabel(f"unit {unit.number}", fontsize=10)
    layer = found[0].layer
    drawn.suptitle(f"{layer}: the images that excite a unit most (its value: the class)", fontsize=12)
    return drawn


def _draw(axes: Axes, image: Pixels, box: tuple[float, float, float, float], field: float, title: str) -> None:
    """An image, or what lies around the box where a field is small; field: pixels a side of the layer's fields."""
    top, left, bottom, right = box
    show(axes, image, title)
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    side = len(image)
    if not (bottom - top >= side and right - left >= side):
        for color, width in (("black", 3.2), ("white", 1.4)):  # visible on any image
            corner = (left - 0.5, top - 0.5)
            axes.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=color, linewidth=width))
    length = min(float(side), max(CONTEXT * field, LEAST))
    first, low = _begin(left, right, length, side), _begin(top, bottom, length, side)
    axes.set_xlim(first - 0.5, first + length - 0.5)
    axes.set_ylim(low + length - 0.5, low - 0.5)


def _begin(begin: float, end: float, length: float, side: int) -> float:
    """Where a stretch of `length` pixels begins that has begin ... end in its middle, as near as the image allows."""
    return float(np.clip((begin + end - length) / 2, 0, side - length))
