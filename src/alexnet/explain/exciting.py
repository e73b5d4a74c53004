"""Find the images that excite a unit most, and the receptive field of the unit's peak in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from alexnet.data.images import Pixels
from alexnet.errors import UsageError
from alexnet.explain.activations import Activations
from alexnet.explain.field import Field
from alexnet.plots.canvas import shorten
from alexnet.plots.image_grids import Box, UnitRow, units_figure

UNITS, IMAGES = 8, 6  # rows and columns of the figure


@dataclass(frozen=True)
class Unit:
    """A unit (a map of a convolution, an output of a dense layer) and the images that excite it most, in order."""

    layer: str
    number: int
    images: list[int]  # rows of `Activations`
    values: list[float]  # the unit's peak in each image
    boxes: list[Box]  # receptive field of that peak, in pixels of the view


def exciting_images(
    activations: Activations, field: Field, layer: str, numbers: Sequence[int] | None = None, images: int = IMAGES
) -> list[Unit]:
    """Units of a layer with the `images` images that excite each most.

    activations: of at least one image, with the peaks of `layer`. field: the layer's receptive field. numbers: which
    units; None: the eight most selective (`selective_units`). UsageError for a unit that does not exist.
    """
    peaks, positions = activations.peaks[layer], activations.peak_positions[layer]
    numbers = selective_units(activations, layer, UNITS) if numbers is None else numbers
    if wrong := [number for number in numbers if not 0 <= number < peaks.shape[1]]:
        raise UsageError(f"layer {layer} has no unit {wrong[0]}; it has 0 to {peaks.shape[1] - 1}")
    units = []
    for number in numbers:
        values, rows = peaks[:, number].topk(min(images, len(peaks)))
        boxes = [field.box(*positions[row, number].tolist()) for row in rows.tolist()]
        units.append(Unit(layer, number, rows.tolist(), values.tolist(), boxes))
    return units


def selective_units(activations: Activations, layer: str, count: int) -> list[int]:
    """The `count` most selective units of a layer, most selective first.

    Selectivity: (mean of the unit's six highest peaks - mean of its peaks) / standard deviation of its peaks, over all
    images. Units with constant peaks come last.
    """
    peaks = activations.peaks[layer].double()
    highest = peaks.topk(min(IMAGES, len(peaks)), dim=0).values.mean(0)
    deviation = peaks.std(0, correction=0)
    scores = torch.where(deviation > 0, (highest - peaks.mean(0)) / deviation.clamp_min(1e-12), -torch.inf)
    return torch.sort(scores, descending=True, stable=True).indices[:count].tolist()


def figure(units: Sequence[Unit], images: Mapping[int, Pixels], titles: Mapping[int, str]) -> Figure:
    """One row for each unit: the images that excite it most, receptive field framed, peak and class above.

    images, titles: by row of `Activations`, for every row in `units`; images are views, uint8 (S, S, 3).
    """
    rows = [
        UnitRow(
            f"unit {unit.number}",
            [images[row] for row in unit.images],
            [f"{value:.3g}: {shorten(titles[row], 18)}" for row, value in zip(unit.images, unit.values, strict=True)],
            unit.boxes,
        )
        for unit in units
    ]
    return units_figure(rows, f"{units[0].layer}: the images that excite each unit most (peak: class)")
