"""Attribution heat maps over gray images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet.data.images import Pixels
from alexnet.plots.canvas import SMALL, WIDTH, new_figure, show


@dataclass(frozen=True)
class AttributionRow:
    """One image with its heat maps."""

    image: Pixels  # uint8 (S, S, 3)
    title: str
    occlusion: NDArray[np.float32]  # (S, S): drop in probability, -1..1
    grad_cam: NDArray[np.float32]  # (S, S): 0..1


def attribution_figure(rows: Sequence[AttributionRow], layer: str) -> Figure:
    """One row for each image: the image, occlusion, Grad-CAM. layer: the one that Grad-CAM used."""
    figure = new_figure(WIDTH, 0.9 + 3.0 * len(rows))
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        show(line[0], row.image, row.title, 10)
        _draw_occlusion(figure, line[1], row.image, row.occlusion)
        show(line[2], _gray(row.image))
        line[2].imshow(row.grad_cam, cmap="viridis", vmin=0, vmax=1, alpha=0.6)
    grid[0, 1].set_title("occlusion: drop in probability\nwhen this place is hidden (% points)", fontsize=10)
    grid[0, 2].set_title(f"Grad-CAM of {layer}:\nwhere its maps support the label", fontsize=10)
    for axes in grid[:, 2]:  # one scale for all rows
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, 1), "viridis"), ax=axes, fraction=0.046, pad=0.02, ticks=[0, 1]
        )
        bar.set_ticklabels(["none", "most"], fontsize=SMALL)
        bar.outline.set_visible(False)
    return figure


def _draw_occlusion(figure: Figure, axes: Axes, image: Pixels, drop: NDArray[np.float32]) -> None:
    """Percentage points on the image's own scale, symmetric about zero."""
    points = 100 * drop
    largest = max(float(np.abs(points).max()), 1e-3)
    show(axes, _gray(image))
    colors = axes.imshow(points, cmap="PuOr_r", vmin=-largest, vmax=largest, alpha=0.65)
    bar = figure.colorbar(colors, ax=axes, fraction=0.046, pad=0.02, ticks=[-largest, 0, largest])
    bar.set_ticklabels([f"{value:+.2g}" if value else "0" for value in (-largest, 0, largest)], fontsize=SMALL)
    bar.outline.set_visible(False)


def _gray(image: Pixels) -> Pixels:
    """uint8 (S, S, 3) of mean brightness, so that only the heat map is coloured."""
    gray: Pixels = image.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)
    return gray
