"""Known data sets: digits, flowers17 and CIFAR-10, with class names in their usual order and given splits."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.data.samples import RECORD, ArraySource, RecordSource, Sample, Source
from alexnet.data.sources.download import Archive, extracted, find_or_download
from alexnet.data.sources.folders import read_folder
from alexnet.data.sources.matlab import read_mat
from alexnet.errors import DataError

log = logging.getLogger(__name__)

DIGITS = Path("datasets", "data", "digits.csv.gz")  # in scikit-learn's package
GIVEN = (0.0, 0.0)  # fractions of sets with given splits: nothing else is drawn

# The publisher gives no checksums; these are the ones of google-deepmind/dm_nevis
# (dm_nevis/datasets_storage/handlers/oxford_flowers_17.py).
OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/17"
FLOWERS17 = Archive("17flowers.tgz", f"{OXFORD}/17flowers.tgz", "b59a65d8d1a99cd66944d474e1289eab")
FLOWERS17_SPLITS = Archive("datasplits.mat", f"{OXFORD}/datasplits.mat", "4828cddfd0d803c5abbdebcb1e148a1e")
FLOWERS17_IMAGES, FLOWERS17_PER_CLASS = 1360, 80
# Files are in the order of the categories on the publisher's page; the archive holds no names.
FLOWERS17_CLASSES = [
    "daffodil",
    "snowdrop",
    "lily of the valley",
    "bluebell",
    "crocus",
    "iris",
    "tiger lily",
    "tulip",
    "fritillary",
    "sunflower",
    "daisy",
    "colt's foot",
    "dandelion",
    "cowslip",
    "buttercup",
    "windflower",
    "pansy",
]

# URL and checksum from https://www.cs.toronto.edu/~kriz/cifar.html. The binary version: the Python version is pickled,
# and unpickling can run any code. JPEG copies in {train,test}/<class>/ are used if only they are at hand.
CIFAR10 = (
    Archive(
        "cifar-10-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
    ),
    Archive("cifar10-jpeg.tgz"),
)
CIFAR10_FILES = {**{f"data_batch_{n}.bin": "train" for n in range(1, 6)}, "test_batch.bin": "test"}


def digits() -> Source:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, values 0..16 scaled to 0..255; nothing is downloaded."""
    table = _digits_table()
    images = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    samples = [Sample(f"digits/{index:04}", int(label)) for index, label in enumerate(table[:, -1])]
    return ArraySource(
        name="digits",
        root=None,
        class_names=[str(digit) for digit in range(10)],
        samples=samples,
        fractions=(0.1, 0.2),
        store_size=64,
        images=images,
    )


def _digits_table() -> NDArray[np.float64]:
    """(1797, 65): 64 values and the digit in each row, from scikit-learn's file: to import it takes two seconds."""
    package = find_spec("sklearn")
    file = Path(package.origin).parent / DIGITS if package and package.origin else None
    if file and file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.column_stack([found.data, found.target])


def flowers17(archives: Sequence[Archive] = (FLOWERS17,)) -> Source:
    """The Oxford 17 Category Flower Dataset (Nilsback and Zisserman, CVPR 2006): 80 photos of each of 17 kinds.

    No split is given; 20 photos of each kind are to be drawn for testing.
    """
    archive = find_or_download(archives)
    root = extracted(archive)
    paths = [f"jpg/image_{number:04}.jpg" for number in range(1, FLOWERS17_IMAGES + 1)]
    if missing := [path for path in paths if not (root / path).is_file()]:
        raise DataError(f"{archive} holds no {missing[0]} ({len(missing)} of 1,360 are missing); get it again")
    samples = [Sample(path, n // FLOWERS17_PER_CLASS) for n, path in enumerate(paths)]
    return Source(name="flowers17", root=root, class_names=FLOWERS17_CLASSES, samples=samples, fractions=(0.0, 0.25))


def flowers17_published(
    number: int, archives: Sequence[Archive] = (FLOWERS17,), splits: Archive = FLOWERS17_SPLITS
) -> Source:
    """Flowers17 in one of its publisher's three splits: 40 photos of each kind to train, 20 for val, 20 for test.

    number: 1, 2 or 3. `splits` is found or downloaded like the archive. Raises DataError when it cannot be had or is
    damaged.
    """
    source = flowers17(archives)
    parts = _flower_splits(find_or_download([splits]), number)
    samples = [replace(sample, split=split) for sample, split in zip(source.samples, parts, strict=True)]
    return replace(source, name=f"flowers17-split{number}", samples=samples)


def _flower_splits(path: Path, number: int) -> list[str]:
    """The publisher's split of each image, in the order of the images."""
    names = {"train": f"trn{number}", "val": f"val{number}", "test": f"tst{number}"}
    table = read_mat(path, *names.values())
    splits = [""] * FLOWERS17_IMAGES
    for split, name in names.items():
        for image in np.atleast_1d(table[name]):  # numbered from 1
            if not 1 <= image <= FLOWERS17_IMAGES or splits[int(image) - 1]:
                raise DataError(f"{path}: {name} lists image {image}, which is in no set or in two; get it again")
            splits[int(image) - 1] = split
    if "" in splits:
        raise DataError(f"{path}: split {number} leaves out {splits.count('')} images; get it again")
    return splits


def cifar10(archives: Sequence[Archive] = CIFAR10) -> Source:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 images to train and 10,000 to test, of 32 x 32 pixels, in ten classes.

    JPEG copies have other pixels than the publisher's file, so their source has a name of its own, `cifar10-jpeg`.
    """
    archive = find_or_download(archives)
    root = extracted(archive)
    if (root / "cifar-10-batches-bin").is_dir():
        return _cifar10_records(archive, root / "cifar-10-batches-bin")
    log.warning("cifar10: %s holds JPEG copies; their pixels differ from %s", archive, CIFAR10[0].filename)
    return replace(read_folder(root), name="cifar10-jpeg", fractions=GIVEN, store_size=64)


def _cifar10_records(archive: Path, root: Path) -> Source:
    samples = []
    try:
        class_names = (root / "batches.meta.txt").read_text(encoding="utf-8").split()
        for file, split in CIFAR10_FILES.items():
            labels = np.fromfile(root / file, np.uint8).reshape(-1, RECORD)[:, 0]
            samples += [Sample(f"{file}#{row}", int(label), split) for row, label in enumerate(labels)]
    except (OSError, ValueError) as error:
        raise DataError(f"{archive} is not CIFAR-10's binary version ({error}); get it again") from error
    return RecordSource(
        name="cifar10", root=root, class_names=class_names, samples=samples, fractions=GIVEN, store_size=64
    )
