"""Shared by all figures: an off-screen canvas, a palette, image tiles, PNG files.

Figures use matplotlib's Agg canvas directly, without pyplot: no window and no global state. They are ten inches wide,
which keeps eight-point text legible on a page of 1000 pixels. Names are never parsed as formulas.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.files import whole_file

DOTS_PER_INCH = 150
WIDTH = 10.0  # inches
SMALL = 8  # points, the smallest font size

# Okabe and Ito's palette for any kind of colour vision (Color Universal Design, 2008).
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7"
GRAY = "#8a8a8a"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure on an Agg canvas; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG file atomically."""
    with whole_file(path, "wb") as file:
        file.write(png(figure))


def png(figure: Figure) -> bytes:
    """The figure as PNG; characters missing from the font become boxes, without a warning."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="png", bbox_inches="tight", pad_inches=0.1)
    return file.getvalue()


def shorten(text: str, length: int) -> str:
    """At most `length` characters; undecodable bytes of a file name become question marks, which fonts can draw."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= length else text[: length - 1] + "…"


def unnormalized(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """Undo normalisation by `mean` and `std` (RGB, 0..255): (N, 3, H, W) -> uint8 (N, H, W, 3)."""
    pixels = batch.detach().float().cpu().permute(0, 2, 3, 1).numpy() * np.array(std) + np.array(mean)
    shown: Pixels = pixels.round().clip(0, 255).astype(np.uint8)
    return shown


def show(axes: Axes, image: Pixels, title: str = "", size: float = SMALL) -> None:
    """Draw an image without axes under its title."""
    axes.imshow(image, interpolation="nearest")
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=size, pad=3, parse_math=False)


def filter_colors(weights: Tensor) -> NDArray[np.float32]:
    """(C, 3, h, w) -> (C, h, w, 3) in 0..1: 0.5 + 0.5 * weight / the filter's largest absolute weight."""
    weights = weights.detach().float().cpu()
    largest = weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    colors: NDArray[np.float32] = (0.5 + 0.5 * weights / largest).permute(0, 2, 3, 1).numpy()
    return colors


def mosaic(tiles: NDArray[np.float32], columns: int, gap: int = 1) -> NDArray[np.float32]:
    """Tiles (N, H, W, 3) in 0..1, in rows of `columns`, on white."""
    count, height, width, channels = tiles.shape
    rows = -(-count // columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.float32)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas
