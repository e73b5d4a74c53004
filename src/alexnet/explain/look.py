"""What a network makes of images: its answers, its last hidden values, how strongly each unit answers and where.

N images, K classes; a layer of C units gives maps (N, C, H, W), or values (N, C) where it is dense. Everything is
computed in float32 on the network's device, by stages, from the maps that `network(x, return_maps=True)` gives.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError, UsageError, unknown_name
from alexnet.explain.canvas import unnormalized
from alexnet.networks.layers import Network, evaluating
from alexnet.ops.views import Images

BATCH = 64  # images through the network at once


@dataclass(frozen=True)
class Look:
    """What a network made of N images; tensors on the processor."""

    probabilities: Tensor  # float32 (N, K)
    vectors: Tensor  # float32 (N, D): what enters the last dense layer, the paper's fc7
    peaks: dict[str, Tensor]  # by layer float32 (N, C): each unit's largest value in each image
    places: dict[str, Tensor]  # by layer int16 (N, C, 2): row and column of that value in the unit's map


def look(
    network: Network,
    preprocessing: Preprocessing,
    images: Images,
    layers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Look:
    """Show the centre view of each image to the network.

    images: N >= 1 in stored form, uint8 (S, S, 3). layers: whose units' peaks are noted. progress: called with (images
    done, N). UsageError for a layer that the network does not have, AlexNetError for values that are not finite.
    """
    for layer in layers:
        check_layer(network, layer)
    found: list[Look] = []
    for start in range(0, len(images), BATCH):
        batch = view(network, preprocessing, images[start : start + BATCH])
        found.append(_look(network, batch, layers))
        if progress:
            progress(min(start + BATCH, len(images)), len(images))
    return Look(
        torch.cat([each.probabilities for each in found]),
        torch.cat([each.vectors for each in found]),
        {layer: torch.cat([each.peaks[layer] for each in found]) for layer in layers},
        {layer: torch.cat([each.places[layer] for each in found]) for layer in layers},
    )


def view(network: Network, preprocessing: Preprocessing, images: Images) -> Tensor:
    """The centre views of stored images as the network takes them: float32 (N, 3, S, S) on its device."""
    return preprocessing.views(images, 1, torch.float32, _device(network))


def shown(preprocessing: Preprocessing, images: Images) -> Pixels:
    """The centre views of stored images as a person sees them: uint8 (N, S, S, 3), RGB."""
    return unnormalized(preprocessing.views(images), preprocessing.mean, preprocessing.std)


def maps_of(network: Network, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (N, K) and what every stage gave, by name, in evaluation mode and without gradients."""
    with evaluating(network), torch.no_grad():
        logits, maps = network(batch, return_maps=True)
    return logits, maps


def layers_of(stage: nn.Module) -> Iterator[nn.Module]:
    """The layers of a stage in their order: those inside an nn.Sequential, or the stage itself."""
    if isinstance(stage, nn.Sequential):
        for part in stage:
            yield from layers_of(part)
    else:
        yield stage


def check_layer(network: Network, layer: str) -> None:
    """UsageError for a layer that the network does not have."""
    names = [name for name, _ in network.stages()]
    if layer not in names:
        raise unknown_name(f"layer of {network.name}", layer, names)


def convolutions(network: Network) -> list[tuple[str, nn.Conv2d]]:
    """The network's convolutions with their names, in order. UsageError where there are none."""
    found = [(name, stage) for name, stage in network.stages() if isinstance(stage, nn.Conv2d)]
    if not found:
        raise UsageError(f"network {network.name!r} has no convolutions; there is nothing of that kind to look into")
    return found


def last_maps(network: Network) -> str:
    """The layer of the last maps that are as large as the last convolution's: that convolution, or its ReLU.

    What a unit has seen is then neither pooled nor flattened yet. It is the layer that Grad-CAM reads.
    """
    maps = sizes(network)
    conv = convolutions(network)[-1][0]
    names = list(maps)
    after = names[names.index(conv) :]
    return [name for name in after if maps[name] == maps[conv]][-1]


def sizes(network: Network) -> dict[str, tuple[int, ...]]:
    """By stage the shape of what it gives for one image of the network's input size: (C, H, W) or (C,)."""
    side = network.input_size
    _, maps = maps_of(network, torch.zeros(1, 3, side, side, device=_device(network)))
    return {name: tuple(each.shape[1:]) for name, each in maps.items()}


def hidden(network: Network) -> tuple[str, str]:
    """(stage, name) of the last hidden values, which enter the last dense layer.

    stage: the one that gives them (a dropout, say, which changes nothing here). name: the layer that they are known by,
    the dense layer before the last ("fc7"), or the stage itself where there is none.
    """
    stages = list(network.stages())
    dense = [index for index, (_, stage) in enumerate(stages) if isinstance(stage, nn.Linear)]
    if not dense or dense[-1] == 0:
        raise UsageError(f"network {network.name!r} does not end in a dense layer; it has no vectors to compare")
    stage = stages[dense[-1] - 1][0]
    return stage, stages[dense[-2]][0] if len(dense) > 1 else stage


def _look(network: Network, batch: Tensor, layers: Sequence[str]) -> Look:
    logits, maps = maps_of(network, batch)
    peaks, places = {}, {}
    for layer in layers:
        peaks[layer], places[layer] = _peaks(maps[layer])
    vectors = maps[hidden(network)[0]].flatten(1).float().cpu()
    if not (logits.isfinite().all() and vectors.isfinite().all()):
        raise AlexNetError(f"network {network.name!r} gave values that are not finite; its weights may have diverged")
    return Look(logits.float().softmax(1).cpu(), vectors, peaks, places)


def _peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of each map, (N, C), and its row and column, int16 (N, C, 2)."""
    width = maps.shape[3] if maps.ndim == 4 else 1
    values, at = maps.float().reshape(*maps.shape[:2], -1).max(2)
    places = torch.stack([at // width, at % width], 2)
    return values.cpu(), places.to("cpu", torch.int16)


def _device(network: Network) -> torch.device:
    return next(network.parameters()).device
