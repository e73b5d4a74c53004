"""Augmentation: pure functions on batches, each drawing from an explicit generator.

N images of 3 x S x S. Every function takes a `SampleRandom`, which holds one random stream an image, a function of
(seed, epoch, sample) alone: the same image in the same epoch of the same run is changed the same way, whatever the
batch it lies in, the number of threads, or where the run was interrupted.

Changes of colour are affine maps of RGB. They are composed per image as `ColorMap` and applied once, together with
the network's normalisation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alexnet.data.preprocess import Preprocessing, resize, resize_square

# cuda-convnet2, make-data/input_meta `color_pca`: standard deviations (not variances) along the principal components of
# ImageNet's RGB values, 0..255, and the components as columns.
PCA_STD = (121.780, 37.094, 19.721)
PCA_COMPONENTS = ((-0.5635, -0.7126, 0.4180), (-0.5762, -0.0235, -0.8170), (-0.5920, 0.7012, 0.3973))
# The `Lighting` table that Torch's and PyTorch's ImageNet examples spread: variances on 0..1, used as if they were
# standard deviations, and so 2 to 17 times weaker than the 2012 noise.
LIGHTING_SCALE = (0.2175, 0.0188, 0.0045)
LIGHTING_COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: the weight of R, G and B in a gray value


class SampleRandom:
    """N independent streams of random numbers, stream n a function of (seed, epoch, samples[n]) alone.

    The streams are NumPy's Philox, a counter-based generator (Salmon et al. 2011), keyed by those three numbers.
    """

    def __init__(self, seed: int, epoch: int, samples: Iterable[int]) -> None:
        word = (seed % 2**32) << 32 | epoch % 2**32
        keys = (np.array([word, int(sample)], np.uint64) for sample in samples)
        self.streams = [np.random.Generator(np.random.Philox(key=key)) for key in keys]

    def uniform(self, low: float, high: float, count: int = 1) -> Tensor:
        """float32 (N, count) in [low, high)."""
        rows = np.stack([stream.random(count, np.float32) for stream in self.streams])
        return torch.from_numpy(rows).mul_(high - low).add_(low)

    def normal(self, *shape: int) -> Tensor:
        """float32 (N, *shape), standard normal."""
        return torch.from_numpy(np.stack([stream.standard_normal(shape, np.float32) for stream in self.streams]))

    def integers(self, high: int) -> list[int]:
        """N whole numbers in [0, high)."""
        return [int(stream.integers(high)) for stream in self.streams]

    def beta(self, a: float) -> Tensor:
        """float32 (N,) from Beta(a, a)."""
        return torch.tensor([stream.beta(a, a) for stream in self.streams], dtype=torch.float32)


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image; the fields are those of a recipe."""

    names: tuple[str, ...] = ()
    crop_scale: float = 0.25
    color_strength: float = 0.4
    pca_strength: float = 0.1
    gaussian_std: float = 4.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0


def augment(
    images: Tensor,
    targets: Tensor,
    random: SampleRandom,
    chosen: Augmentation,
    preprocessing: Preprocessing,
    size: int,
    mix: bool = True,
) -> tuple[Tensor, Tensor]:
    """Stored images to a training batch.

    images: uint8 (N, S, S, 3); targets: float32 (N, K), rows summing to one; size: pixels a side of the result.
    Returns float32 (N, 3, size, size), channels last, normalized, and targets (N, K), mixed where images were.
    """
    batch = views(images.permute(0, 3, 1, 2), random, chosen, preprocessing, size)
    if "flip" in chosen.names:
        batch = flip(batch, random)
    colors = ColorMap.identity(len(batch))
    if "color" in chosen.names:
        colors = jitter(colors, batch, random, chosen.color_strength)
    if "pca" in chosen.names:
        colors = pca_noise(colors, random, preprocessing.mean, chosen.pca_strength)
    if "lighting" in chosen.names:
        colors = lighting(colors, random, chosen.pca_strength)
    result = colors.normalized(preprocessing.mean, preprocessing.std).apply(batch)
    if "gaussian" in chosen.names:
        result = gaussian(result, random, chosen.gaussian_std, preprocessing.std)
    if mix and (chosen.mixup > 0 or chosen.cutmix > 0):
        return mix_images(result, targets, random, chosen.mixup, chosen.cutmix, chosen.mix_probability)
    return result, targets


def views(batch: Tensor, random: SampleRandom, chosen: Augmentation, preprocessing: Preprocessing, size: int) -> Tensor:
    """uint8 (N, 3, S, S) -> the part that the network sees, uint8 (N, 3, size, size)."""
    if "resized_crop" in chosen.names:
        return resized_crop(batch, random, size, chosen.crop_scale)
    square = resize_square(batch, round(preprocessing.resize * size / preprocessing.input_size))
    if "crop" in chosen.names:
        return crop(square, random, size)
    start = (square.shape[-1] - size) // 2
    return square[:, :, start : start + size, start : start + size]


def crop(batch: Tensor, random: SampleRandom, size: int) -> Tensor:
    """Translation: a random window of size x size pixels from each image, every offset as likely.

    With 224 of 256 pixels, 33 x 33 offsets (cuda-convnet's convdata.py; the paper's text counts 32 x 32).
    """
    span = batch.shape[-1] - size + 1
    tops, lefts = random.integers(span), random.integers(span)
    windows = [x[:, i : i + size, j : j + size] for x, i, j in zip(batch, tops, lefts, strict=True)]
    return torch.stack(windows)


def resized_crop(
    batch: Tensor, random: SampleRandom, size: int, smallest: float, ratio: float = 4 / 3, tries: int = 10
) -> Tensor:
    """A random part of each image, scaled to size x size pixels (Szegedy et al. 2014, section 6).

    The part has a share of the area drawn from [smallest, 1] and a width : height drawn log-uniformly from
    [1 / ratio, ratio]; of `tries` draws the first that fits is taken, and the whole image where none does.
    """
    side = batch.shape[-1]
    area = random.uniform(smallest, 1.0, tries) * side * side
    aspect = torch.exp(random.uniform(-1.0, 1.0, tries) * np.log(ratio))
    widths, heights = torch.sqrt(area * aspect).round().int(), torch.sqrt(area / aspect).round().int()
    widths, heights = widths.clamp_min(1), heights.clamp_min(1)
    fits = (widths <= side) & (heights <= side)
    place = random.uniform(0.0, 1.0, 2).tolist()
    parts = []
    for n, (down, across) in enumerate(place):
        width, height = side, side
        if fits[n].any():
            first = int(fits[n].int().argmax())
            width, height = int(widths[n, first]), int(heights[n, first])
        top, left = int(down * (side - height + 1)), int(across * (side - width + 1))
        parts.append(resize(batch[n : n + 1, :, top : top + height, left : left + width], size))
    return torch.cat(parts)


def flip(batch: Tensor, random: SampleRandom) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    mirrored = random.uniform(0.0, 1.0).view(-1, 1, 1, 1).to(batch.device) < 0.5
    return torch.where(mirrored, batch.flip(3), batch)


@dataclass(frozen=True)
class ColorMap:
    """An affine map of RGB for each image: value -> matrix @ value + offset, on the 0..255 scale."""

    matrix: Tensor  # float32 (N, 3, 3)
    offset: Tensor  # float32 (N, 3)

    @classmethod
    def identity(cls, count: int) -> "ColorMap":
        """The map that changes nothing, `count` times."""
        return cls(torch.eye(3).repeat(count, 1, 1), torch.zeros(count, 3))

    def then(self, matrix: Tensor, offset: Tensor) -> "ColorMap":
        """This map followed by another; matrix (N, 3, 3) or (3, 3), offset (N, 3) or (3,)."""
        return ColorMap(matrix @ self.matrix, (matrix @ self.offset[:, :, None])[:, :, 0] + offset)

    def normalized(self, mean: Sequence[float], std: Sequence[float]) -> "ColorMap":
        """This map followed by (value - mean) / std."""
        scale = 1 / torch.tensor(std)
        return self.then(torch.diag(scale), -torch.tensor(mean) * scale)

    def apply(self, batch: Tensor) -> Tensor:
        """(N, 3, H, W), any type -> float32 of the same shape, channels last."""
        matrix, offset = self.matrix.to(batch.device), self.offset.to(batch.device)
        pixels = batch.permute(0, 2, 3, 1).flatten(1, 2).float()
        mapped = torch.baddbmm(offset[:, None, :], pixels, matrix.transpose(1, 2))
        return mapped.view(len(batch), *batch.shape[2:], 3).permute(0, 3, 1, 2)


def jitter(colors: ColorMap, batch: Tensor, random: SampleRandom, strength: float) -> ColorMap:
    """Brightness, contrast and saturation each multiplied by a factor drawn from [1 - strength, 1 + strength].

    Contrast stretches about the image's mean gray value, saturation about each pixel's own gray value.
    """
    brightness, contrast, saturation = random.uniform(1 - strength, 1 + strength, 3).unbind(1)
    luma = torch.tensor(LUMA)
    gray = (batch.float().mean((2, 3)).cpu() * luma).sum(1) * brightness
    scale = (brightness * contrast).view(-1, 1, 1) * torch.eye(3)
    brightened = colors.then(scale, ((1 - contrast) * gray)[:, None].expand(-1, 3))
    blend = saturation.view(-1, 1, 1)
    return brightened.then(blend * torch.eye(3) + (1 - blend) * luma.expand(3, 3), torch.zeros(3))


def pca_noise(colors: ColorMap, random: SampleRandom, mean: Sequence[float], strength: float = 0.1) -> ColorMap:
    """The 2012 colour noise: one RGB vector an image along the principal components of ImageNet's colours.

    x -> mean + (x - mean + V (z * s)) / (1 + strength), z normal with standard deviation `strength`, as cuda-convnet's
    convdata.py does it: the image shrinks so that its overall scale stays that of an image without noise.
    """
    shift = (random.normal(3) * strength * torch.tensor(PCA_STD)) @ torch.tensor(PCA_COMPONENTS).T
    shrink = 1 / (1 + strength)
    return colors.then(torch.eye(3) * shrink, shift * shrink + torch.tensor(mean) * (1 - shrink))


def lighting(colors: ColorMap, random: SampleRandom, strength: float = 0.1) -> ColorMap:
    """The weaker colour noise that goes by the paper's name elsewhere (see LIGHTING_SCALE)."""
    shift = (random.normal(3) * strength * torch.tensor(LIGHTING_SCALE)) @ torch.tensor(LIGHTING_COMPONENTS).T
    return colors.then(torch.eye(3), shift * 255)


def gaussian(batch: Tensor, random: SampleRandom, std: float, scale: Sequence[float]) -> Tensor:
    """Independent normal noise on every value of a normalized batch; std on the 0..255 scale, divided by `scale`."""
    noise = random.normal(*batch.shape[1:]).to(batch.device)
    return batch + noise * (std / torch.tensor(scale, device=batch.device)).view(1, 3, 1, 1)


def mix_images(
    batch: Tensor, targets: Tensor, random: SampleRandom, mixup: float, cutmix: float, probability: float
) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2017) or CutMix (Yun et al. 2019), drawn for each image; both on: either, as likely.

    The partner of image n is image N - 1 - n. Mixup: share * x + (1 - share) * partner, share from Beta(mixup, mixup).
    CutMix: a box of the partner with a share 1 - s of the area, s from Beta(cutmix, cutmix), centred anywhere.
    Targets are mixed by the share that is really visible.
    """
    count, side = len(batch), batch.shape[-1]
    touched, boxed, down, across = random.uniform(0.0, 1.0, 4).unbind(1)
    use_box = boxed < 0.5 if mixup > 0 and cutmix > 0 else torch.full((count,), cutmix > 0)
    blend = random.beta(mixup) if mixup > 0 else torch.ones(count)
    keep = random.beta(cutmix) if cutmix > 0 else torch.ones(count)
    box = _boxes(keep, down, across, side) & (use_box & (touched < probability)).view(-1, 1, 1)
    visible = 1 - box.float().mean((1, 2))
    share = torch.where(use_box | (touched >= probability), torch.ones(count), blend)
    weight = (share.view(-1, 1, 1) * ~box).unsqueeze(1).to(batch.device)
    mixed = torch.lerp(batch.flip(0), batch, weight)
    kept = (share * visible).unsqueeze(1).to(targets.device)
    return mixed, torch.lerp(targets.flip(0), targets, kept)


def _boxes(keep: Tensor, down: Tensor, across: Tensor, side: int) -> Tensor:
    """bool (N, side, side): a square with a share 1 - keep of the area, centred at (down, across), clipped."""
    half = torch.sqrt(1 - keep) * side / 2
    line = torch.arange(side) + 0.5
    rows = (line - (down * side)[:, None]).abs() < half[:, None]
    columns = (line - (across * side)[:, None]).abs() < half[:, None]
    return rows[:, :, None] & columns[:, None, :]
