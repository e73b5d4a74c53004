"""Our networks as cuda-convnet's layers: one dictionary a layer, two beside each other for two towers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import nn

from alexnet.networks.layers import LocallyConnected2d, Network
from alexnet.ops import LocalResponseNorm
from alexnet.weights.convert import layouts

NEURONS = {nn.ReLU: "relu", nn.Tanh: "tanh[1,1]", nn.Sigmoid: "logistic"}
Layer = dict[str, Any]


def steps(network: Network) -> Iterator[list[Layer]]:
    """For each weighted layer of ours: what is computed between the one before and it, as layers without inputs."""
    found: list[Layer] = []
    for name, stage in network.stages():
        if isinstance(stage, (nn.Conv2d, nn.Linear, LocallyConnected2d)):
            yield found
            found = []
        else:
            found = [*found, *_step(name, stage)]


def _step(name: str, stage: nn.Module) -> list[Layer]:
    """A stage without weights; nothing for those that only turn or pad maps."""
    if isinstance(stage, nn.Sequential):
        return [layer for part, inner in stage.named_children() for layer in _step(f"{name}_{part}", inner)]
    if type(stage) in NEURONS:
        return [{"name": name, "type": "neuron", "neuron": {"type": NEURONS[type(stage)]}}]
    if isinstance(stage, LocalResponseNorm):
        kind = "rnorm" if stage.within_channel else "cmrnorm"
        settings = {"size": stage.size, "scale": stage.alpha_per_square, "pow": stage.beta, "minDiv": stage.k}
        return [{"name": name, "type": kind, **settings}]
    if isinstance(stage, (nn.MaxPool2d, nn.AvgPool2d)):
        kind = "max" if isinstance(stage, nn.MaxPool2d) else "avg"
        return [{"name": name, "type": "pool", "pool": kind, "sizeX": stage.kernel_size, "stride": stage.stride}]
    if isinstance(stage, nn.Dropout) and stage.p:
        return [{"name": name, "type": "dropout", "keep": 1 - stage.p, "enable": True}]
    return []


def layers(network: Network) -> dict[str, Layer]:
    """All layers by name. A network with grouped convolutions becomes two towers, a and b."""
    convolutions = [stage for _, stage in network.stages() if isinstance(stage, nn.Conv2d)]
    towers = max(stage.groups for stage in convolutions)
    ends = ["a", "b"][:towers] if towers > 1 else [""]
    size = 3 * network.input_size**2
    found: dict[str, Layer] = {"data": {"name": "data", "type": "data", "dataIdx": 0, "inputs": [], "outputs": size}}
    before = ["data"]
    values = layouts.as_numpy(network)
    weighted = layouts.weight_layers(network)
    last = list(weighted)[-1]
    for (name, stage), between in zip(weighted.items(), steps(network), strict=True):
        keep = float(np.prod([layer["keep"] for layer in between if layer["type"] == "dropout"]))
        before = [_between(found, source, between) for source in before]
        here = [""] if name == last else ends
        matrices = _matrices(values[f"{name}.weight"] / np.float32(keep), stage, len(here), len(before))
        biases = _biases(values[f"{name}.bias"], stage, len(here))
        made = []
        for place, end in enumerate(here):
            alone = getattr(stage, "groups", 1) > 1
            inputs = [before[place]] if alone else before
            layer = {"name": f"{name}{end}", "inputs": inputs, "weights": matrices[place], "biases": biases[place]}
            found[f"{name}{end}"] = layer | _settings(stage, len(inputs))
            made.append(f"{name}{end}")
        before = made
    found["probs"] = {"name": "probs", "type": "softmax", "inputs": before, "outputs": network.num_classes}
    return found


def _between(found: dict[str, Layer], source: str, between: list[Layer]) -> str:
    """Add the layers between for one tower; the name of the last."""
    end = source[-1] if source[-1:] in ("a", "b") and source != "data" else ""
    for layer in between:
        name = f"{layer['name']}{end}"
        found[name] = {**layer, "name": name, "inputs": [source]}
        source = name
    return source


def _matrices(weight: layouts.Floats, stage: nn.Module, towers: int, sources: int) -> list[list[layouts.Floats]]:
    """For each tower, for each of its inputs: (rows, out)."""
    if isinstance(stage, LocallyConnected2d):
        return [[weight.reshape(-1, weight.shape[-1])]]
    inputs = 1 if getattr(stage, "groups", 1) > 1 else sources
    return [
        [part.reshape(part.shape[0], -1).T for part in np.split(tower, inputs, 1)] for tower in np.split(weight, towers)
    ]


def _biases(bias: layouts.Floats, stage: nn.Module, towers: int) -> list[layouts.Floats]:
    if isinstance(stage, LocallyConnected2d):
        return [bias.T.reshape(-1, 1)]
    return [part[None] if isinstance(stage, nn.Linear) else part[:, None] for part in np.split(bias, towers)]


def _settings(stage: nn.Module, inputs: int) -> Layer:
    """Type and geometry, for each input."""
    if isinstance(stage, nn.Linear):
        return {"type": "fc", "outputs": stage.out_features}
    kind, shared = ("conv", 1) if isinstance(stage, nn.Conv2d) else ("local", 0)
    return {"type": kind, "sharedBiases": shared, **{key: [value] * inputs for key, value in geometry(stage).items()}}


def geometry(stage: nn.Module) -> dict[str, int]:
    """Filter, stride and padding, a negative start, as the program stores it; nothing for dense layers."""
    if isinstance(stage, LocallyConnected2d):
        return {"filterSize": stage.kernel_size, "stride": 1, "padding": -stage.padding}
    if isinstance(stage, nn.Conv2d):
        return {"filterSize": stage.kernel_size[0], "stride": stage.stride[0], "padding": -int(stage.padding[0])}
    return {}
