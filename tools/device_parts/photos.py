"""Photographs that travel to a machine without network: squares of 256 px as JPEG files, and a list of them.

A folder that can be carried along holds, beside the files, images.csv: path,label,split in the source's own order.
Names, order and given parts stay, so that a seed divides them as it divides the source. The pixels do not stay: JPEG
loses a little a second time.
"""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from alexnet.data.form import Form
from alexnet.data.samples import Sample, Source
from alexnet.data.sources import open_source
from alexnet.data.sources.tables import read_csv
from alexnet.errors import DataError
from alexnet.files import whole_folder

SIDE = 256  # pixels
MOST = 30_000_000  # bytes of all files
QUALITIES = (95, 92, 90, 85, 80, 70)  # of JPEG, the first that is small enough
LIST = "images.csv"


def prepare(data: str, folder: Path) -> str:
    """Write the images of `data` (see `alexnet.data.sources`) into folder/<name>, and say so in one line."""
    source = open_source(data)
    with ThreadPoolExecutor() as pool:
        squares = list(pool.map(partial(_square, source), range(len(source.samples))))
        for quality in QUALITIES:
            files = list(pool.map(partial(_jpeg, quality=quality), squares))
            if (size := sum(map(len, files))) <= MOST:
                break
        else:
            raise DataError(f"{data} has {len(files)} images, too many for {MOST / 1e6:.0f} MB; take a smaller set")
    place = folder / source.name
    with whole_folder(place) as beside:
        _write(source, files, beside)
    return f"{place}: {len(files)} squares of {SIDE} px, JPEG of quality {quality}, {size / 1e6:.1f} MB"


def carried(folder: Path, fractions: tuple[float, float]) -> Source:
    """The source of a folder that `prepare` wrote; fractions: the source's own, for val and test.

    `read_csv` sorts the classes by name; here they stand in the order in which they come, which is the source's.
    """
    found = read_csv(folder / LIST)
    names = list(dict.fromkeys(found.class_names[sample.label] for sample in found.samples))
    samples = [Sample(s.path, names.index(found.class_names[s.label]), s.split) for s in found.samples]
    return replace(found, name=folder.name, class_names=names, samples=samples, fractions=fractions)


def _square(source: Source, index: int) -> Image.Image:
    return Image.fromarray(Form(SIDE).read(source.read(index)))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _write(source: Source, files: list[bytes], folder: Path) -> None:
    with open(folder / LIST, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "label", "split"])
        for sample, content in zip(source.samples, files, strict=True):
            path = Path(sample.path).with_suffix(".jpg")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            rows.writerow([path, source.class_names[sample.label], sample.split])
