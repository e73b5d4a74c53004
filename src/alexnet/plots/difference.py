"""Two images and the map of where they differ."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet.data.images import Pixels
from alexnet.plots.canvas import SMALL, WIDTH, new_figure, shorten, show


def difference_figure(one: Pixels, other: Pixels, differences: NDArray[np.float32], names: tuple[str, str]) -> Figure:
    """The images, uint8 (H, W, 3), and their differences, (H, W), at least 0, over the second one in gray."""
    height, width = one.shape[:2]
    figure = new_figure(WIDTH, 0.6 + WIDTH / 3 * min(3.0, height / width))
    axes = figure.subplots(1, 3)
    for place, image, name in zip(axes, (one, other), names, strict=False):
        show(place, image, shorten(name, 40), 10)
    gray: Pixels = other.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)
    show(axes[2], gray, f"perceptual distance {float(differences.mean()):.4f}", 10)
    largest = max(float(differences.max()), 1e-6)
    colors = axes[2].imshow(differences, cmap="viridis", vmin=0, vmax=largest, alpha=0.7)
    bar = figure.colorbar(colors, ax=axes[2], fraction=0.046, pad=0.02, ticks=[0, largest])
    bar.set_ticklabels(["0", f"{largest:.2g}"], fontsize=SMALL)
    bar.outline.set_visible(False)
    return figure
