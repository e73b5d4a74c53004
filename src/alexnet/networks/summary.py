"""Structure of a network: layers, output shapes, parameters, multiply-accumulates.

One image of zeros passes through a network with uninitialised weights, to record the output shapes.
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
    """One layer; settings that do not apply are None."""

    name: str
    kind: str
    kernel: int | None
    stride: int | None
    padding: int | list[int] | None
    """Pixels on each side, or [left, right, top, bottom]."""
    groups: int | None
    output_shape: list[int]
    """[C, H, W] or [features], for one image."""
    params: int
    """Weights, biases and BatchNorm's running statistics."""
    macs: int
    """Multiply-accumulates for one image, of convolutions and dense layers only, as is usual."""


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
        """Convert to plain lists and dicts."""
        return asdict(self)


def summarize(name: str, num_classes: int | None = None, input_size: int | None = None, **differences: Any) -> Summary:
    """Summarise the network that `create` returns for these arguments; raises the same errors."""
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
    """The summary as a printable table with a row of totals."""
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
    """Lines to print below the table: the totals, and remarks about the network."""
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
    """A row for each layer in the order of computation; layers inside a stage get their own rows."""
    seen: list[Layer] = []
    for stage_name, stage in network.stages():
        for inner_name, module in stage.named_modules():
            if not any(module.children()):
                _on_output(module, ".".join(filter(None, (stage_name, inner_name))), seen)
    with torch.inference_mode():
        network(torch.zeros(1, 3, network.input_size, network.input_size))
    return seen


def _on_output(module: nn.Module, name: str, seen: list[Layer]) -> None:
    """Append the module's row to `seen` when it is called."""

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
    """Number of parameters, with BatchNorm's running means and variances, as in Keras, but not its batch counter."""
    statistics = [tensor for name, tensor in module.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return sum(tensor.numel() for tensor in (*module.parameters(), *statistics))


def _macs(module: nn.Module, output: Tensor) -> int:
    """One per weight and output position; bias additions are not counted."""
    if isinstance(module, nn.Conv2d):
        return math.prod(output.shape[2:]) * module.weight.numel()
    return module.weight.numel() if isinstance(module, nn.Linear | LocallyConnected2d) else 0


def _kernel(module: nn.Module) -> int | None:
    if isinstance(module, LocalResponseNorm):
        return module.size
    return _side(getattr(module, "kernel_size", None))


def _side(value: Any) -> int | None:
    """n from n or (n, n), torch's forms of a square setting."""
    side: int | None = value[0] if isinstance(value, tuple) else value
    return side


def _padding(value: Any) -> int | list[int] | None:
    """n from n or (n, n), or a padding layer's four sides as a list."""
    return list(value) if isinstance(value, tuple) and len(value) == 4 else _side(value)


def _cell(value: object) -> str:
    return "" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _figure(number: int) -> str:
    return f"{number:,}" if number else ""
