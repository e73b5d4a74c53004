"""Read the run folders of an experiment, and the two files that it adds: diverged.json and views-N.json."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alexnet.experiments.experiment import Job
from alexnet.experiments.results import Outcome
from alexnet.files import read_json, write_json
from alexnet.runs.folder import Config, RunFolder

DIVERGED = "diverged.json"


def has_begun(folder: Path) -> bool:
    """Whether the folder holds a run that can be resumed or read."""
    return RunFolder(folder).is_run


def is_finished(folder: Path) -> bool:
    """Whether the run has ended, including by divergence."""
    return RunFolder(folder).is_finished or (folder / DIVERGED).is_file()


def read_config(folder: Path) -> Config:
    """Data, settings and environment of a run."""
    return RunFolder(folder).read_config()


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of a finished run or pre-training run."""
    return RunFolder(folder).read_metrics()


def write_diverged(folder: Path, error: Exception, seconds: float) -> None:
    """Mark a run as diverged."""
    write_json(folder / DIVERGED, {"error": str(error), "seconds": seconds})


def read_outcome(job: Job, folder: Path) -> Outcome:
    """The outcome of a finished run."""
    base: dict[str, Any] = {
        "study": job.study.title,
        "arm": job.arm.name,
        "seed": job.seed,
        "rate": job.rate,
        "folder": str(folder),
    }
    if not RunFolder(folder).is_finished:
        return Outcome(**base, diverged=True, seconds=read_json(folder / DIVERGED)["seconds"])
    return Outcome.read(base, read_metrics(folder), RunFolder(folder).read_epochs(), job.study.target)


def pretraining_metrics(out: Path) -> list[dict[str, Any]]:
    """metrics.json of every finished pre-training run of the experiment in `out`, with its "name"."""
    folders = sorted(file.parent for file in out.glob("pretrained/*/metrics.json"))
    return [{"name": folder.name, **read_metrics(folder)} for folder in folders]


def environment_of(folders: Iterable[Path], names: Iterable[str]) -> dict[str, Any]:
    """Entries of the runs' environments: the common value, or the list of distinct values."""
    environments = [read_config(folder).environment for folder in folders if has_begun(folder)]
    return {name: _common([each.get(name) for each in environments]) for name in names}


def _common(values: list[Any]) -> Any:
    distinct = [value for index, value in enumerate(values) if value not in values[:index]]
    return distinct[0] if len(distinct) == 1 else distinct


def view_error(folder: Path, views: int) -> float | None:
    """The recorded test error over `views` views of each image; None if not evaluated yet."""
    path = _views_file(folder, views)
    return 1 - float(read_json(path)["top1"]) if path.is_file() else None


def write_top1(folder: Path, views: int, top1: float) -> None:
    """Record the top-1 accuracy over `views` views of each image."""
    write_json(_views_file(folder, views), {"top1": top1})


def _views_file(folder: Path, views: int) -> Path:
    return folder / f"views-{views}.json"
