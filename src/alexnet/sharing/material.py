"""What a finished run has to publish: weights with their card, scores, and what must not be told."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alexnet.errors import FileError
from alexnet.files import read_json
from alexnet.inference.inputs import as_path
from alexnet.runs.folder import Config, RunFolder
from alexnet.sharing.local import local_paths, without
from alexnet.training.folds import FOLDS
from alexnet.weights.card import Card, Stored, read

NEEDED = ("split", "views", "images", "top1", "interval", "macro_f1", "ece", "per_class", "confusion")


@dataclass(frozen=True)
class Material:
    """A finished run as it is published; nothing in it names a place on this machine."""

    stored: Stored  # the network's tensors; the card with the last names of paths alone
    data: str  # what it was trained on: "flowers17", or the name of the folder
    scores: dict[str, Any]  # metrics.json
    folds: dict[str, Any] | None  # folds.json of the cross-validation that this run ends; None for other runs
    version: str | None  # of alexnet, that trained it
    local: frozenset[str]  # paths of this machine, for none of the files

    @property
    def card(self) -> Card:
        """The card that is published."""
        return self.stored.card


def material(run: str | os.PathLike[str]) -> Material:
    """Read a run. FileError for what is no finished run of `alexnet train`, WeightsError for damaged weights."""
    folder = as_path("run", run)
    files = RunFolder(folder)
    config = files.read_config()
    if config.kind != "train":
        raise FileError(f"{folder} is a run of alexnet pretrain and knows no classes; give one of alexnet train")
    scores = files.read_metrics()
    if lacking := [name for name in NEEDED if name not in scores]:
        raise FileError(
            f"{folder / 'metrics.json'} lacks {', '.join(lacking)}: an earlier version made it; train the run anew"
        )
    stored = read(files.weights)
    recorded = config.to_json()
    local = local_paths([recorded, stored.card.training], folder)
    version = recorded.get("alexnet")
    told = _card(stored.card, local, config)
    return Material(Stored(told, stored.tensors), told.training["data"], scores, _folds(folder), version, local)


def _card(card: Card, local: frozenset[str], config: Config) -> Card:
    """The card for the public: settings and numbers stay, of paths the last names."""
    found: dict[str, Any] = without({**card.training, "data": config.data}, local)
    calibration = card.calibration and replace(card.calibration, measured=without(card.calibration.measured, local))
    return replace(card, training=found, calibration=calibration)


def _folds(folder: Path) -> dict[str, Any] | None:
    """What a cross-validation came to, for the model of all its images."""
    try:
        return read_json(folder.absolute().parent / FOLDS) if folder.absolute().name == "all" else None
    except (OSError, ValueError):
        return None
