"""3 x 3 convolutions of frozen weights with 4 products for 9: Winograd's F(2 x 2, 3 x 3), on processors.

A tile of 2 x 2 output pixels is A^T [(G g G^T) * (B^T d B)] A, where d are the 4 x 4 input pixels that it reads and g
the weights (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1). Each of the
16 points is a product of matrices over all tiles and channels. The maps around the products are native kernels; values
between them are rounded to the type of the computation, so that in bfloat16 errors are about twice those of a plain
convolution, and in float32 as small.

Matrix units (AMX) compute the plain convolution faster than memory carries 16 values for 4.
"""

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.ops import native

PAYS = not torch.cpu._is_amx_tile_supported()
"""Whether this processor has no matrix unit."""
LEAST = 64
"""Channels of a group, in and out, from which the products take longer than the maps around them."""
WHOLE = 16
"""Channels of a group must be a multiple: the most floats of a vector."""
SMALLEST = 8
"""Pixels of a map's shorter side from which it is faster."""
AT_ONCE = 2 << 20
"""Values of the tiles of the images that are computed at once, so that they stay in a processor's cache."""
PAIRED = 5
"""Dimensions of weights laid out by `in_pairs`."""
SPREAD = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))  # B^T
WEIGH = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))  # G
GATHER = ((1, 1, 1, 0), (0, 1, -1, -1))  # A^T


def pays(conv: nn.Conv2d) -> bool:
    """Whether the kernels compute this convolution, and faster than oneDNN does."""
    widths = (conv.in_channels // conv.groups, conv.out_channels // conv.groups)
    return (
        PAYS
        and native.instruction_set() is not None
        and (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and all(width >= LEAST and width % WHOLE == 0 for width in widths)
    )


def takes(x: Tensor) -> bool:
    """Whether the kernels, which `ALEXNET_NATIVE` can switch off, compute from this tensor now."""
    return x.dtype in native.TYPES and native.instruction_set() is not None


def convolve(x: Tensor, points: Tensor, bias: Tensor, groups: int, relu: bool) -> Tensor:
    """float32 or bfloat16 (N, I, H, W) -> the convolution's output (N, O, H, W) in x's type, channels last.

    points, bias: of `weights_of`, in x's type.
    """
    shape = (len(x), len(bias), *x.shape[2:])
    y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    count = images_at_once(x, len(bias))
    for some, out in zip(torch.split(x, count), torch.split(y, count), strict=True):
        if points.dim() == PAIRED:
            _convolve_pairs(some, points, bias, groups, relu, out)
        else:
            join(torch.bmm(split(some, groups), points), bias, groups, relu, out)
    return y


def _convolve_pairs(x: Tensor, points: Tensor, bias: Tensor, groups: int, relu: bool, out: Tensor) -> None:
    """The convolution by one kernel, products included, into `out`."""
    x = x.contiguous(memory_format=torch.channels_last)
    before, after = _job(x, x.shape[1], groups), _job(out, out.shape[1], groups, relu)
    tiles = 16 * before.images * before.rows * before.columns
    v, m = x.new_empty(tiles * x.shape[1]), x.new_empty(tiles * out.shape[1])
    native.call("winograd_convolve_bfloat16", ctypes.byref(before), ctypes.byref(after), x, points, bias, v, m, out)


def weights_of(conv: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The weights as `points_of` gives them, in `dtype`, and the bias, float32 (O).

    Where the kernels multiply (bfloat16 with AVX-512 BF16), weights lie as `in_pairs` gives them.
    """
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().float()
    points = points_of(conv.weight.detach(), conv.groups).to(dtype)
    multiplied = dtype == torch.bfloat16 and native.instruction_set() == "avx512bf16"
    return in_pairs(points) if multiplied else points, bias


def in_pairs(points: Tensor) -> Tensor:
    """Matrices (P, I, O) -> (P, O / 16, I / 2, 16, 2): pairs of inputs beside each other, for 16 outputs at once."""
    count, inputs, outputs = points.shape
    return points.view(count, inputs // 2, 2, outputs // 16, 16).permute(0, 3, 1, 4, 2).contiguous()


def points_of(weight: Tensor, groups: int) -> Tensor:
    """Weights (O, I / groups, 3, 3) -> G g G^T of each as matrices, (16 * groups, I / groups, O / groups), float64."""
    g = torch.tensor(WEIGH, dtype=torch.float64)
    spread = torch.einsum("ai,oxij,bj->abxo", g, weight.double(), g)  # 4, 4, I / groups, O
    inputs, outputs = spread.shape[2:]
    return spread.reshape(16, inputs, groups, outputs // groups).transpose(1, 2).flatten(0, 1).contiguous()


def split(x: Tensor, groups: int) -> Tensor:
    """float32 or bfloat16 (N, I, H, W) -> B^T d B of each tile, (16 * groups, N * tiles, I / groups)."""
    x = x.contiguous(memory_format=torch.channels_last)
    job = _job(x, x.shape[1], groups)
    v = x.new_empty((16 * groups, job.images * job.rows * job.columns, job.channels))
    native.call(f"winograd_split_{native.TYPES[x.dtype]}", ctypes.byref(job), x, v)
    return v


def join(m: Tensor, bias: Tensor, groups: int, relu: bool, out: Tensor) -> None:
    """Products of each tile -> A^T m A plus bias, float32 (O), and ReLU, into `out` (N, O, H, W), channels last."""
    job = _job(out, out.shape[1], groups, relu)
    native.call(f"winograd_join_{native.TYPES[m.dtype]}", ctypes.byref(job), m, bias, out)


def plain_split(x: Tensor, groups: int) -> Tensor:
    """What `split` gives, in plain torch."""
    height, width = x.shape[2:]
    framed = F.pad(x.float(), (1, 1 + width % 2, 1, 1 + height % 2))
    tiles = framed.unfold(2, 4, 2).unfold(3, 4, 2)  # N, I, rows of tiles, columns, 4, 4
    b = torch.tensor(SPREAD, dtype=torch.float32)
    spread = torch.einsum("ai,nxrqij,bj->abxnrq", b, tiles, b)
    return spread.reshape(16, groups, x.shape[1] // groups, -1).flatten(0, 1).transpose(1, 2).to(x.dtype)


class _Winograd(ctypes.Structure):
    """`struct Winograd` of winograd.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "rows", "columns", "groups", "channels")),
        *((name, ctypes.c_int32) for name in ("relu", "threads")),
    )


def _job(x: Tensor, channels: int, groups: int, relu: bool = False) -> _Winograd:
    """The kernels' settings for maps of x's size with this number of channels in all groups."""
    count, _, height, width = x.shape
    return _Winograd(
        images=count,
        height=height,
        width=width,
        rows=-(-height // 2),
        columns=-(-width // 2),
        groups=groups,
        channels=channels // groups,
        relu=relu,
        threads=native.threads(),
    )


def images_at_once(x: Tensor, outputs: int) -> int:
    """How many images of x's size are computed at once: `AT_ONCE` values, before and after the products."""
    tiles = -(-x.shape[2] // 2) * -(-x.shape[3] // 2)
    return max(1, AT_ONCE // (16 * tiles * (x.shape[1] + outputs)))
