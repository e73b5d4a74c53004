"""ImageNet and Tiny ImageNet: class folders named by WordNet synset ("wnid"), val labelled by a separate file.

Labels follow the sorted wnids, as in Caffe and torchvision, not the ids of the ILSVRC development kit.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alexnet.data.samples import Sample, Source, natural_key
from alexnet.data.sources.download import Archive, extracted, find_or_download
from alexnet.data.sources.folders import ClassFolder, strays
from alexnet.data.sources.known import GIVEN
from alexnet.data.sources.matlab import read_mat
from alexnet.data.sources.synsets import synset_names
from alexnet.data.sources.walk import Walk
from alexnet.errors import DataError

log = logging.getLogger(__name__)

# The publisher gives no checksum; this is the one of ContinualAI/avalanche
# (avalanche/benchmarks/datasets/tiny_imagenet/tiny_imagenet.py). A copy with half of the training images is used if
# only that is at hand.
TINY_IMAGENET_HALF = Archive("tiny-imagenet-200-half.tgz")
TINY_IMAGENET = (
    Archive(
        "tiny-imagenet-200.zip",
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "90528d7ca1a48142e341f4ef8d21d0de",
    ),
    TINY_IMAGENET_HALF,
)

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"  # ILSVRC2012_ID of each val image, one per line
META = "meta.mat"  # maps ILSVRC2012_ID to wnid
LIST = "val.txt"  # lines "<file name> <label>"; labels index the sorted wnids, as in Caffe's val.txt
WORDS = ("words.txt", "synset_words.txt")  # lines "<wnid> <words>": Tiny ImageNet's, Caffe's
PLACES = ("", "val", "ILSVRC2012_devkit_t12/data", "data")  # folders searched for these files
KIT = ("ILSVRC2012_devkit_t12/", "data/")  # folders of nothing but such files


def tiny_imagenet(archives: Sequence[Archive] = TINY_IMAGENET) -> Source:
    """Tiny ImageNet (Stanford CS231n): 200 classes of 500 training and 50 val images, 64 x 64 pixels.

    The publisher's test images have no labels and are left out. A copy with half of the training images gives a source
    named `tiny-imagenet-half`.
    """
    archive = find_or_download(archives)
    name = "tiny-imagenet"
    if archive.name == TINY_IMAGENET_HALF.filename:
        name = "tiny-imagenet-half"
        log.warning("tiny-imagenet: %s holds half of the training images of %s", archive, TINY_IMAGENET[0].filename)
    root = extracted(archive) / "tiny-imagenet-200"
    annotations = root / "val" / "val_annotations.txt"
    if not annotations.is_file() or not (root / "train").is_dir():
        raise DataError(f"{archive} holds no tiny-imagenet-200/train and val/val_annotations.txt; get it again")
    rows = (line.split("\t") for line in _lines(annotations))
    val = {f"val/images/{row[0]}": row[1] for row in rows}
    # Its other files are the bounding boxes of each class: no need to report them.
    return replace(_source(name, Walk(root), val), store_size=64, other_files=[])


def imagenet(root: Path) -> Source:
    """The ImageNet challenge (ILSVRC 2012) as its archives unpack: `root/train/<wnid>/...` and `root/val/...`.

    val has class folders, too, or is flat and labelled by a file: the development kit's ground truth with its meta.mat,
    or a val.txt. Without val, val and test are drawn from train. Litter and other files are counted as in a folder; the
    files of labels are none. Raises DataError that names what is missing.
    """
    if not (root / "train").is_dir():
        raise DataError(f"imagenet:{root} has no folder train/<wnid>/; unpack the training images there")
    walk = Walk(root)
    if not (root / "val").is_dir():
        return _source("imagenet", walk, {}, fractions=(0.1, 0.1))
    folders = walk.subfolders("val")
    if folders:
        val = {path: wnid for wnid in folders for path in walk.images(f"val/{wnid}")}
        return _source("imagenet", walk, val, [f"val/{wnid}" for wnid in folders])
    return _source("imagenet", walk, _val_wnids(walk), ["val"])


def _source(
    name: str,
    walk: Walk,
    val: dict[str, str],
    folders: Sequence[str] = (),
    fractions: tuple[float, float] = GIVEN,
) -> Source:
    """val: path -> wnid. Val images of classes without a training folder are ignored, so that a subset can be used.

    folders: those of the val images, relative to the walk's root.
    """
    root = walk.root
    wnids = sorted(walk.subfolders("train"))
    label = {wnid: index for index, wnid in enumerate(wnids)}
    samples = [
        Sample(path, label[wnid], "train" if val else "") for wnid in wnids for path in walk.images(f"train/{wnid}")
    ]
    samples += [Sample(path, label[wnid], "val") for path, wnid in val.items() if wnid in label]
    inside = [ClassFolder(folder, "", "") for folder in (*folders, *(f"train/{wnid}" for wnid in wnids))]
    others = [*walk.others, *(line for line in strays(walk, inside) if not _is_of_labels(line.rpartition(": ")[0]))]
    others += [f"{path}: its class {wnid} is not in train" for path, wnid in val.items() if wnid not in label]
    if not samples:
        raise DataError(f"{root}/train has {len(wnids)} class folders but no images; unpack the training images there")
    return Source(
        name=name,
        root=root,
        class_names=synset_names(wnids, _words(root)),
        samples=samples,
        fractions=fractions,
        other_files=others,
        litter=dict(walk.litter),
    )


def _is_of_labels(path: str) -> bool:
    """Whether a file, relative to the root, is one that names or labels the images."""
    return path.startswith(KIT) or Path(path).name in (GROUND_TRUTH, META, LIST, *WORDS)


def _words(root: Path) -> dict[str, str]:
    """Words by wnid, from the first file found that lists them."""
    for path in filter(None, (_find(root, name) for name in WORDS)):
        return dict(_pair(path, line) for line in _lines(path))
    meta = _find(root, META)
    return dict(devkit_synsets(meta).values()) if meta else {}


def _val_wnids(walk: Walk) -> dict[str, str]:
    """Path -> wnid of the images in a flat val folder."""
    root, before = walk.root, len(walk.others)
    paths = sorted(walk.images("val"), key=natural_key)
    walk.others[before:] = [line for line in walk.others[before:] if not _is_of_labels(line.rpartition(": ")[0])]
    truth, meta, listed = (_find(root, name) for name in (GROUND_TRUTH, META, LIST))
    if truth and meta:
        return _devkit_wnids(paths, truth, meta)
    if listed:
        return _listed_wnids(root, paths, listed)
    missing = f"{META}, needed with {truth}," if truth else f"{GROUND_TRUTH} and {META}, or {LIST},"
    raise DataError(
        f"imagenet:{root}: val holds {len(paths)} images, and {missing} is missing; "
        f"put it into {root} (the development kit has it), or sort val into class folders"
    )


def _devkit_wnids(paths: Sequence[str], truth: Path, meta: Path) -> dict[str, str]:
    synsets, ids = devkit_synsets(meta), _lines(truth)
    if len(ids) != len(paths):
        raise DataError(f"{truth} labels {len(ids)} images, but val holds {len(paths)}; unpack all of them")
    try:
        return {path: synsets[int(number)][0] for path, number in zip(paths, ids, strict=True)}
    except (KeyError, ValueError) as error:
        raise DataError(f"{truth} holds {error}, which {meta} does not list; get both from one kit") from error


def _listed_wnids(root: Path, paths: Sequence[str], listed: Path) -> dict[str, str]:
    wnids = sorted(Walk(root).subfolders("train"))
    try:
        labels = {Path(name).name: int(label) for name, label in (_pair(listed, line) for line in _lines(listed))}
    except ValueError as error:
        raise DataError(f"{listed}: {error}; lines of a file name and a label are needed") from error
    # Labels index all sorted wnids: if some are missing, later labels would be wrong.
    if set(labels.values()) - set(range(len(wnids))) or max(labels.values(), default=0) != len(wnids) - 1:
        raise DataError(
            f"{listed} numbers classes up to {max(labels.values(), default=0)}, but train has {len(wnids)} of them; "
            f"unpack all, or use {GROUND_TRUTH} and {META} instead"
        )
    if unlisted := [path for path in paths if Path(path).name not in labels]:
        raise DataError(f"{listed} does not list {len(unlisted)} of {len(paths)} val images, the first {unlisted[0]}")
    return {path: wnids[labels[Path(path).name]] for path in paths}


def devkit_synsets(meta: Path) -> dict[int, tuple[str, str]]:
    """ILSVRC2012_ID -> (wnid, words), from the development kit's meta.mat."""
    table = np.atleast_1d(read_mat(meta, "synsets")["synsets"])
    try:
        return {int(row["ILSVRC2012_ID"]): (str(row["WNID"]), str(row["words"])) for row in table}
    except (ValueError, IndexError, TypeError) as error:
        raise DataError(f"{meta} is not the development kit's ({error}); get it again") from error


def _find(root: Path, name: str) -> Path | None:
    return next((root / place / name for place in PLACES if (root / place / name).is_file()), None)


def _lines(path: Path) -> list[str]:
    """Non-blank lines."""
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; get it again") from error


def _pair(path: Path, line: str) -> tuple[str, str]:
    parts = line.split(None, 1)
    if len(parts) != 2:
        raise DataError(f"{path}: {line!r} should be two words or more; get it again")
    return parts[0], parts[1]
