"""Run a network on images and record its probabilities, its last hidden vectors and the peak of every unit.

N images, K classes; a convolutional layer of C units gives maps (N, C, H, W), a dense one values (N, C). Everything is
computed in float32 on the network's device.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError, UsageError, unknown_name
from alexnet.networks.layers import Network, evaluating
from alexnet.networks.prepared import Prepared
from alexnet.ops.views import Images
from alexnet.plots.canvas import unnormalized

BATCH = 64  # images per forward pass


@dataclass(frozen=True)
class Activations:
    """A network's outputs for N images; tensors on the CPU."""

    probabilities: Tensor  # float32 (N, K)
    vectors: Tensor  # float32 (N, D): inputs of the last dense layer, the paper's fc7
    peaks: dict[str, Tensor]  # layer -> float32 (N, C): each unit's maximum in each image
    peak_positions: dict[str, Tensor]  # layer -> int16 (N, C, 2): row and column of that maximum in the unit's map


def compute_activations(
    network: Network,
    preprocessing: Preprocessing,
    images: Images,
    layers: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    temperature: float = 1.0,
) -> Activations:
    """Run the network on the centre view of each image.

    images: N >= 1 in stored form, uint8 (S, S, 3). layers: those whose peaks are recorded. progress: called with
    (images done, N). temperature: by what logits are divided. UsageError for an unknown layer, AlexNetError for outputs
    that are not finite.
    """
    for layer in layers:
        check_layer(network, layer)
    batches: list[Activations] = []
    prepared = Prepared(network, _device(network), torch.float32)
    with evaluating(network):
        for start in range(0, len(images), BATCH):
            batch = centre_views(network, preprocessing, images[start : start + BATCH])
            batches.append(_compute_batch(prepared, batch, layers, temperature))
            if progress:
                progress(min(start + BATCH, len(images)), len(images))
    return Activations(
        torch.cat([each.probabilities for each in batches]),
        torch.cat([each.vectors for each in batches]),
        {layer: torch.cat([each.peaks[layer] for each in batches]) for layer in layers},
        {layer: torch.cat([each.peak_positions[layer] for each in batches]) for layer in layers},
    )


def centre_views(network: Network, preprocessing: Preprocessing, images: Images) -> Tensor:
    """The centre views of stored images as network input: normalised float32 (N, 3, S, S) on the network's device."""
    return preprocessing.views(images, 1, torch.float32, _device(network))


def view_pixels(preprocessing: Preprocessing, images: Images) -> Pixels:
    """The centre views of stored images as RGB pixels for display: uint8 (N, S, S, 3)."""
    return unnormalized(preprocessing.views(images), preprocessing.mean, preprocessing.std)


def stage_outputs(network: Network, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (N, K) and the output of every stage by name, in evaluation mode and without gradients."""
    with evaluating(network), torch.no_grad():
        logits, outputs = network(batch, return_maps=True)
    return logits, outputs


def layers_of(stage: nn.Module) -> Iterator[nn.Module]:
    """The layers of a stage in order: those inside an nn.Sequential, or the stage itself."""
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
    """The network's convolutions by name, in order. UsageError where there are none."""
    found = [(name, stage) for name, stage in network.stages() if isinstance(stage, nn.Conv2d)]
    if not found:
        raise UsageError(f"network {network.name!r} has no convolutions, so there are no filters or maps to show")
    return found


def last_map_layer(network: Network) -> str:
    """The last layer with maps of the last convolution's shape: that convolution or its ReLU.

    Its units are neither pooled nor flattened yet. Grad-CAM uses this layer.
    """
    shapes = output_shapes(network)
    conv = convolutions(network)[-1][0]
    names = list(shapes)
    following = names[names.index(conv) :]
    return [name for name in following if shapes[name] == shapes[conv]][-1]


def output_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """By stage the shape of its output for one image of the network's input size: (C, H, W) or (C,)."""
    side = network.input_size
    _, outputs = stage_outputs(network, torch.zeros(1, 3, side, side, device=_device(network)))
    return {name: tuple(each.shape[1:]) for name, each in outputs.items()}


def last_hidden(network: Network) -> tuple[str, str]:
    """(stage, name) of the last hidden vector, the input of the last dense layer.

    stage: the stage whose output it is, possibly a dropout. name: its usual name, that of the second to last dense
    layer ("fc7"), or of the stage itself where there is none.
    """
    stages = list(network.stages())
    dense = [index for index, (_, stage) in enumerate(stages) if isinstance(stage, nn.Linear)]
    if not dense or dense[-1] == 0:
        raise UsageError(f"network {network.name!r} does not end in a dense layer; it has no vectors to compare")
    stage = stages[dense[-1] - 1][0]
    return stage, stages[dense[-2]][0] if len(dense) > 1 else stage


def _compute_batch(prepared: Prepared, batch: Tensor, layers: Sequence[str], temperature: float) -> Activations:
    network = prepared.network
    hidden, last = last_hidden(network)[0], list(network.stages())[-1][0]
    outputs = dict(prepared.outputs(batch, {*layers, hidden, last}))
    peaks, positions = {}, {}
    for layer in layers:
        peaks[layer], positions[layer] = _peaks(outputs[layer])
    vectors, logits = outputs[hidden].flatten(1).float().cpu(), outputs[last]
    if not (logits.isfinite().all() and vectors.isfinite().all()):
        raise AlexNetError(f"network {network.name!r} gave values that are not finite; its weights may have diverged")
    return Activations((logits.float() / temperature).softmax(1).cpu(), vectors, peaks, positions)


def _peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of each map, (N, C), and its row and column, int16 (N, C, 2)."""
    width = maps.shape[3] if maps.ndim == 4 else 1
    values, at = maps.float().reshape(*maps.shape[:2], -1).max(2)
    positions = torch.stack([at // width, at % width], 2)
    return values.cpu(), positions.to("cpu", torch.int16)


def _device(network: Network) -> torch.device:
    return next(network.parameters()).device
