"""A small run of 101 classes of 29 made-up photos, to time `alexnet evaluate` on: the set from which 8 s are demanded.

    python tools/many_classes.py FOLDER
    time alexnet evaluate FOLDER/run FOLDER/photos --split all

The first line writes FOLDER/photos and trains FOLDER/run for two epochs; packing the photos is a part of it.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.training.recipes import recipe
from alexnet.training.run import train

CLASSES, IMAGES = 101, 29  # 2,929 photos
WIDTH, HEIGHT = 320, 240  # pixels


def write(root: Path, classes: int = CLASSES, images: int = IMAGES) -> None:
    """Write root/class-000/00.jpg, ...: smooth colours of the class's own with a little of the photo's."""
    for label in range(classes):
        folder = root / f"class-{label:03}"
        folder.mkdir(parents=True)
        own = np.random.default_rng(label).uniform(0, 256, (4, 4, 3))
        for number in range(images):
            varied = np.random.default_rng(zlib.crc32(f"{label} {number}".encode())).normal(own, 40)
            small = Image.fromarray(varied.clip(0, 255).astype(np.uint8))
            small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / f"{number:02}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write(folder / "photos")
    train(str(folder / "photos"), recipe("modern", input_size=64, epochs=2), folder / "run")


if __name__ == "__main__":
    main()
