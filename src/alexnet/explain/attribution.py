"""Which part of an image supports a label: occlusion (Zeiler and Fergus 2013) and Grad-CAM (Selvaraju et al. 2017).

Both are computed by captum. S is the side of the network's input in pixels.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.explain.activations import centre_views, last_map_layer, view_pixels
from alexnet.networks.layers import Network, evaluating
from alexnet.networks.prepared import Prepared
from alexnet.plots.attribution import AttributionRow, attribution_figure
from alexnet.plots.canvas import shorten

PATCH, STEP = 6, 24  # the occluding square has a sixth of the image's side and moves by a 24th
AT_ONCE = 32  # occluded images per forward pass


def occlusion(network: Network | Prepared, batch: Tensor, label: int, temperature: float = 1.0) -> NDArray[np.float32]:
    """The drop in the probability of `label` when a square around a pixel is occluded: (S, S), in -1..1.

    batch: float (1, 3, S, S), one normalised view; occluded pixels get the mean colour, 0 here. A pixel's value is the
    mean over the squares that cover it; negative where occlusion raises the probability. network: prepared on the
    batch's device, or one that is prepared here. temperature: by what logits are divided.
    """
    from captum.attr import Occlusion

    side = batch.shape[3]
    patch, step = max(1, side // PATCH), max(1, side // STEP)

    prepared = network if isinstance(network, Prepared) else Prepared(network, batch.device, torch.float32)

    def probability(images: Tensor) -> Tensor:
        return (prepared(images).float() / temperature).softmax(1)

    with evaluating(prepared.network), torch.no_grad():
        drop = Occlusion(probability).attribute(
            batch,
            strides=(3, step, step),
            sliding_window_shapes=(3, patch, patch),
            target=label,
            baselines=0,
            perturbations_per_eval=AT_ONCE,
        )
    result: NDArray[np.float32] = drop[0, 0].float().cpu().numpy()
    return result


def grad_cam(network: Network, batch: Tensor, label: int, layer: str | None = None) -> NDArray[np.float32]:
    """Where a layer's maps support `label`: (S, S) in 0..1, scaled to a maximum of 1, interpolated bilinearly.

    ReLU(sum over c of w_c * map_c), w_c being the mean over all positions of the logit's gradient by map c. layer: None
    for `last_map_layer`. All zero where no map supports the label.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    stage = dict(network.stages())[layer or last_map_layer(network)]

    def logits(images: Tensor) -> Tensor:
        # Runs stage by stage: fused layers do not expose their maps.
        outputs: Tensor = network(images, return_maps=True)[0]
        return outputs

    with evaluating(network), torch.enable_grad():
        found = LayerGradCam(logits, stage).attribute(
            batch.detach().clone().requires_grad_(), target=label, relu_attributions=True
        )
    interpolated = LayerAttribution.interpolate(found.detach(), tuple(batch.shape[2:]), "bilinear")
    cam = interpolated[0, 0].float().clamp_min(0).cpu().numpy()
    largest = float(cam.max())
    result: NDArray[np.float32] = cam / largest if largest > 0 else cam
    return result


def figure(
    network: Network,
    preprocessing: Preprocessing,
    images: Sequence[Pixels],
    labels: Sequence[int],
    class_names: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    truths: Sequence[int | None] = (),
    temperature: float = 1.0,
) -> Figure:
    """One row for each image: the image, occlusion and Grad-CAM for its label.

    images: N in stored form, uint8 (S, S, 3). labels: the class to explain in each image. progress: called with (images
    done, N). truths: the true classes, None if unknown; empty if all are. temperature: by what logits are divided.
    """
    batch = centre_views(network, preprocessing, list(images))
    prepared = Prepared(network, batch.device, torch.float32)
    with evaluating(network), torch.no_grad():
        probabilities = (prepared(batch).float() / temperature).softmax(1).cpu()
    known = truths or [None] * len(images)
    views = view_pixels(preprocessing, list(images))
    rows = []
    for index, (view, label, truth) in enumerate(zip(views, labels, known, strict=True)):
        title = _title(class_names, label, float(probabilities[index, label]), truth)
        one = batch[index : index + 1]
        maps = (occlusion(prepared, one, label, temperature), grad_cam(network, one, label))
        rows.append(AttributionRow(view, title, *maps))
        if progress:
            progress(index + 1, len(images))
    return attribution_figure(rows, last_map_layer(network))


def _title(class_names: Sequence[str], label: int, probability: float, truth: int | None) -> str:
    """The explained label with its probability and, if known, the true label on a second line."""
    explained = f"{shorten(class_names[label], 24)}: {probability:.1%}"
    return explained if truth is None else f"{explained}\ntrue label: {shorten(class_names[truth], 24)}"
