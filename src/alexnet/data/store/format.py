"""Files of a store: images decoded once, for training to read without decoding.

A store is a folder of S x S images, written atomically:

    store.json       format, version; name, fingerprint, fractions and class names of the source; size (S), fit,
                     value_range and exact: the form of the images; extent: what it leaves out of them; number of
                     images; files: bytes and SHA-256 of every other file; seal: SHA-256 of all of this
    samples.csv      path,label,split: one line per row, in row order; label indexes the class names, split is "train",
                     "val", "test" or empty
    digests.csv      digest: one line per row, `images.digest` of its pixels in hexadecimal; stores packed by earlier
                     programs lack it
    skipped.csv      path,reason: one line per image that could not be used
    shard-00000.bin  uint8 (rows, S, S, 3), RGB, C order, without a header; all shards but the last have the same number
    shard-00001.bin  of rows, about a gigabyte
    ...

Rows are in the order of the source's samples. N is the number of rows.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from alexnet.data.form import Form
from alexnet.data.value_range import range_text
from alexnet.errors import DataError

FORMAT = "alexnet store"
VERSION = 3  # increase whenever the bytes stored for the same images change
READABLE = (1, 2, VERSION)  # 1: TIFF, alpha and large JPEG as decoded then; 2: rare TIFF, PNG and JPEG 2000 files so
FACTS = "store.json"
SAMPLES = "samples.csv"
DIGESTS = "digests.csv"
SKIPPED = "skipped.csv"


def damaged(folder: Path, what: str) -> DataError:
    return DataError(f"store {folder} is damaged: {what}")


def seal(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def content_of(facts: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, over class names, samples and pixels; unlike a source's fingerprint, not file times."""
    files = {name: file["sha256"] for name, file in facts["files"].items() if name not in (DIGESTS, SKIPPED)}
    return seal({"class_names": facts["class_names"], "size": facts["size"], "files": files})


def row_bytes(size: int) -> int:
    return size * size * 3


def shard_name(shard: int) -> str:
    return f"shard-{shard:05d}.bin"


def cache_name(source: str, form: Form, fingerprint: str) -> str:
    """Name of a source's store in the cache. It has the form where that is not the default, later versions too."""
    fit = "" if form.fit == "crop" else f"-{form.fit}"
    values = "" if form.value_range is None else f"-{range_text(form.value_range, 'to')}"
    exact = "-exact" if form.exact else ""
    version = "" if VERSION == 1 else f"-v{VERSION}"
    return f"{source}-{form.size}{fit}{values}{exact}-{fingerprint[:16]}{version}"


def is_ours(name: str) -> bool:
    return name in (FACTS, SAMPLES, DIGESTS, SKIPPED) or re.fullmatch(r"shard-\d{5,}\.bin", name) is not None
