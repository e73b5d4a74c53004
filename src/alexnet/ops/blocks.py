"""First-layer convolution with a faster weight gradient, computed after a space-to-depth transform of the images.

A k x k convolution with stride s equals a ceil(k / s) x ceil(k / s) convolution with stride 1 over blocks of s x s
pixels, with the colours of a block's pixels as channels: 11 x 11 with stride 4 over 3 colours becomes 3 x 3 over 48
channels. The sums are the same, apart from zeros for a twelfth row and column. Libraries compute the weight gradient as
matrix products over the channels; three channels leave the CPU's matrix unit nearly idle. Their forward pass has a
special case for images and is used as it is. Without a matrix unit their gradient is the faster one (docs/log.md).

On GPUs both passes are computed over blocks: cuDNN takes 346 us in place of 1,467 for conv1 of bvlc, forward and
backward (H200, bfloat16, 128 images; `tools/device.py`, part convolutions).
"""

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from alexnet.device import kind_of
from alexnet.ops import native, triton
from alexnet.ops.native import operators

FASTER = torch.cpu._is_amx_tile_supported()
"""Whether this processor has the matrix unit with which the transform was measured to be faster."""
MOST_COLORS = 4
"""Input channels up to which the transform is faster."""
WHOLE = 64
"""Bytes: channels are zero-padded to a multiple of one AMX tile row or vector register."""


def pays(layer: nn.Module) -> bool:
    """Whether the layer is a plain strided convolution of images, for which the transform may be faster."""
    return (
        type(layer) is nn.Conv2d
        and layer.in_channels <= MOST_COLORS
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and layer.dilation == (1, 1)
        and all(
            isinstance(pair, tuple) and pair[0] == pair[1] for pair in (layer.kernel_size, layer.stride, layer.padding)
        )
        and 1 < layer.stride[0] <= layer.kernel_size[0]
    )


def _grid(x: Tensor, kernel: int, stride: int, padding: int) -> list[int]:
    """The number of blocks that the convolution reads, vertically and horizontally."""
    return [(side + 2 * padding - kernel) // stride + _across(kernel, stride) for side in x.shape[2:]]


def _across(kernel: int, stride: int) -> int:
    """Blocks along one side of the kernel."""
    return -(-kernel // stride)


def blocks_of(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """float32 or bfloat16 images (N, C, H, W) -> (N, at least stride * stride * C, rows, columns), channels last."""
    x = x.contiguous(memory_format=torch.channels_last)
    count, colors, height, width = x.shape
    rows, columns = _grid(x, kernel, stride, padding)
    whole = WHOLE // x.element_size()
    channels = -(-stride * stride * colors // whole) * whole
    out = torch.empty(count, channels, rows, columns, dtype=x.dtype, memory_format=torch.channels_last)
    job = _Blocks(
        images=count,
        height=height,
        width=width,
        colors=colors,
        stride=stride,
        padding=padding,
        rows=rows,
        columns=columns,
        channels=channels,
        threads=torch.get_num_threads(),
    )
    native.call(f"blocks_gather_{native.TYPES[x.dtype]}", ctypes.byref(job), x, out)
    return out


def _weights_of(filters: Tensor, colors: int, kernel: int, stride: int) -> Tensor:
    """Filters over blocks (O, channels, across, across) -> weights over pixels (O, C, k, k)."""
    outputs, _, across, _ = filters.shape
    used = filters[:, : stride * stride * colors].reshape(outputs, stride, stride, colors, across, across)
    weights = used.permute(0, 3, 4, 1, 5, 2).reshape(outputs, colors, across * stride, across * stride)
    return weights[:, :, :kernel, :kernel].contiguous(memory_format=torch.channels_last)


class _Blocks(ctypes.Structure):
    """`struct Blocks` of blocks.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "colors", "stride", "padding")),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "channels")),
        ("threads", ctypes.c_int32),
    )


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    return F.conv2d(x, weight, bias, stride, padding)


def _backward(x: Tensor, dy: Tensor, weight: Tensor, biased: bool, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """The gradients of weight and bias; of no bias, an empty one."""
    outputs, colors, kernel, _ = weight.shape
    across = _across(kernel, stride)
    blocks = blocks_of(x, kernel, stride, padding)
    shape = (outputs, blocks.shape[1], across, across)
    filters = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)  # only its shape is used
    _, gradient, sums = torch.ops.aten.convolution_backward(
        dy,
        blocks,
        filters,
        bias_sizes=[outputs] if biased else None,
        stride=[1, 1],
        padding=[0, 0],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[False, True, biased],
    )
    return _weights_of(gradient, colors, kernel, stride), sums if biased else dy.new_empty(0)


def _backward_shape(
    x: Tensor, dy: Tensor, weight: Tensor, biased: bool, stride: int, padding: int
) -> tuple[Tensor, Tensor]:
    sums = dy.new_empty(weight.shape[0] if biased else 0)
    return torch.empty_like(weight, memory_format=torch.channels_last), sums


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.stride, ctx.padding = inputs
    ctx.biased = bias is not None
    ctx.save_for_backward(x, weight)


def _gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    if torch.is_grad_enabled() or operators.transformed():  # create_graph=True, or is_grads_batched=True
        gradient = conv2d_weight(x, weight.shape, dy, ctx.stride, ctx.padding)  # type: ignore[no-untyped-call]
        return None, gradient, dy.sum((0, 2, 3)) if ctx.biased else None, None, None
    operator = torch.ops.alexnet.image_conv_backward
    gradient, sums = operator(x, dy, weight, ctx.biased, ctx.stride, ctx.padding)
    return None, gradient, sums if ctx.biased else None, None, None


NAME = "alexnet::image_conv"
torch.library.define(NAME, "(Tensor x, Tensor weight, Tensor? bias, int stride, int padding) -> Tensor")
torch.library.define(
    f"{NAME}_backward", "(Tensor x, Tensor dy, Tensor weight, bool biased, int stride, int padding) -> (Tensor, Tensor)"
)
torch.library.impl(NAME, "cpu", _forward)
torch.library.impl(f"{NAME}_backward", "cpu", _backward)
torch.library.register_fake(NAME, _forward)
torch.library.register_fake(f"{NAME}_backward", _backward_shape)
torch.library.register_autograd(NAME, _gradient, setup_context=_keep)


def _gathered_shape(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    shape = (len(x), stride * stride * x.shape[1], *_grid(x, kernel, stride, padding))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _gathered(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Images (N, C, H, W) -> (N, stride * stride * C, rows, columns), channels last, in plain torch."""
    count, colors, height, width = x.shape
    rows, columns = _grid(x, kernel, stride, padding)
    right, below = columns * stride - width - padding, rows * stride - height - padding  # negative: cut off
    padded = F.pad(x, (padding, right, padding, below)).permute(0, 2, 3, 1)
    blocks = padded.reshape(count, rows, stride, columns, stride, colors).transpose(2, 3)
    return blocks.reshape(count, rows, columns, -1).permute(0, 3, 1, 2)


def _gathered_cuda(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    if not triton.usable(x.device):
        return _gathered(x, kernel, stride, padding)
    from alexnet.ops.triton.blocks import blocks_of as gather  # needs Triton, which takes half a second to import

    out = _gathered_shape(x, kernel, stride, padding)
    gather(x.contiguous(memory_format=torch.channels_last), out, stride, padding)
    return out


torch.library.define("alexnet::image_blocks", "(Tensor x, int kernel, int stride, int padding) -> Tensor")
torch.library.impl("alexnet::image_blocks", "cpu", _gathered)
torch.library.impl("alexnet::image_blocks", "cuda", _gathered_cuda)
torch.library.register_fake("alexnet::image_blocks", _gathered_shape)


def on_gpu(x: Tensor) -> bool:
    """Whether a GPU computes the convolution of these images over blocks: there is no derivative by the images."""
    return (
        kind_of(x) == "cuda"
        and not x.requires_grad
        and not torch.compiler.is_exporting()  # exported graphs must run without the operators
        and not operators.transformed()
    )


def over_blocks(layer: nn.Conv2d, x: Tensor, bias: Tensor | None) -> Tensor:
    """(N, C, H, W) -> the layer's output with this bias, as a convolution over blocks; of x no gradient."""
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    blocks = torch.ops.alexnet.image_blocks(x, kernel, stride, padding)
    return F.conv2d(blocks, filters_of(layer.weight, stride), bias)


def filters_of(weight: Tensor, stride: int) -> Tensor:
    """Weights over pixels (O, C, k, k) -> filters over blocks (O, stride * stride * C, across, across)."""
    filters: Tensor = _Filters.apply(weight, stride)
    return filters


class _Filters(torch.autograd.Function):
    """`filters_of`, whose gradient is laid out as its weights are."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, stride: int) -> Tensor:
        outputs, colors, kernel, _ = weight.shape
        across = _across(kernel, stride)
        missing = across * stride - kernel
        split = F.pad(weight, (0, missing, 0, missing)).reshape(outputs, colors, across, stride, across, stride)
        return split.permute(0, 2, 4, 3, 5, 1).reshape(outputs, across, across, -1).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.stride, (_, ctx.colors, ctx.kernel, _) = inputs[1], inputs[0].shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _weights_of(gradient, ctx.colors, ctx.kernel, ctx.stride), None


class ImageConv:
    """Call an nn.Conv2d, with the weight gradient of this file if the kernels support its input; on GPUs over blocks.

    Calls the layer unchanged if the images need a gradient, if the weights and images differ in dtype, or if autocast
    would convert them: it converts inside the operator, whose backward would then see images of another dtype.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the layer's output."""
        weight, bias = self.layer.weight, self.layer.bias
        if on_gpu(x):
            return over_blocks(self.layer, x, bias)
        mixed = weight.dtype != x.dtype or (bias is not None and bias.dtype != x.dtype) or _autocast_converts(x)
        if x.requires_grad or mixed or not operators.takes(x):
            return self.layer(x)  # type: ignore[no-any-return]
        y: Tensor = torch.ops.alexnet.image_conv(x, weight, bias, self.layer.stride[0], int(self.layer.padding[0]))
        return y


def _autocast_converts(x: Tensor) -> bool:
    """Whether autocast is on and computes convolutions of `x` in another dtype."""
    return torch.is_autocast_enabled("cpu") and x.dtype != torch.get_autocast_dtype("cpu")
