"""Input data for benchmarks: a packed store of noise, and photographs as JPEG files."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.data.samples import Sample, Source
from alexnet.data.store import pack

DISTINCT = 64  # different images of noise; a store holds several copies of each
PHOTO = (500, 375)  # width and height in pixels, the most common ones in ImageNet
LARGE = (4000, 3000)  # 12 megapixels, as phones take them; files of 1.7 to 3.2 MB
TILE = 2  # side of a crop in large photographs, relative to PHOTO
ZOOM = 0.85  # side of a crop, relative to the photograph


@dataclass(frozen=True, kw_only=True, eq=False)
class Noise(Source):
    """A source of noise images, uint8 (size, size, 3)."""

    images: NDArray[np.uint8]  # (DISTINCT, size, size, 3)

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 (size, size, 3)."""
        image: NDArray[np.uint8] = self.images[index % len(self.images)]
        return image

    def fingerprint(self) -> str:
        """A constant: these stores are temporary and never looked up."""
        return "0" * 64


def noise_store(folder: Path, images: int, classes: int, size: int = 256) -> str:
    """Pack noise images, all in the training split, into `folder`/store; returns that path.

    There are `images` of them, or more where so many classes need it: each has two, the least that can be trained on.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (DISTINCT, size, size, 3), np.uint8)
    samples = [Sample(f"{number}.png", number % classes, "train") for number in range(max(images, 2 * classes))]
    names = [str(number) for number in range(classes)]
    source = Noise(name="noise", root=None, class_names=names, samples=samples, store_size=size, images=pixels)
    pack(source, folder / "store", size, workers=1)
    return str(folder / "store")


def photographs(folder: Path, files: int, size: tuple[int, int] = PHOTO) -> list[str]:
    """Write `files` JPEG files of quality 90, random crops of two photographs; returns their names.

    size: width and height. Larger ones than PHOTO are mosaics of crops of TILE times its sides.
    """
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    random = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(files)]
    for number, name in enumerate(names):
        picture = Image.new("RGB", size)
        tile = PHOTO if size == PHOTO else (TILE * PHOTO[0], TILE * PHOTO[1])
        for left, top in itertools.product(range(0, size[0], tile[0]), range(0, size[1], tile[1])):
            across, down = random.random(2)
            part = _crop(photos[number % len(photos)], across, down)
            picture.paste(part.resize(tile, Image.Resampling.BICUBIC), (left, top))
        picture.save(folder / name, quality=90)
    return names


def _crop(photo: Image.Image, across: float, down: float) -> Image.Image:
    """A crop of ZOOM times the sides, at the relative position (across, down), each from 0 to 1."""
    width, height = round(photo.width * ZOOM), round(photo.height * ZOOM)
    left, top = round(across * (photo.width - width)), round(down * (photo.height - height))
    return photo.crop((left, top, left + width, top + height))
