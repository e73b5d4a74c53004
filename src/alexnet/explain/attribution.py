"""Which part of an image speaks for a label: occlusion (Zeiler and Fergus 2013) and Grad-CAM (Selvaraju et al. 2017).

Both are computed by captum. S is the side of the view that the network sees, in pixels.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.explain.look import last_maps, shown, view
from alexnet.networks.layers import Network, evaluating
from alexnet.plots.canvas import SMALL, WIDTH, new_figure, shorten, show

PATCH, STEP = 6, 24  # the occluding square is a sixth of the side, and moves by a 24th
AT_ONCE = 32  # occluded images through the network at once


def occlusion(network: Network, batch: Tensor, label: int) -> NDArray[np.float32]:
    """How much probability of `label` is lost when a square around a pixel is hidden: (S, S), in -1..1.

    batch: float (1, 3, S, S), one view as the network takes it; hidden is what is set to the mean colour (0 there). The
    value of a pixel is the mean over the squares that cover it; negative where hiding it helps the label.
    """
    from captum.attr import Occlusion

    side = batch.shape[3]
    patch, step = max(1, side // PATCH), max(1, side // STEP)

    def probability(images: Tensor) -> Tensor:
        chances: Tensor = network(images).float().softmax(1)
        return chances

    with evaluating(network), torch.no_grad():
        lost = Occlusion(probability).attribute(
            batch,
            strides=(3, step, step),
            sliding_window_shapes=(3, patch, patch),
            target=label,
            baselines=0,
            perturbations_per_eval=AT_ONCE,
        )
    result: NDArray[np.float32] = lost[0, 0].float().cpu().numpy()
    return result


def grad_cam(network: Network, batch: Tensor, label: int, layer: str | None = None) -> NDArray[np.float32]:
    """Where a layer's maps speak for `label`: (S, S), 0..1 of the largest value, bilinear between the maps' places.

    ReLU(sum over c of w_c * map_c), w_c being the mean over all places of the logit's gradient by map c. layer: None
    for `last_maps`. All zero where nothing speaks for the label.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    stage = dict(network.stages())[layer or last_maps(network)]

    def logits(images: Tensor) -> Tensor:
        # Stage by stage: fused layers would not show their maps.
        answers: Tensor = network(images, return_maps=True)[0]
        return answers

    with evaluating(network), torch.enable_grad():
        found = LayerGradCam(logits, stage).attribute(
            batch.detach().clone().requires_grad_(), target=label, relu_attributions=True
        )
    across = LayerAttribution.interpolate(found.detach(), tuple(batch.shape[2:]), "bilinear")
    across = across[0, 0].float().clamp_min(0).cpu().numpy()
    largest = float(across.max())
    result: NDArray[np.float32] = across / largest if largest > 0 else across
    return result


def figure(
    network: Network,
    preprocessing: Preprocessing,
    images: Sequence[Pixels],
    labels: Sequence[int],
    class_names: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    truths: Sequence[int | None] = (),
) -> Figure:
    """A row for each image: the image, what occlusion says for its label, and what Grad-CAM says.

    images: N in stored form, uint8 (S, S, 3). labels: the class that is asked about, for each image. truths: the true
    classes, None where nobody knows; empty where nobody knows any.
    """
    drawn = new_figure(WIDTH, 0.9 + 3.0 * len(images))
    grid = drawn.subplots(len(images), 3, squeeze=False)
    batch = view(network, preprocessing, list(images))
    with evaluating(network), torch.no_grad():
        chances = network(batch).float().softmax(1).cpu()
    known = truths or [None] * len(images)
    rows = zip(grid, shown(preprocessing, list(images)), batch, labels, known, strict=True)
    for done, (line, image, one, label, truth) in enumerate(rows, 1):
        show(line[0], image, _title(class_names, label, float(chances[done - 1, label]), truth), 10)
        _draw_occlusion(drawn, line[1], image, occlusion(network, one[None], label))
        _draw_cam(line[2], image, grad_cam(network, one[None], label))
        if progress:
            progress(done, len(images))
    _finish(drawn, grid, last_maps(network))
    return drawn


def _title(class_names: Sequence[str], label: int, chance: float, truth: int | None) -> str:
    """The label that is asked about with its probability, 0..1, and below it the true one, where it is known."""
    asked = f"{shorten(class_names[label], 24)}: {chance:.1%}"
    return asked if truth is None else f"{asked}\ntrue class: {shorten(class_names[truth], 24)}"


def _draw_occlusion(drawn: Figure, axes: Axes, image: Pixels, lost: NDArray[np.float32]) -> None:
    """Percentage points of probability on a scale of the image's own, around zero."""
    points = 100 * lost
    largest = max(float(np.abs(points).max()), 1e-3)
    show(axes, _gray(image))
    colors = axes.imshow(points, cmap="PuOr_r", vmin=-largest, vmax=largest, alpha=0.65)
    bar = drawn.colorbar(colors, ax=axes, fraction=0.046, pad=0.02, ticks=[-largest, 0, largest])
    bar.set_ticklabels([f"{value:+.2g}" if value else "0" for value in (-largest, 0, largest)], fontsize=SMALL)
    bar.outline.set_visible(False)


def _draw_cam(axes: Axes, image: Pixels, cam: NDArray[np.float32]) -> None:
    show(axes, _gray(image))
    axes.imshow(cam, cmap="viridis", vmin=0, vmax=1, alpha=0.6)


def _finish(drawn: Figure, grid: NDArray[np.object_], layer: str) -> None:
    """What the columns mean, and Grad-CAM's scale, which is the same in all rows."""
    grid[0, 1].set_title("occlusion: probability lost\nwhen this place is hidden (% points)", fontsize=10)
    grid[0, 2].set_title(f"Grad-CAM of {layer}:\nwhere its maps speak for the label", fontsize=10)
    for axes in grid[:, 2]:
        bar = drawn.colorbar(
            ScalarMappable(Normalize(0, 1), "viridis"), ax=axes, fraction=0.046, pad=0.02, ticks=[0, 1]
        )
        bar.set_ticklabels(["none", "most"], fontsize=SMALL)
        bar.outline.set_visible(False)


def _gray(image: Pixels) -> Pixels:
    """uint8 (S, S, 3) of mean brightness, so that only the overlay has colour."""
    gray: Pixels = image.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)
    return gray
