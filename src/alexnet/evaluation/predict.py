"""Predicted probabilities for stored images. N images of S x S pixels, V views of each, K classes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from alexnet.data.places import check_views
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import Store
from alexnet.device import pick_device, pick_precision
from alexnet.errors import DataError, Diverged
from alexnet.networks.layers import Network, evaluating
from alexnet.networks.prepared import Prepared
from alexnet.ops.views import Images


def probabilities(
    network: Network,
    preprocessing: Preprocessing,
    store: Store,
    indices: Sequence[int] | np.ndarray,
    views: int = 1,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Class probabilities for the images of `store` at `indices`: float32 (N, K) on the CPU.

    views: 1, 9 or 10 (`Preprocessing.views`), over which softmax outputs are averaged. batch_size: views per forward
    pass; it does not change the result. precision: "auto", "float32" or "bfloat16". progress: called with (images done,
    N). temperature: by what logits are divided. The network is moved to `device`; each layer keeps its training or
    evaluation mode.
    """
    check_views(views)
    indices = np.asarray(indices, dtype=np.int64)
    if not len(indices):
        raise DataError("no images to evaluate; choose a split that has some")
    device = torch.device(device) if isinstance(device, torch.device) else pick_device(device)
    dtype = pick_precision(precision, device)
    step = max(1, batch_size // views)
    batches = []
    with evaluating(network.to(device)):
        prepared = Prepared(network, device, dtype)
        for start in range(0, len(indices), step):
            images = store.mapped(indices[start : start + step])
            batches.append(of_images(prepared, preprocessing, images, views, temperature))
            if progress:
                progress(min(start + step, len(indices)), len(indices))
    return torch.cat(batches)


def of_images(
    prepared: Prepared, preprocessing: Preprocessing, images: Images, views: int, temperature: float = 1.0
) -> Tensor:
    """One batch: N of uint8 (S, S, 3) -> float32 (N, K) on the CPU, softmax outputs averaged over the views.

    Averaging softmax outputs over views is from Krizhevsky et al. 2012, section 4.1. Diverged where an output is not
    finite.
    """
    with torch.inference_mode():
        logits = prepared(preprocessing.views(images, views, prepared.dtype, prepared.device))
        averaged: Tensor = (logits.float() / temperature).softmax(1).view(len(images), views, -1).mean(1).cpu()
    if not averaged.isfinite().all():
        name = prepared.network.name
        raise Diverged(f"network {name!r} gave outputs that are not finite; its weights may have diverged")
    return averaged
