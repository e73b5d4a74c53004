"""Draw pictures of nothing from photos of a data set, to see which of them a calibrated run calls unknown.

    python tools/made_up.py flowers17 pictures
    alexnet evaluate RUN flowers17 --unknown pictures/shuffled-4

Each kind is a folder of 120 pictures: `noise`, uniform; `plain`, one colour; `phase`, a photo's spectrum with random
phases (its colours and textures without its shapes); `shuffled-4` and `shuffled-8`, a photo's squares of a fourth or an
eighth of its side in random order; `blend`, two photos averaged; `negative`; `channels`, green, blue and red in the
place of red, green and blue; `small`, a photo reduced to 16 px and enlarged again.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.data.form import Form
from alexnet.data.sources import open_source
from alexnet.data.splits import evenly_spaced

COUNT, SIDE = 120, 256
Picture = NDArray[np.uint8]
Draw = Callable[[Picture, Picture, np.random.Generator], Picture]  # a photo, another one, random numbers


def shuffled(parts: int) -> Draw:
    """The photo's parts x parts squares in random order."""

    def draw(photo: Picture, _: Picture, random: np.random.Generator) -> Picture:
        side = SIDE // parts
        squares = photo.reshape(parts, side, parts, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        mixed = squares[random.permutation(len(squares))].reshape(parts, parts, side, side, 3)
        return mixed.swapaxes(1, 2).reshape(SIDE, SIDE, 3)

    return draw


def phase(photo: Picture, _: Picture, random: np.random.Generator) -> Picture:
    """The photo's amplitudes with the phases of noise."""
    noise = np.fft.fft2(random.normal(size=(SIDE, SIDE)))[..., None]
    amplitudes = np.abs(np.fft.fft2(photo.astype(float), axes=(0, 1)))
    found = np.fft.ifft2(amplitudes * noise / np.abs(noise), axes=(0, 1)).real
    return found.clip(0, 255).astype(np.uint8)


def small(photo: Picture, _: Picture, __: np.random.Generator) -> Picture:
    """The photo as a picture of 16 px would be enlarged."""
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(photo).resize((16, 16), bilinear).resize((SIDE, SIDE), bilinear))


KINDS: dict[str, Draw] = {
    "noise": lambda photo, _, random: random.integers(0, 256, photo.shape, np.uint8),
    "plain": lambda photo, _, random: np.broadcast_to(random.integers(0, 256, 3, np.uint8), photo.shape).copy(),
    "phase": phase,
    "shuffled-4": shuffled(4),
    "shuffled-8": shuffled(8),
    "blend": lambda photo, other, _: ((photo.astype(np.uint16) + other) // 2).astype(np.uint8),
    "negative": lambda photo, _, __: 255 - photo,
    "channels": lambda photo, _, __: photo[..., [1, 2, 0]],
    "small": small,
}


def main(data: str, out: Path, count: int = COUNT) -> None:
    """Write `count` pictures of each kind, evenly spaced over the data."""
    source = open_source(data)
    rows, form = evenly_spaced(len(source.samples), count), Form(SIDE)
    photos = [form.pack(source.read(int(row))).pixels for row in rows]
    for kind, draw in KINDS.items():
        random, folder = np.random.default_rng(0), out / kind
        folder.mkdir(parents=True)
        for number, photo in enumerate(photos):
            picture = draw(photo, photos[(number + len(photos) // 2) % len(photos)], random)
            Image.fromarray(picture).save(folder / f"{number:03}.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
