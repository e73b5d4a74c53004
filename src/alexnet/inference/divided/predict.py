"""alexnet predict divided among machines: one part of the images answered and kept, or all parts put together.

Parts are of whole batches, as one command would compute them, so that on like machines what is put together equals,
byte for byte, what one command prints. Imports no torch.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from alexnet.data.places import check_views
from alexnet.inference.answers import BATCH, Answering, Guess, Prediction
from alexnet.inference.divided.job import parts_of, sha256, stamp
from alexnet.processes.parts import Kept, Parts
from alexnet.processes.shards import Division, Shard

ANSWERS = "answers.json"


def predict_part(
    model: Answering,
    images: Sequence[Path],
    top: int,
    views: int,
    coverage: float | None,
    division: Division,
    shard: Shard,
) -> Kept:
    """Answer and keep one part of `images`; those that cannot be read are kept with the reason.

    Arguments and errors as for `Answering.predict` and `Parts.keep`.
    """

    def fill(folder: Path) -> int:
        low, high = shard.bounds(len(images), max(1, BATCH // views))
        answers = model.predict(images[low:high], top, views, coverage)
        text = json.dumps([asdict(answer) for answer in answers])
        (folder / ANSWERS).write_text(text, encoding="utf-8")
        return len(answers)

    return _parts(model, images, top, views, coverage, division).keep(shard, fill)


def predict_whole(
    model: Answering, images: Sequence[Path], top: int, views: int, coverage: float | None, division: Division
) -> list[Prediction]:
    """The answers to all images, from the parts, in the order of `images`. Errors as for `Parts.all`."""
    kept = _parts(model, images, top, views, coverage, division).all()
    rows = [row for part in kept for row in json.loads((part.folder / ANSWERS).read_text(encoding="utf-8"))]
    return [Prediction(**{**row, "predictions": [Guess(**guess) for guess in row["predictions"]]}) for row in rows]


def _parts(
    model: Answering, images: Sequence[Path], top: int, views: int, coverage: float | None, division: Division
) -> Parts:
    check_views(views)
    listed = sha256(*(f"{path}\0{stamp(path)}" for path in images))
    told = {"images": listed, "top": top, "views": views, "coverage": coverage}
    return parts_of(division, "predict", model, told)
