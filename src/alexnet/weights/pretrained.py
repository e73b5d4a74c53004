"""Published weights by name: which file, where it is, its checksum, licence and scores.

A name is WEIGHTS-OF:NETWORK, such as imagenet:bvlc. Every figure was read at its publisher: BVLC/caffe
models/*/readme.md, torchvision/models/alexnet.py, onnx/models validated/vision/classification/{alexnet,caffenet}.
None of these files has been fetched where this table was written: `fetch` believes the checksum alone. One set of
weights comes with the package.
"""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.data.sources.download import Archive, cache_folder, data_folders, download, find
from alexnet.errors import DataError, WeightsError, unknown_name
from alexnet.files import write_json

log = logging.getLogger(__name__)

KINDS = ("imagenet", "onnx-zoo", "tiny-imagenet")  # what stands before the colon of a name
OWN = "tiny-imagenet:modern"
"""The weights that come with the package: `modern` on half of Tiny ImageNet's training images (tools/pretrained.py)."""
OWN_FILE = Path(__file__).with_name("tiny-imagenet-modern.safetensors")


@dataclass(frozen=True)
class Published:
    """A published weights file."""

    network: str  # a name that alexnet.create knows
    file: Archive
    where: str  # the page or folder that publishes it
    licence: str  # of the weights, as their publisher states it
    top1: float  # fraction, on the validation images of the data, the centre view, as published
    top5: float
    size: int | None = None  # bytes, where published
    about: str = ""  # what to know, one line
    folder: Path | None = None  # where it lies, of a file that comes with the package


CAFFE = "http://dl.caffe.berkeleyvision.org"
ZOO = "github.com/onnx/models, validated/vision/classification"
PUBLISHED = {
    "imagenet:bvlc": Published(
        "bvlc",
        Archive(
            *("bvlc_alexnet.caffemodel", f"{CAFFE}/bvlc_alexnet.caffemodel"),
            sha1="9116a64c0fbe4459d18f4bb6b56d647b63920377",
        ),
        where="github.com/BVLC/caffe, models/bvlc_alexnet",
        licence="released for unrestricted use",
        top1=0.571,
        top5=0.802,
        about="Caffe's replication of the network of 2012; the published scores subtract the mean image",
    ),
    "imagenet:caffenet": Published(
        "caffenet",
        Archive(
            *("bvlc_reference_caffenet.caffemodel", f"{CAFFE}/bvlc_reference_caffenet.caffemodel"),
            sha1="4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
        ),
        where="github.com/BVLC/caffe, models/bvlc_reference_caffenet",
        licence="released for unrestricted use",
        top1=0.574,
        top5=0.804,
        about="Caffe's variant with pools before LRN; the published scores subtract the mean image",
    ),
    "imagenet:one_weird_trick": Published(
        "one_weird_trick",
        Archive(
            *("alexnet-owt-7be5be79.pth", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
            sha256="7be5be79",  # all that the name tells; torch.hub checks no more
        ),
        where="pytorch.org/vision, models.alexnet, AlexNet_Weights.IMAGENET1K_V1",
        licence="torchvision's code is BSD-3; its weights may follow ImageNet's terms of access",
        top1=0.56522,
        top5=0.79066,
        about="torchvision's single tower of 2014",
    ),
    "onnx-zoo:bvlc": Published(
        "bvlc",
        Archive("bvlcalexnet-12.onnx", sha256="6b0da951"),
        where=f"{ZOO}/alexnet/model",
        licence="BSD-3",
        top1=0.5480,
        top5=0.7823,
        size=243_863_787,
        about="BVLC AlexNet; published at 224 px with a pad that Caffe has not, which costs 2.3 points of top-1",
    ),
    "onnx-zoo:caffenet": Published(
        "caffenet",
        Archive("caffenet-12.onnx", sha256="ea563e5c"),
        where=f"{ZOO}/caffenet/model",
        licence="BSD-3",
        top1=0.5627,
        top5=0.7952,
        about="CaffeNet; published at 224 px with a pad that Caffe has not, which costs 1.1 points of top-1",
    ),
    OWN: Published(
        "modern",
        Archive(OWN_FILE.name),
        where="this package",
        licence="the package's; computed from pictures of ImageNet, which are for research: whether that binds weights "
        "is not settled",
        top1=0.4708,
        top5=0.7201,
        size=5_705_008,
        about="200 classes of Tiny ImageNet, 64 px, 250 training images each: for --probe, compare, embed and --init",
        folder=OWN_FILE.parent,
    ),
}


def is_name(model: object) -> bool:
    """Whether this is, or is meant as, the name of published weights: imagenet:bvlc, and imagenet:oops, too.

    A name means the published weights, whatever file of that name lies around.
    """
    kind, colon, network = _text(model).partition(":")
    return bool(colon) and kind in KINDS and bool(network) and not any(mark in network for mark in "/\\")


def published(name: str | os.PathLike[str]) -> Published:
    """The entry of a name; UsageError for an unknown one."""
    if _text(name) not in PUBLISHED:
        raise unknown_name("weights", _text(name), PUBLISHED)
    return PUBLISHED[_text(name)]


def here(name: str) -> Path | None:
    """The file of published weights where it is on this machine, not verified; None where it is not."""
    entry = published(name)
    return find([entry.file], None if entry.folder is None else [entry.folder])


def fetch(name: str | os.PathLike[str]) -> Path:
    """The file of published weights, verified: the package's, or from ALEXNET_DATA or the cache, or downloaded there.

    UsageError for an unknown name, WeightsError for a file that cannot be had or has another checksum.
    """
    entry, file = published(name), here(_text(name))
    if file is None and not entry.file.url:
        raise WeightsError(_how_to_get(_text(name), entry))
    try:
        file = file or download(entry.file, data_folders()[-1])
    except DataError as error:
        raise WeightsError(str(error)) from error
    verify(entry.file, file)
    return file


def _how_to_get(name: str, entry: Published) -> str:
    """What to do about a file that is missing and not downloaded."""
    if entry.folder is not None:
        path = entry.folder / entry.file.filename
        return f"{name} is not in this installation: {path} is missing; install alexnet again"
    return (
        f"{name} is not downloaded by alexnet: get {entry.file.filename} from {entry.where} and put it into"
        f" {data_folders()[0]}"
    )


def verify(archive: Archive, file: Path) -> None:
    """WeightsError unless the file has the published checksum, where there is one; a card has its own.

    A file that was verified before is known again by its path, size and time of change, kept in the cache.
    """
    algorithm, wanted = archive.checksum
    if not wanted:
        return
    stat = file.stat()
    facts: dict[str, Any] = {"file": str(file.absolute()), "size": stat.st_size, "changed": stat.st_mtime_ns}
    facts[algorithm] = wanted
    note = cache_folder() / "verified" / f"{archive.filename}.json"
    if _noted(note) == facts:
        return
    found = archive.digest(file)
    if not found.startswith(wanted):
        raise WeightsError(
            f"{file} has {algorithm} {found}, published is {wanted}: it is damaged or another file; remove it"
            " and run again"
        )
    try:
        write_json(note, facts)
    except Exception as error:  # a cache that cannot be written costs a second each time, no more
        log.debug("not noted as verified: %s", error)


def _noted(note: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return None


def _text(model: object) -> str:
    """The name or path as text; "" for what is neither."""
    return os.fsdecode(model) if isinstance(model, str | os.PathLike) else ""
