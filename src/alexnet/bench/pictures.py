"""Images to work on where what they show does not matter: a store of noise, and photographs as JPEG files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from alexnet.data.samples import Sample, Source
from alexnet.data.store import pack

DISTINCT = 64  # images of noise; a store repeats them, each row in bytes of its own
PHOTO = (500, 375)  # pixels, ImageNet's commonest
ZOOM = 0.85  # share of a photograph's sides that a file shows, a different part each


@dataclass(frozen=True, kw_only=True, eq=False)
class Noise(Source):
    """As many images of noise as it has samples, uint8 (size, size, 3)."""

    images: NDArray[np.uint8]  # (DISTINCT, size, size, 3)

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 (size, size, 3)."""
        image: NDArray[np.uint8] = self.images[index % len(self.images)]
        return image

    def fingerprint(self) -> str:
        """Of no use here: nobody looks for this store again."""
        return "0" * 64


def noise_store(folder: Path, images: int, classes: int, size: int = 256) -> str:
    """Pack `images` images of noise, all for training, into `folder`/store, whose name is returned."""
    pixels = np.random.default_rng(0).integers(0, 256, (DISTINCT, size, size, 3), np.uint8)
    samples = [Sample(f"{number}.png", number % classes, "train") for number in range(images)]
    names = [str(number) for number in range(classes)]
    source = Noise(name="noise", root=None, class_names=names, samples=samples, store_size=size, images=pixels)
    pack(source, folder / "store", size, workers=1)
    return str(folder / "store")


def photographs(folder: Path, files: int) -> list[str]:
    """Write `files` JPEG files of 500 x 375 pixels, quality 90, parts of two real photographs; their names."""
    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    random = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(files)]
    for number, name in enumerate(names):
        part = _part(photos[number % len(photos)], *random.random(2))
        part.resize(PHOTO, Image.Resampling.BICUBIC).save(folder / name, quality=90)
    return names


def _part(photo: Image.Image, across: float, down: float) -> Image.Image:
    """ZOOM of the photograph's sides, at a place given by two numbers from 0 to 1."""
    width, height = round(photo.width * ZOOM), round(photo.height * ZOOM)
    left, top = round(across * (photo.width - width)), round(down * (photo.height - height))
    return photo.crop((left, top, left + width, top + height))
