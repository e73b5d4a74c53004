"""A trained network prepared once for many answers: on processors folded, packed and fused; on GPUs as it is.

On a processor BatchNorm is folded into its neighbours, dropout is gone, ReLU is computed by the convolution or dense
layer before it, and weights lie in the type of the computation and in oneDNN's layout. What lies between (LRN, pools)
are the native kernels. The network itself, which trains and which gradients are taken of, stays as it is.

float32 answers differ from the network's own by rounding, about 1e-6 of the largest logit. bfloat16 rounds weights and
the values between layers to 8 bits: logits of trained networks differ by about .5 % of their largest from those in
float32, of random ones by up to 5 % (`BOUNDS`).
"""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from alexnet.device import autocast, held_weights
from alexnet.networks.folding import Stages, affine, fold
from alexnet.networks.layers import AdaptiveAvgPool2d, Enlarge, LocallyConnected2d, Network
from alexnet.ops.frozen import version
from alexnet.ops.fusion import applied, fused, outputs_of
from alexnet.ops.lrn import LocalResponseNorm
from alexnet.ops.packed import computes_in, packed

BOUNDS = {torch.float32: 2e-5, torch.bfloat16: 5e-2}
"""How far logits may be from those of the network itself in float32, as a share of the largest: tested for all."""
LARGEST_INPUT = 1e4
"""Normalised images are smaller: at most 255 / std, where std is 1 or more but for networks that divide by 255."""
LARGEST = 1e36
"""Values below it do not overflow float32 or bfloat16 in the next sum."""
POOLS = (nn.MaxPool2d, nn.AvgPool2d, AdaptiveAvgPool2d, Enlarge)
KEEPS_BOUNDS = (*POOLS, nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Flatten, nn.ZeroPad2d, LocalResponseNorm)
"""Layers whose outputs are no larger than their inputs, or than 1; LRN where it divides by 1 or more."""
Steps = list[Callable[[Tensor], Tensor]]


class Prepared:
    """A network in evaluation mode as a function of images, and of the outputs of its stages, without gradients.

    It is prepared when it is first called, and anew where weights have changed since. Layers with hooks, a `forward` of
    a network's own and machines without oneDNN are called as they are.
    """

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype) -> None:
        """network: on `device`, in evaluation mode. dtype: float32, or bfloat16 for its convolutions and products."""
        self.network, self.device, self.dtype = network, device, dtype
        self._held: dict[str, Tensor] = {}
        self._plans: dict[tuple[str, ...], list[tuple[str, Steps]]] = {}
        self._seen: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        """Float (N, 3, H, W), normalised, on the device -> logits (N, K) in `dtype`."""
        if not self._is_packed():
            with torch.inference_mode(), autocast(self.device, self.dtype):
                return functional_call(self.network, self._weights(), (images,))  # type: ignore[no-any-return]
        *_, (last, _) = self.network.stages()
        return dict(self._packed_outputs(images, [last]))[last]

    def outputs(self, images: Tensor, wanted: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, output) of each stage wanted, in order of computation: as the network itself gives it.

        images: as for a call. wanted: names of stages; nothing is computed after the last.
        """
        if self._is_packed():
            yield from self._packed_outputs(images, wanted)
            return
        self.network._check_images(images)
        with torch.inference_mode(), autocast(self.device, self.dtype):
            yield from outputs_of(self.network.stages(), wanted, images)

    def _packed_outputs(self, images: Tensor, wanted: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        self.network._check_images(images)
        x = images.to(self.dtype)
        for name, steps in self._plan(wanted):
            with torch.inference_mode():
                for step in steps:
                    x = step(x)
            yield name, x

    def __getstate__(self) -> dict[str, Any]:
        """Without packed weights, which can be neither copied nor pickled."""
        return {**self.__dict__, "_held": {}, "_plans": {}, "_seen": []}

    def _is_packed(self) -> bool:
        """Whether packed layers compute; what is kept is dropped where weights have changed since the last call."""
        found: list[int] = []
        hooked = _look_at(self.network, found)
        if found != self._seen:
            self._seen, self._held, self._plans = found, {}, {}
        plain = type(self.network).forward is Network.forward and not hooked
        return plain and self.device.type == "cpu" and computes_in(self.dtype)

    def _weights(self) -> dict[str, Tensor]:
        """Copies of the weights in the type that autocast would convert them to for each batch."""
        if not self._held:
            self._held = held_weights(self.network, self.dtype)
        return self._held

    def _plan(self, wanted: Collection[str]) -> list[tuple[str, Steps]]:
        """For each stage wanted what is computed from the one before it on."""
        names = tuple(name for name, _ in self.network.stages() if name in wanted)
        if names not in self._plans:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._plans[names] = list(_planned(self.network.stages(), names, self.dtype))
        return self._plans[names]


def _look_at(module: nn.Module, found: list[int]) -> bool:
    """Add to `found` which layers and tensors there are and how often each was changed; whether a layer has hooks."""
    hooked = bool(module._forward_hooks or module._forward_pre_hooks)
    found.append(id(module))
    for tensor in (*module._parameters.values(), *module._buffers.values()):
        if tensor is not None:
            found += (tensor.data_ptr(), version(tensor))
    for child in module._modules.values():
        hooked |= child is not None and _look_at(child, found)
    return hooked


def _planned(
    stages: Iterable[tuple[str, nn.Module]], wanted: tuple[str, ...], dtype: torch.dtype
) -> Iterator[tuple[str, Steps]]:
    """(stage, what is computed for it from the one before it on), for each wanted."""
    largest, between = LARGEST_INPUT, list[tuple[str, nn.Module]]()
    for name, stage in stages:
        between.append((name, stage))
        if name in wanted:
            folded = fold(between)
            largest = largest_output(folded, largest)
            yield name, steps_of(folded, dtype, relu=largest < LARGEST)
            between = []


def steps_of(stages: Stages, dtype: torch.dtype, relu: bool) -> Steps:
    """The callables that compute folded stages in order. relu: whether packed layers compute the ReLU after them."""
    layers = [layer for _, layer in packed(stages, relu) if not isinstance(layer, nn.Identity)]
    return [applied(step) for step in fused(_in_type(layer, dtype) for layer in layers)]


def _in_type(layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The layer, or a copy in the type of the computation where one was left with weights; BatchNorm takes float32."""
    if isinstance(layer, nn.Conv2d | nn.Linear | LocallyConnected2d) and layer.weight.dtype != dtype:
        return copy.deepcopy(layer).to(dtype)
    return layer


def largest_output(stages: Stages, largest: float) -> float:
    """A bound for the size of all values that these stages compute from inputs of at most `largest`.

    Infinite or NaN where none is known or weights are not finite. Below it no value overflows, so that no NaN arises
    that oneDNN's ReLU would turn into 0: a network that diverged must not give answers.
    """
    for _, stage in stages:
        for layer in stage if isinstance(stage, nn.Sequential) else (stage,):
            largest = _grown(layer, largest)
            if not largest < LARGEST:
                return float("inf")
    return largest


def _grown(layer: nn.Module, largest: float) -> float:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        sums = torch.linalg.vector_norm(layer.weight.flatten(1), 1, dim=1)
        return float(_with_bias(sums * largest, layer.bias))
    if isinstance(layer, LocallyConnected2d):
        return float(_with_bias(layer.weight.abs().sum(1) * largest, layer.bias))
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.running_mean is not None:
        scale, shift = affine(layer)
        return float(_with_bias(scale.abs() * largest, shift))
    if isinstance(layer, LocalResponseNorm) and not (layer.k >= 1 and layer.alpha >= 0 and layer.beta >= 0):
        return float("inf")
    return largest if isinstance(layer, KEEPS_BOUNDS) else float("inf")


def _with_bias(sums: Tensor, bias: Tensor | None) -> Tensor:
    return (sums if bias is None else sums + bias.abs()).max()
