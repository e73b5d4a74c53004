"""The run folder: one typed, versioned format with its reader and writer; docs/formats.md describes each file.

    config.json            what the run began with: data, settings, environment (`Config`)
    split.csv              path,label,split,digest: the part of each image (`SplitRow`); no label in pre-training
    metrics.csv            a row an epoch
    metrics.json           the final evaluation; present once the run is finished
    weights/best.safetensors
    last/checkpoint.safetensors

Training and pre-training write these files; every other room reads them through `RunFolder`.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from alexnet.errors import FileError
from alexnet.files import read_json, write_csv, write_json
from alexnet.weights.card import BEST

FORMAT = 2  # of config.json; runs of format 1 carry no "format" and no "kind"
KINDS = ("train", "pretrain")
COMPARED = ("device", "precision", "threads", "processor", "versions")  # must match for a bit-exact resume
CHECKPOINT = Path("last", "checkpoint.safetensors")


@dataclass(frozen=True, kw_only=True)
class Config:
    """config.json: everything a run began with."""

    kind: str  # "train" or "pretrain": the command that makes and resumes the run
    data: str  # name or absolute path, as `named_store` takes it
    fingerprint: str  # SHA-256 of the data, as the packed store records it
    recipe: dict[str, Any]  # training settings; for pre-training those that its loop works by
    pretraining: dict[str, Any] = field(default_factory=dict)  # pre-training settings; empty for training
    initialised: list[str] = field(default_factory=list)  # layers taken from the recipe's `init`
    environment: dict[str, Any] = field(default_factory=dict)  # see `alexnet.runs.environment`

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote, or that format 1 wrote; ValueError says what is missing or unknown."""
        form = values.get("format", 1)
        if form not in (1, FORMAT):
            raise ValueError(f"format {form!r}; this version reads 1 and {FORMAT}, a newer alexnet may read it")
        missing = [key for key in ("data", "fingerprint", "recipe", *COMPARED) if key not in values]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        kind = values.get("kind", "pretrain" if "pretraining" in values else "train")
        if kind not in KINDS or (kind == "pretrain") != ("pretraining" in values):
            raise ValueError(f"kind {kind!r} does not match its settings")
        own = {each.name for each in fields(cls)} - {"kind", "environment"}
        known = {name: values[name] for name in own if name in values}
        rest = {name: value for name, value in values.items() if name not in own | {"format", "kind"}}
        return cls(kind=kind, environment=rest, **known)

    def to_json(self) -> dict[str, Any]:
        """A flat dictionary: the environment's entries stand beside the rest."""
        values: dict[str, Any] = {"format": FORMAT, "kind": self.kind, "data": self.data}
        values |= {"fingerprint": self.fingerprint, "recipe": self.recipe}
        if self.kind == "pretrain":
            values["pretraining"] = self.pretraining
        return {**values, "initialised": self.initialised, **self.environment}

    @property
    def split_seed(self) -> int:
        """Seed of the division into training, validation and test images."""
        return int(self.recipe["split_seed"])


@dataclass(frozen=True)
class SplitRow:
    """One row of split.csv."""

    path: str  # as the data's source names the image
    label: str  # class name; "" in a pre-training run, which reads no labels
    split: str  # "train", "val" or "test"
    digest: str = ""  # of the stored pixels, as `Store.digests` gives it; "" in runs of earlier versions


@dataclass(frozen=True)
class RunFolder:
    """A run folder's files. Each `read_...` raises FileError, one line, for a file that is missing or damaged."""

    path: Path

    @property
    def weights(self) -> Path:
        """The weights file that the run is known by."""
        return self.path / BEST

    @property
    def checkpoint(self) -> Path:
        """Everything that a resume needs."""
        return self.path / CHECKPOINT

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run, finished or not."""
        return (self.path / "config.json").is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end and was evaluated."""
        return (self.path / "metrics.json").is_file()

    def read_config(self) -> Config:
        """config.json, of this format or an older one."""
        path = self.path / "config.json"
        if not path.is_file():
            found = "it has no config.json" if self.path.exists() else "there is nothing of that name"
            raise FileError(f"{self.path} is not a run: {found}; give the folder that alexnet train made")
        try:
            return Config.from_json(read_json(path))
        except (ValueError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error

    def write_config(self, config: Config) -> None:
        """config.json, whole or not at all."""
        write_json(self.path / "config.json", config.to_json())

    def read_split(self) -> list[SplitRow]:
        """split.csv in its order; an image that the data lists twice has two rows."""
        path = self.path / "split.csv"
        try:
            rows = _rows(path)
            return [SplitRow(row["path"], row.get("label", ""), row["split"], row.get("digest") or "") for row in rows]
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise _damaged(path, error) from error

    def write_split(self, rows: Iterable[SplitRow], labelled: bool = True) -> None:
        """split.csv; labelled: whether it has the column `label`."""
        columns = ("path", "label", "split", "digest") if labelled else ("path", "split", "digest")
        write_csv(self.path / "split.csv", columns, ([getattr(row, name) for name in columns] for row in rows))

    def read_epochs(self) -> list[dict[str, str]]:
        """metrics.csv: one dictionary an epoch, values as text, "" where an epoch was not evaluated."""
        path = self.path / "metrics.csv"
        try:
            return _rows(path)
        except (OSError, ValueError, csv.Error) as error:
            raise _damaged(path, error) from error

    def write_epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """metrics.csv; a column that a row lacks stays empty."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        write_csv(self.path / "metrics.csv", columns, ([row.get(name, "") for name in columns] for row in rows))

    def read_metrics(self) -> dict[str, Any]:
        """metrics.json: what the finished run came to."""
        path = self.path / "metrics.json"
        if not path.is_file():
            raise FileError(f"the run {self.path} is not finished: it has no metrics.json; go on with --resume")
        try:
            return read_json(path)
        except ValueError as error:
            raise _damaged(path, error) from error

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """metrics.json; its presence marks the run as finished, so it is written last."""
        write_json(self.path / "metrics.json", dict(metrics))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def _damaged(path: Path, error: Exception) -> FileError:
    reason = error.strerror if isinstance(error, OSError) else f"{error}"
    return FileError(f"{path} is damaged ({reason}); put back a copy of it, or start the run anew")
