"""Feature vectors of stored images: the outputs of any stages of a network. N images of S x S pixels."""

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import Store
from alexnet.errors import Diverged, UsageError, unknown_name
from alexnet.networks.layers import Network, evaluating
from alexnet.networks.prepared import Prepared
from alexnet.ops.views import Images

BATCH = 64  # images through the network at once
POOLS = ("average", "none")


def check_layers(network: Network, layers: Collection[str], pool: str) -> None:
    """UsageError for a stage that the network does not have, for one named twice, and for an unknown `pool`."""
    names = [name for name, _ in network.stages()]
    for layer in layers:
        if layer not in names:
            raise unknown_name(f"layer of {network.name}", str(layer), names)
    if twice := next((layer for layer in layers if list(layers).count(layer) > 1), None):
        raise UsageError(f"layer {twice} is named twice; name it once")
    if pool not in POOLS:
        raise unknown_name("pool", str(pool), POOLS)


def hidden_layer(network: Network) -> str:
    """The stage that gives the last hidden values: the one before the last dense layer of several, without dropout.

    Where that layer is the only dense one, what enters it are flattened maps; then it is the stage that gives the maps.
    """
    stages = list(network.stages())
    dense = [place for place, (_, stage) in enumerate(stages) if isinstance(stage, nn.Linear)]
    flatten = next(place for place, (_, stage) in enumerate(stages) if isinstance(stage, nn.Flatten))
    place = (dense[-1] if len(dense) > 1 else flatten) - 1
    while isinstance(stages[place][1], nn.Dropout):  # it changes nothing in evaluation
        place -= 1
    return stages[place][0]


def of_images(
    prepared: Prepared, preprocessing: Preprocessing, images: Images, layers: Collection[str], pool: str
) -> dict[str, Tensor]:
    """One batch: N of uint8 (S, S, 3) -> by stage its outputs for the centre views, float32 (N, D) on the processor.

    pool: "average" takes the mean of each map over its places, "none" flattens maps, (C, H, W) in this order. Diverged
    where an output is not finite.
    """
    found = {}
    with torch.inference_mode():
        views = preprocessing.views(images, 1, prepared.dtype, prepared.device)
        for layer, output in prepared.outputs(views, layers):
            values = output.float()
            values = values.mean((2, 3)) if output.ndim == 4 and pool == "average" else values.flatten(1)
            found[layer] = values.cpu()
    if not all(values.isfinite().all() for values in found.values()):
        name = prepared.network.name
        raise Diverged(f"network {name!r} gave values that are not finite; its weights may have diverged")
    return {layer: found[layer] for layer in layers}


def of_store(
    network: Network,
    preprocessing: Preprocessing,
    store: Store,
    layers: Collection[str],
    pool: str,
    device: torch.device,
    dtype: torch.dtype,
    rows: Sequence[int] | np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Batch by batch the features of `store`'s images, or of its `rows`, in order; see `of_images`.

    progress: called with (images done, N). Each layer keeps its training or evaluation mode.
    """
    wanted = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
    prepared = Prepared(network, device, dtype)
    with evaluating(network):
        for start in range(0, len(wanted), BATCH):
            images = store.mapped(wanted[start : start + BATCH])
            yield of_images(prepared, preprocessing, images, layers, pool)
            if progress:
                progress(min(start + BATCH, len(wanted)), len(wanted))
