"""Augmentation: random parameters per image, from explicit generators.

N images of 3 x S x S. Every function takes a `SampleRandom` with one random stream per image, a function of (seed,
epoch, sample) only: an image is augmented alike in any batch, with any number of threads, and after any interruption.

This module draws the parameters; `alexnet.ops.views` applies them in one pass. Colour changes are affine maps of RGB,
composed per image with the normalization into a `ColorMap`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing, squares
from alexnet.ops.draws import Streams
from alexnet.ops.views import LUMA, ColorMap, Mixing, Windows, render
from alexnet.ops.views import mix as mix_pairs

# cuda-convnet2, make-data/input_meta `color_pca`: standard deviations (not variances) along the principal components of
# ImageNet's RGB values, 0..255, and the components as columns.
PCA_STD = (121.780, 37.094, 19.721)
PCA_COMPONENTS = ((-0.5635, -0.7126, 0.4180), (-0.5762, -0.0235, -0.8170), (-0.5920, 0.7012, 0.3973))
# The `Lighting` table of Torch's and PyTorch's ImageNet examples: variances on 0..1 used as standard deviations, hence
# 2 to 17 times weaker than the noise of 2012.
LIGHTING_SCALE = (0.2175, 0.0188, 0.0045)
LIGHTING_COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class SampleRandom(Streams):
    """N independent random streams; stream n is a function of (seed, epoch, samples[n]) only."""

    def __init__(self, seed: int, epoch: int, samples: Sequence[int] | NDArray[np.int64]) -> None:
        keys = np.empty((len(samples), 2), np.uint64)
        keys[:, 0], keys[:, 1] = (seed % 2**32) << 32 | epoch % 2**32, samples
        super().__init__(keys)


@dataclass(frozen=True)
class Augmentation:
    """Augmentation settings; the fields of a recipe with the same names."""

    names: tuple[str, ...] = ()
    crop_scale: float = 0.25
    color_strength: float = 0.4
    pca_strength: float = 0.1
    gaussian_std: float = 4.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0


def augment(
    images: Sequence[Pixels],
    targets: Tensor,
    random: SampleRandom,
    chosen: Augmentation,
    preprocessing: Preprocessing,
    size: int,
    mix: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    pinned: bool = False,
) -> tuple[Tensor, Tensor]:
    """Augment stored images to a training batch.

    images: N of uint8 (S, S, 3). targets: float32 (N, K), rows summing to one. size: side of the result, pixels.
    pinned: as in `render`.
    Returns `dtype` (N, 3, size, size), channels last, normalized, on `device`, and targets (N, K), mixed like the
    images.
    """
    drawn = draw(len(images[0]), random, chosen, preprocessing, size, mix)
    batch = render(images, drawn.shown, drawn.colors, size, dtype, device, drawn.noise, pinned)
    if drawn.how is None:
        return batch, targets
    return mix_pairs(batch, drawn.how), mix_targets(targets, drawn.how.visible(size).to(targets.device))


@dataclass(frozen=True)
class Drawn:
    """What was drawn for the images of a batch."""

    shown: Windows
    colors: ColorMap  # the normalization included
    noise: tuple[Tensor, Tensor] | None  # as `render` takes it
    how: Mixing | None


def draw(
    side: int, random: SampleRandom, chosen: Augmentation, preprocessing: Preprocessing, size: int, mix: bool = True
) -> Drawn:
    """Draw the augmentation of stored images of `side` x `side` pixels; otherwise as for `augment`."""
    shown = windows(side, random, chosen, preprocessing, size)
    if "flip" in chosen.names:
        shown = replace(shown, mirrored=flips(random))
    colors = ColorMap.identity(len(random))
    if "color" in chosen.names:
        colors = jitter(colors, random, chosen.color_strength)
    if "pca" in chosen.names:
        colors = pca_noise(colors, random, preprocessing.mean, chosen.pca_strength)
    if "lighting" in chosen.names:
        colors = lighting(colors, random, chosen.pca_strength)
    colors = colors.normalized(preprocessing.mean, preprocessing.std)
    noise = gaussian(random, chosen.gaussian_std, preprocessing.std) if "gaussian" in chosen.names else None
    mixes = mix and (chosen.mixup > 0 or chosen.cutmix > 0)
    how = mixing(random, size, chosen.mixup, chosen.cutmix, chosen.mix_probability) if mixes else None
    return Drawn(shown, colors, noise, how)


def windows(side: int, random: SampleRandom, chosen: Augmentation, preprocessing: Preprocessing, size: int) -> Windows:
    """The window of each stored image, `side` x `side` pixels, that becomes the network's input."""
    if "resized_crop" in chosen.names:
        return resized_crops(side, random, chosen.crop_scale)
    resized = round(preprocessing.resize * size / preprocessing.input_size)
    if "crop" in chosen.names:
        return crops(side, random, resized, size)
    middle = [(resized - size) // 2] * len(random)
    return squares(side, middle, middle, resized, size)


def crops(side: int, random: SampleRandom, resized: int, size: int) -> Windows:
    """Translation: from each image, resized to `resized` pixels, a window of `size` pixels at a uniformly drawn offset.

    With 224 of 256 pixels, 33 x 33 offsets (cuda-convnet's convdata.py; the paper's text counts 32 x 32).
    """
    span = resized - size + 1
    tops, lefts = random.integers(span), random.integers(span)
    return squares(side, tops, lefts, resized, size)


def resized_crops(side: int, random: SampleRandom, smallest: float, ratio: float = 4 / 3, tries: int = 10) -> Windows:
    """A random window of each image, to be scaled to the network's input (Szegedy et al. 2014, section 6).

    Its share of the area is drawn from [smallest, 1], its width : height log-uniformly from [1 / ratio, ratio]. The
    first of `tries` draws that fits is used, the whole image if none fits.
    """
    area = random.uniform(smallest, 1.0, tries).numpy() * side * side
    aspect = torch.exp(random.uniform(-1.0, 1.0, tries) * math.log(ratio)).numpy()
    widths, heights = (np.maximum(np.rint(np.sqrt(each)), 1) for each in (area * aspect, area / aspect))
    fits = (widths <= side) & (heights <= side)
    first = (np.arange(len(fits)), fits.argmax(1))
    height, width = (np.where(fits[first], each[first], np.float32(side)) for each in (heights, widths))
    down, across = random.uniform(0.0, 1.0, 2).numpy().T
    top, left = np.floor(down * (side - height + 1)), np.floor(across * (side - width + 1))
    return Windows(torch.from_numpy(np.stack([top, left, height, width], 1)))


def flips(random: SampleRandom) -> Tensor:
    """bool (N,): each image is mirrored left to right with probability 1/2."""
    return random.uniform(0.0, 1.0)[:, 0] < 0.5


def jitter(colors: ColorMap, random: SampleRandom, strength: float) -> ColorMap:
    """Scale brightness, contrast and saturation by factors drawn from [1 - strength, 1 + strength].

    Contrast scales about the image's mean gray value, saturation about each pixel's gray value. Must be the first
    change of colour: the mean is that of the original image.
    """
    brightness, contrast, saturation = random.uniform(1 - strength, 1 + strength, 3)[:, :, None].unbind(1)
    brightened = colors.scaled(brightness * contrast)
    stretched = replace(brightened, gray=((1 - contrast) * brightness).expand(-1, 3))
    gray = (1 - saturation) * torch.tensor(LUMA)
    return stretched.then(gray[:, None] + saturation[:, None] * torch.eye(3), torch.zeros(3))


def pca_noise(colors: ColorMap, random: SampleRandom, mean: Sequence[float], strength: float = 0.1) -> ColorMap:
    """The colour noise of 2012: one RGB vector per image along the principal components of ImageNet's colours.

    x -> mean + (x - mean + V (z * s)) / (1 + strength), z normal with standard deviation `strength`, as in
    cuda-convnet's convdata.py: the image is scaled down to keep the scale of an image without noise.
    """
    shift = _along(random.normal(3) * strength * torch.tensor(PCA_STD), PCA_COMPONENTS)
    shrink = 1 / (1 + strength)
    return colors.then(torch.eye(3) * shrink, shift * shrink + torch.tensor(mean) * (1 - shrink))


def lighting(colors: ColorMap, random: SampleRandom, strength: float = 0.1) -> ColorMap:
    """The weaker colour noise that other code calls the paper's (see LIGHTING_SCALE)."""
    shift = _along(random.normal(3) * strength * torch.tensor(LIGHTING_SCALE), LIGHTING_COMPONENTS)
    return colors.then(torch.eye(3), shift * 255)


def _along(lengths: Tensor, components: Sequence[Sequence[float]]) -> Tensor:
    """lengths (N, 3) along three components, the columns of a 3 x 3 matrix -> their sum (N, 3).

    Term by term: a matrix product rounds otherwise with other N on some processors, and then processes that share a
    batch would not draw what one draws.
    """
    first, second, third = torch.tensor(components).T
    total: Tensor = lengths[:, :1] * first + lengths[:, 1:2] * second + lengths[:, 2:] * third
    return total


def gaussian(random: SampleRandom, std: float, scale: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Independent normal noise for all values of a normalized batch, as an argument of `render`.

    Returns keys (N,) and standard deviations (3,): std, on the scale 0..255, divided by `scale`.
    """
    return random.keys(), std / torch.tensor(scale)


def mixing(random: SampleRandom, size: int, mixup: float, cutmix: float, probability: float) -> Mixing:
    """Draw mixup (Zhang et al. 2017) or CutMix (Yun et al. 2019) per image; if both are on, each has probability 1/2.

    The partner of image n is image N - 1 - n; `loader` says which images those are. Mixup: share * x + (1 - share) *
    partner, share from Beta(mixup, mixup). CutMix: a box of the partner of 1 - s of the area, s from
    Beta(cutmix, cutmix), with a uniformly drawn centre, clipped.
    """
    touched, boxed, down, across = random.uniform(0.0, 1.0, 4).numpy().T
    use_box = boxed < 0.5 if mixup > 0 and cutmix > 0 else np.full(len(boxed), cutmix > 0)
    blend = random.beta(mixup).numpy() if mixup > 0 else np.float32(1)
    keep = random.beta(cutmix).numpy() if cutmix > 0 else np.ones_like(down)
    alone = touched >= probability
    box = np.stack([*_extent(keep, down, size), *_extent(keep, across, size)], 1)
    box[alone | ~use_box] = 0
    return Mixing(torch.from_numpy(np.where(use_box | alone, np.float32(1), blend)), torch.from_numpy(box))


def _extent(keep: NDArray[np.float32], middle: NDArray[np.float32], side: int) -> list[NDArray[np.int32]]:
    """int32 (N,) twice: begin and end along one side of a square of 1 - keep of the area, clipped to the image."""
    half, center = np.sqrt(1 - keep) * side / 2, middle * side
    ends = (np.floor(center - half + 0.5), np.floor(center + half + 0.5))
    return [each.clip(0, side).astype(np.int32) for each in ends]


def mix_targets(targets: Tensor, visible: Tensor) -> Tensor:
    """Mix targets (N, K) with those of the partners by the visible share of each image, (N,)."""
    return torch.lerp(targets.flip(0), targets, visible.unsqueeze(1))
