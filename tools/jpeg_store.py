"""Whether ImageNet should be kept as JPEG files of 256 px: their bytes, the rate of decoding, what they lose.

    python tools/jpeg_store.py DATA [--images 500] [--quality 90] [--side 256]

Images of DATA, evenly spaced, are brought to the packed form, encoded by Pillow and decoded as `alexnet pack` decodes
(libjpeg-turbo where it is there), one after the other; beside it the same pixels copied from memory, as a packed store
gives them. Rates are per second of one core's processor time, the best of five passes.
"""

import argparse
import io
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet.data.form import Form
from alexnet.data.images import decode
from alexnet.data.sources import open_images
from alexnet.data.splits import evenly_spaced
from alexnet.errors import ImageError

PASSES = 5
IMAGENET = 1_281_167  # training images of the challenge of 2012


def main() -> None:
    """Print the table as Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data")
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--quality", type=int, default=90)
    options.add_argument("--side", type=int, default=256)
    asked = options.parse_args()
    squares = read(asked.data, asked.images, asked.side)
    files = [encoded(square, asked.quality) for square in squares]
    pairs = zip(map(decode, files), squares, strict=True)
    lost = float(np.mean([np.abs(found.astype(np.int16) - square).mean() for found, square in pairs]))
    print("| kept as | bytes an image | all of ImageNet | images/s of one core | mean difference of a value |")
    print("|---|---|---|---|---|")
    for name, sizes, rate, error in (
        ("packed", [square.nbytes for square in squares], best(squares, np.ndarray.copy), 0.0),
        (f"JPEG, quality {asked.quality}", [len(file) for file in files], best(files, decode), lost),
    ):
        mean = sum(sizes) / len(sizes)
        print(f"| {name} | {mean:,.0f} | {mean * IMAGENET / 1e9:.0f} GB | {rate:,.0f} | {error:.2f} of 255 |")


def read(data: str, images: int, side: int) -> list[NDArray[np.uint8]]:
    """uint8 (side, side, 3) of images of the data; those that cannot be read are left out."""
    source, form, found = open_images(data), Form(side), []
    for row in evenly_spaced(len(source.samples), images):
        try:
            found.append(form.read(source.read(int(row))))
        except ImageError:
            continue
    return found


def encoded(square: NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG file with colour at half the resolution, as photos have it."""
    file = io.BytesIO()
    Image.fromarray(square).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def best(each: Sequence[object], work: Callable[..., object]) -> float:
    """Calls of `work` a second of this thread's processor time, the best of PASSES."""
    rates = []
    for _ in range(PASSES):
        begun = time.thread_time()
        for one in each:
            work(one)
        rates.append(len(each) / (time.thread_time() - begun))
    return max(rates)


if __name__ == "__main__":
    main()
