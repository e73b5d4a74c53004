"""The structure table of a network: layers, shapes, parameters, multiply-accumulates.

Everything is computed on torch's meta device, where tensors have shapes but no values: no weights are made.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from alexnet.networks import create
from alexnet.networks.layers import LocallyConnected2d, Network, skip_init
from alexnet.ops import LocalResponseNorm

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Layer:
    """One layer; settings that its kind does not have are None."""

    name: str
    kind: str
    kernel: int | None
    stride: int | None
    padding: int | list[int] | None
    """Pixels on all sides, or left, right, top, bottom."""
    groups: int | None
    output_shape: list[int]
    """[C, H, W] or [features], of one image."""
    params: int
    """Weights, biases and the statistics that a BatchNorm keeps."""
    macs: int
    """Multiply-accumulates for one image; convolutions and dense layers only, as they are usually counted."""


@dataclass(frozen=True)
class Summary:
    """A network's layers in order, and the totals."""

    network: str
    input_size: int
    layers: list[Layer]
    params: int
    trainable_params: int
    macs: int
    weight_bytes: int
    """Size of the weights in float32."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain lists and dicts."""
        return asdict(self)


def summarize(name: str, num_classes: int | None = None, input_size: int | None = None, **differences: Any) -> Summary:
    """The summary of the network that `create` makes of the same arguments; the same errors."""
    with skip_init():
        network = create(name, num_classes, input_size, **differences).eval()
    layers = _layers(network)
    params = _count(network)
    return Summary(
        network=name,
        input_size=network.input_size,
        layers=layers,
        params=params,
        trainable_params=sum(p.numel() for p in network.parameters() if p.requires_grad),
        macs=sum(layer.macs for layer in layers),
        weight_bytes=params * torch.float32.itemsize,
    )


def table(summary: Summary) -> "Table":
    """The summary as a table for people, totals below."""
    from rich.table import Table

    shown = Table(title=f"{summary.network}, {summary.input_size} x {summary.input_size} px", show_footer=True)
    shown.add_column("layer", footer="total")
    shown.add_column("kind")
    for heading in ("kernel", "stride", "padding", "groups", "output"):
        shown.add_column(heading, justify="right")
    shown.add_column("parameters", f"{summary.params:,}", justify="right")
    shown.add_column("MACs", f"{summary.macs:,}", justify="right")
    for layer in summary.layers:
        settings = [_cell(value) for value in (layer.kernel, layer.stride, layer.padding, layer.groups)]
        shape = " x ".join(map(str, layer.output_shape))
        shown.add_row(layer.name, layer.kind, *settings, shape, _figure(layer.params), _figure(layer.macs))
    return shown


def notes(summary: Summary) -> list[str]:
    """What to say below the table, a line each: the totals in words, and what is worth knowing of this network."""
    frozen = summary.params - summary.trainable_params
    lines = [
        f"{summary.trainable_params:,} parameters trainable, {frozen:,} not; "
        f"weights {summary.weight_bytes / 1e6:.1f} MB in float32; {summary.macs / 1e9:.3f} GMAC an image"
    ]
    if summary.network == "krizhevsky2012":
        ungrouped = summarize("krizhevsky2012", towers=1)
        lines.append(
            f"The 'eleven hundred million parameters' that articles speak of are the {ungrouped.macs:,} "
            f"multiply-accumulates of the ungrouped network; its parameters are {ungrouped.params:,}."
        )
    return lines


def _layers(network: Network) -> list[Layer]:
    """One image's way through the network. A stage made of several layers is listed as these."""
    seen: list[Layer] = []
    for stage_name, stage in network.stages():
        for inner_name, module in stage.named_modules():
            if not any(module.children()):
                _on_output(module, ".".join(filter(None, (stage_name, inner_name))), seen)
    with torch.inference_mode():
        network(torch.zeros(1, 3, network.input_size, network.input_size))
    return seen


def _on_output(module: nn.Module, name: str, seen: list[Layer]) -> None:
    """Append the module's row to `seen` when it has computed its output."""

    def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen.append(_layer(name, module, output))

    module.register_forward_hook(note)


def _layer(name: str, module: nn.Module, output: Tensor) -> Layer:
    return Layer(
        name=name,
        kind=type(module).__name__,
        kernel=_kernel(module),
        stride=_side(getattr(module, "stride", None)),
        padding=_padding(getattr(module, "padding", None)),
        groups=getattr(module, "groups", None),
        output_shape=list(output.shape[1:]),
        params=_count(module),
        macs=_macs(module, output),
    )


def _count(module: nn.Module) -> int:
    """Parameters and BatchNorm's running means and variances, as Keras counts them; not its counter of batches."""
    statistics = [tensor for name, tensor in module.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return sum(tensor.numel() for tensor in (*module.parameters(), *statistics))


def _macs(module: nn.Module, output: Tensor) -> int:
    """One for each weight at each place that the layer computes; adding the bias is not counted."""
    if isinstance(module, nn.Conv2d):
        return math.prod(output.shape[2:]) * module.weight.numel()
    return module.weight.numel() if isinstance(module, nn.Linear | LocallyConnected2d) else 0


def _kernel(module: nn.Module) -> int | None:
    if isinstance(module, LocalResponseNorm):
        return module.size
    return _side(getattr(module, "kernel_size", None))


def _side(value: Any) -> int | None:
    """The side of a square setting, which torch keeps as n or (n, n)."""
    side: int | None = value[0] if isinstance(value, tuple) else value
    return side


def _padding(value: Any) -> int | list[int] | None:
    """n for n or (n, n); the four sides of a padding layer as a list."""
    return list(value) if isinstance(value, tuple) and len(value) == 4 else _side(value)


def _cell(value: object) -> str:
    return "" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _figure(number: int) -> str:
    return f"{number:,}" if number else ""
