"""Stored uint8 images to network input: crop, resize, flip, colour transform, noise; and mixup and CutMix.

In plain torch, or by a native kernel in one pass over memory. N images of S x S pixels, views of size x size pixels,
RGB values in 0..255.
"""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.device import has_float64
from alexnet.errors import UsageError
from alexnet.ops import native

Images = Sequence[NDArray[np.uint8] | Tensor]
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601 weights of R, G and B in a gray value


class Placed(Protocol):
    """N images that know where they lie in memory: they are rendered without an array for each."""

    def shapes(self) -> set[tuple[int, ...]]:
        """Of all images."""
        ...

    def addresses(self) -> NDArray[np.uint64]:
        """uint64 (N,): where each image begins; its bytes, (S, S, 3), follow one another."""
        ...


@dataclass(frozen=True)
class Windows:
    """The crop of each of N images that is resized to the view."""

    parts: Tensor  # float32 (N, 4): top, left, height, width in pixels of the stored image
    bounded: bool = True  # resampling ignores pixels outside the crop
    mirrored: Tensor | None = None  # bool (N,): flip left to right

    @classmethod
    def square(cls, tops: Sequence[float], lefts: Sequence[float], side: float) -> "Windows":
        """Square crops with these top left corners."""
        places = torch.tensor([tops, lefts], dtype=torch.float32)
        return cls(torch.cat([places, torch.full_like(places, side)]).T.contiguous(), bounded=False)


@dataclass(frozen=True)
class ColorMap:
    """An affine colour transform per image: value -> matrix @ value + offset + gray * (mean gray of the image)."""

    matrix: Tensor  # float32 (N, 3, 3)
    offset: Tensor  # float32 (N, 3)
    gray: Tensor  # float32 (N, 3)

    @classmethod
    def identity(cls, count: int) -> "ColorMap":
        """`count` identity transforms."""
        zeros = torch.zeros(count, 3)
        return cls(torch.eye(3).expand(count, 3, 3), zeros, zeros)

    def then(self, matrix: Tensor, offset: Tensor) -> "ColorMap":
        """This transform followed by another; matrix (N, 3, 3) or (3, 3), offset (N, 3) or (3,)."""
        columns = torch.cat([self.matrix, self.offset[:, :, None], self.gray[:, :, None]], 2)
        moved = matrix.expand_as(self.matrix).bmm(columns)
        return ColorMap(moved[:, :, :3], moved[:, :, 3] + offset, moved[:, :, 4])

    def scaled(self, factors: Tensor) -> "ColorMap":
        """This transform followed by a multiplication; factors (N, 3), (N, 1) or (3,)."""
        return ColorMap(self.matrix * factors[..., None], self.offset * factors, self.gray * factors)

    def normalized(self, mean: Sequence[float], std: Sequence[float]) -> "ColorMap":
        """This transform followed by (value - mean) / std."""
        scale = 1 / torch.tensor(std)
        scaled = self.scaled(scale)
        return replace(scaled, offset=scaled.offset - torch.tensor(mean) * scale)

    def apply(self, batch: Tensor) -> Tensor:
        """(N, 3, H, W) of any dtype -> float32 of the same shape, channels last."""
        matrix, offset, gray = (each.to(batch.device) for each in (self.matrix, self.offset, self.gray))
        pixels = batch.permute(0, 2, 3, 1).flatten(1, 2).float()
        if self.gray.any():
            offset = offset + gray * (pixels.mean(1) @ torch.tensor(LUMA, device=batch.device))[:, None]
        mapped = torch.baddbmm(offset[:, None, :], pixels, matrix.transpose(1, 2))
        return mapped.view(len(batch), *batch.shape[2:], 3).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Mixing:
    """Mixup and CutMix parameters of a batch: image n is mixed with image N - 1 - n, its partner."""

    share: Tensor  # float32 (N,), 0..1: weight of the image outside its box; inside the box is the partner alone
    box: Tensor  # int32 (N, 4): top, bottom (exclusive), left, right (exclusive)

    def visible(self, size: int) -> Tensor:
        """float32 (N,): the fraction of each mixed image that comes from image n."""
        top, bottom, left, right = self.box.unbind(1)
        return self.share * (1 - (bottom - top) * (right - left) / size**2)


def render(
    images: Images,
    shown: Windows,
    colors: ColorMap,
    size: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    noise: tuple[Tensor, Tensor] | None = None,
    pinned: bool = False,
) -> Tensor:
    """Render views of N images, each uint8 (S, S, 3), as `dtype` (N, 3, size, size), channels last.

    device: of the result; None: that of the images. A GPU with Triton renders by a kernel of its own. Otherwise
    images in memory are rendered for the processor and for CUDA by the native kernel, on the processor, where there is
    one, else on the device in plain torch. pinned: whether a result on the processor lies in memory that a GPU reads by
    itself. A crop of the view's size is copied, others are resized with bilinear interpolation and antialiasing, as in
    torch's interpolate. noise: keys, int64 (N,), and standard
    deviations per channel, float32 (3,); `normals` of the keys times the deviations are added after the colour
    transform. Raises UsageError for images of different sizes and for crops that exceed them.
    """
    check_windows(images, shown)
    given = images[0].device if isinstance(images[0], Tensor) else torch.device("cpu")
    device = device or given
    if device.type == "cuda":
        from alexnet.ops import gpu_views  # which is made of what stands here

        if gpu_views.renders(device, dtype):
            return gpu_views.render_there(images, shown, colors, size, dtype, device, noise)
    if given.type == "cpu" and rendered_by_processor(device, dtype):
        rendered = _render(images, shown, colors, size, dtype, noise, pinned or device.type == "cuda")
        return rendered.to(device, non_blocking=True)  # torch keeps the pinned memory until its copy is over
    batch = _stacked(images).to(device)
    pairs = zip(batch, shown.parts.tolist(), strict=True)
    parts = torch.stack([_part(image, part, shown.bounded, size) for image, part in pairs])
    if shown.mirrored is not None:
        parts = torch.where(shown.mirrored.view(-1, 1, 1, 1).to(device), parts.flip(3), parts)
    result = colors.apply(parts)
    if noise is not None:
        values = normals(noise[0], result[0].numel(), device).view(-1, size, size, 3)
        result = result + (values * noise[1].to(device)).permute(0, 3, 1, 2)
    return result.to(dtype)


def rendered_by_processor(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `render` of images in memory takes the native kernel for a result on this device.

    A GPU needs some forty small operations for each image, which takes longer than a training step.
    """
    return device.type in ("cpu", "cuda") and dtype in native.TYPES and native.instruction_set() is not None


def normals(keys: Tensor, count: int, device: torch.device | None = None) -> Tensor:
    """float32 (N, count): standard normal values, each a function of its key, int64 (N,), and its index only.

    device: of the result; None: that of the keys. They are computed on the CPU if the device lacks float64.

    Philox-4x32-10 (Salmon et al. 2011) turns each counter i = 0, 1, ... into four words, and two Box-Muller transforms
    turn these into the values at i, i + Q, i + 2 Q and i + 3 Q, where Q is count / 4 rounded up to a multiple of 16.
    """
    device = device or keys.device
    keys = keys.to(device if has_float64(device) else "cpu")
    low = 2**32 - 1
    counter = torch.arange((count + 63) // 64 * 16, device=keys.device)
    a = counter.expand(len(keys), -1)
    b = c = d = torch.zeros_like(a)
    key0, key1 = (keys & low)[:, None], (keys >> 32 & low)[:, None]
    for _ in range(10):
        product0, product1 = a * 0xD2511F53, c * 0xCD9E8D57  # 32 x 32 bits; the wrap at 2^64 loses nothing
        a, b, c, d = (
            (product1 >> 32 & low) ^ b ^ key0,
            product1 & low,
            (product0 >> 32 & low) ^ d ^ key1,
            product0 & low,
        )
        key0, key1 = key0 + 0x9E3779B9 & low, key1 + 0xBB67AE85 & low
    points = [
        torch.polar(_radius(first), second.double() * (2 * math.pi / 2**32)) for first, second in ((a, b), (c, d))
    ]
    return torch.cat([part for point in points for part in (point.real, point.imag)], 1)[:, :count].float().to(device)


def _radius(words: Tensor) -> Tensor:
    return (-2 * (((words >> 8).double() + 0.5) / 2**24).log()).sqrt()


def _is_placed(images: Images | Placed) -> TypeGuard[Placed]:
    """What isinstance would tell, which takes as long for a protocol as rendering a small image."""
    return hasattr(images, "addresses")


def check_windows(images: Images, shown: Windows) -> None:
    """Raise UsageError for crops outside the images, which the kernel would read out of bounds."""
    side = len(images[0])
    shapes = images.shapes() if _is_placed(images) else {tuple(image.shape) for image in images}
    if shapes != {(side, side, 3)}:
        raise UsageError(f"images of {sorted(shapes)}; they must be of one square size, with three channels")
    check_parts(shown, side)


def check_parts(shown: Windows, side: int) -> None:
    """Raise UsageError for crops outside images of `side` x `side` pixels."""
    parts = shown.parts.numpy()
    begins, lengths = parts[:, :2], parts[:, 2:]
    inside = (begins >= 0) & (lengths > 0) & (begins + lengths <= side * (1 + 1e-6))
    if not inside.all():
        wrong = parts[~inside.all(1)][0].tolist()
        raise UsageError(f"part (top, left, height, width) {wrong} is not a part of images of {side} x {side} pixels")


def _stacked(images: Images) -> Tensor:
    return torch.stack([each if isinstance(each, Tensor) else torch.from_numpy(each.copy()) for each in images])


def _part(image: Tensor, part: list[float], bounded: bool, size: int) -> Tensor:
    """uint8 (S, S, 3) -> a crop as float32 (3, size, size), resized unless it has that size."""
    top, left, height, width = part
    if height == width == size and top == int(top) and left == int(left):
        return image[int(top) : int(top) + size, int(left) : int(left) + size].permute(2, 0, 1).float()
    down, across = (
        _weights(*line, size, len(image), bounded).to(image.device) for line in ((top, height), (left, width))
    )
    return torch.einsum("yj,jkc,xk->cyx", down, image.float(), across)


def _weights(begin: float, length: float, size: int, side: int, bounded: bool) -> Tensor:
    """float32 (size, side): resampling weights of the `side` input pixels of a line for each output pixel."""
    low, high = (int(begin), int(begin + length)) if bounded else (0, side)
    scale = length / size
    centers = begin + (torch.arange(size) + 0.5)[:, None] * scale
    places = torch.arange(side) + 0.5
    near = (1 - (places - centers).abs() / max(1.0, scale)).clamp_min(0)
    near = near * ((places > low) & (places < high))
    return near / near.sum(1, keepdim=True)


def mix(batch: Tensor, how: Mixing) -> Tensor:
    """Mix images, (N, 3, size, size) of any floating dtype; may modify `batch` in place.

    Raises UsageError for a box outside the images.
    """
    size = batch.shape[-1]
    if len(how.box) and not (how.box.min() >= 0 and how.box.max() <= size):
        raise UsageError(f"box {how.box.tolist()}; each needs to be a box within {size} x {size} pixels")
    if batch.device.type == "cpu" and batch.dtype in native.TYPES and native.instruction_set() is not None:
        batch = batch.contiguous(memory_format=torch.channels_last)
        record = np.zeros(len(batch), _MIXED)
        record["share"], record["box"] = how.share.numpy(), how.box.numpy()
        numbers = (ctypes.c_int64(len(batch)), ctypes.c_int64(size), ctypes.c_int32(native.threads()))
        native.call(f"mix_images_{native.TYPES[batch.dtype]}", *numbers, record.ctypes, batch)
        return batch
    line, (top, bottom, left, right) = torch.arange(size), how.box[:, :, None].unbind(1)
    rows, columns = (line >= top) & (line < bottom), (line >= left) & (line < right)
    box = rows[:, :, None] & columns[:, None, :]
    weight = (how.share.view(-1, 1, 1) * ~box).unsqueeze(1).to(batch)
    return torch.lerp(batch.flip(0), batch, weight)


# --- the records of views.cpp and mix.cpp ---

_VIEW = np.dtype(
    [
        ("image", np.uint64),
        ("part", np.float32, 4),
        ("bounded", np.int32),
        ("mirrored", np.int32),
        ("matrix", np.float32, (3, 3)),
        ("offset", np.float32, 3),
        ("gray", np.float32, 3),
        ("noise", np.uint64),
    ],
    align=True,
)
_MIXED = np.dtype([("share", np.float32), ("box", np.int32, 4)], align=True)


class _Views(ctypes.Structure):
    """`struct Views` of views.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "side", "size")),
        *((name, 3 * ctypes.c_float) for name in ("luma", "deviation")),
        ("threads", ctypes.c_int32),
    )


def _render(
    images: Images,
    shown: Windows,
    colors: ColorMap,
    size: int,
    dtype: torch.dtype,
    noise: tuple[Tensor, Tensor] | None,
    pinned: bool,
) -> Tensor:
    """`render` by the native kernel."""
    places, kept = addresses_of(images)
    record = np.zeros(len(images), _VIEW)
    record["image"] = places
    record["part"], record["bounded"] = shown.parts.numpy(), shown.bounded
    if shown.mirrored is not None:
        record["mirrored"] = shown.mirrored.numpy()
    for name in ("matrix", "offset", "gray"):
        record[name] = getattr(colors, name).numpy()
    deviation = torch.zeros(3)
    if noise is not None:
        record["noise"], deviation = noise[0].numpy().view(np.uint64), noise[1]
    luma, deviations = ((3 * ctypes.c_float)(*each) for each in (LUMA, deviation.tolist()))
    job = _Views(len(images), len(images[0]), size, luma, deviations, native.threads())
    shape = (len(images), 3, size, size)
    result = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last, pin_memory=pinned)
    native.call(f"views_render_{native.TYPES[dtype]}", ctypes.byref(job), record.ctypes, result)
    del kept
    return result


def addresses_of(images: Images) -> tuple[NDArray[np.uint64], Images | Placed]:
    """uint64 (N,): where each image begins in memory, and the images that must be kept until it has been read."""
    if _is_placed(images):
        return images.addresses(), images
    arrays = [np.ascontiguousarray(each.numpy() if isinstance(each, Tensor) else each) for each in images]
    return np.array([array.__array_interface__["data"][0] for array in arrays], np.uint64), arrays
