"""alexnet evaluate divided among machines: one part's probabilities computed and kept, or all parts put together.

Parts are of whole batches, as one command would compute them, so that on like machines the scores and files that are
put together equal, byte for byte, what one command writes.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.data.places import check_views
from alexnet.evaluation.predict import USUAL_BATCH
from alexnet.inference.answers import BATCH, Answering
from alexnet.inference.divided.job import parts_of, sha256
from alexnet.inference.evaluate import Evaluation, chances_of, concluded, foreign, opened
from alexnet.inference.inputs import check_count
from alexnet.inference.parts import Labelled, check_split
from alexnet.inference.unknown import Called, Progress, check_tells, of_own
from alexnet.processes.parts import Kept, Parts
from alexnet.processes.shards import Division, Shard

CHANCES, MEASURED = "probabilities.npy", "measured.json"


@dataclass(frozen=True)
class Asked:
    """What is asked of an evaluation; the fields are arguments of `alexnet.inference.evaluate.evaluate`."""

    views: int = 1
    split: str | None = None
    batch_size: int = USUAL_BATCH  # on every machine, so that parts fit each other
    precision: str = "float32"
    include_trained: bool = False
    unknown: str | None = None
    coverage: float | None = None

    def check(self) -> None:
        """UsageError for values that `evaluate` refuses."""
        check_views(self.views)
        check_split(self.split)
        check_count("batch size", self.batch_size)

    @property
    def unit(self) -> int:
        """Images that a part has a multiple of: whole batches, also of the scores for 'none of these'."""
        step = max(1, self.batch_size // self.views)
        return step if self.unknown is None else math.lcm(step, BATCH)


def evaluate_part(
    model: Path,
    data: str,
    asked: Asked,
    division: Division,
    shard: Shard,
    device: str = "auto",
    progress: Progress | None = None,
) -> Kept:
    """Compute and keep the probabilities of one part's images; the first part has the foreign images' score, too.

    Errors as for `evaluate` and `Parts.keep`.
    """
    classifier, found, indices = _opened(model, data, asked, device, progress)
    if asked.unknown is not None:
        check_tells(classifier)

    def fill(folder: Path) -> int:
        rows = indices[slice(*shard.bounds(len(indices), asked.unit))]
        measured: dict[str, Any] = {}
        if shard.number == 1:
            measured |= foreign(classifier, asked.unknown, asked.coverage, asked.views, progress)
        chances = torch.empty(0, len(classifier.class_names))
        if len(rows):
            chances = chances_of(classifier, found.store, rows, asked.views, asked.batch_size, progress)
        if asked.unknown is not None and len(rows):
            measured["own_unknown"] = of_own(classifier, "", found.store, rows, progress).unknown
        np.save(folder / CHANCES, chances.numpy(), allow_pickle=False)
        (folder / MEASURED).write_text(json.dumps(measured), encoding="utf-8")
        return len(rows)

    return _parts(classifier, found, indices, asked, division).keep(shard, fill)


def evaluate_whole(model: Path, data: str, asked: Asked, division: Division, out: Path | None = None) -> Evaluation:
    """Put the parts of an evaluation together, and write its files as `evaluate` does; no network computes.

    Errors as for `evaluate` and `Parts.all`.
    """
    classifier, found, indices = _opened(model, data, asked, "cpu", None)
    kept = _parts(classifier, found, indices, asked, division).all()
    chances = torch.from_numpy(np.concatenate([np.load(part.folder / CHANCES) for part in kept]))
    told = [json.loads((part.folder / MEASURED).read_text(encoding="utf-8")) for part in kept]
    measured = told[0]
    if asked.unknown is not None:
        unknown = sum(each.pop("own_unknown", 0) for each in told)
        measured["own_unknown"] = Called(data, len(indices), unknown).to_json()
    rest = (data, asked.views, asked.split, asked.coverage, out)
    return concluded(classifier, found, indices, chances, measured, *rest)


def _opened(
    model: Path, data: str, asked: Asked, device: str, progress: Progress | None
) -> tuple[Answering, Labelled, NDArray[np.int64]]:
    """The model, the data, and the rows of the images that are measured; refused before one is."""
    asked.check()
    classifier, found = opened(model, data, device, asked.precision, progress)
    classifier.check_views(asked.views)
    foreign(classifier, None, asked.coverage, asked.views, None)  # a coverage that cannot be held is refused
    return classifier, found, found.rows(asked.split, asked.include_trained)


def _parts(
    classifier: Answering, found: Labelled, indices: NDArray[np.int64], asked: Asked, division: Division
) -> Parts:
    rows = (indices.tobytes().hex(), found.labels[indices].tobytes().hex())
    told = {"data": sha256(found.store.content, *rows), **asdict(asked)}
    return parts_of(division, "evaluate", classifier, told)
