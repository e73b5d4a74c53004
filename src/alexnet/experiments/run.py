"""An experiment from its first run to its report; stopped anywhere, the same command goes on.

Every run is an ordinary one (`alexnet.training.run`) in OUT/runs/. A finished one is only read, one that was stopped is
resumed. Nothing else is kept: what was decided, such as the best rate, is decided again from the runs.
"""

import csv
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from alexnet.errors import Diverged, Interrupted, UsageError
from alexnet.experiments import report
from alexnet.experiments.experiment import Arm, Experiment, Job, Study, slug
from alexnet.experiments.results import Outcome, best_rate
from alexnet.files import cannot_write
from alexnet.inference.evaluate import evaluate
from alexnet.training.folder import write_json
from alexnet.training.recipes import from_json
from alexnet.training.report import say
from alexnet.training.run import resume, train

MARK = "experiment.json"
DIVERGED = "diverged.json"


@dataclass
class Runs:
    """The outcomes so far, by study and arm; for an arm with several rates those at the best."""

    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    tried: dict[tuple[str, str], dict[float, Outcome]] = field(default_factory=dict)

    def of(self, study: Study, arm: Arm) -> list[Outcome]:
        """Those of an arm, by seed."""
        return self.outcomes.setdefault((study.title, arm.name), [])

    def seconds_per_epoch(self, study: str, arm: str) -> float | None:
        """As this arm took, or else the mean of its study, or of all; None before anything has run."""
        ran = [outcome for outcome in self.everything() if outcome.epochs]
        in_study = [outcome for outcome in ran if outcome.study == study]
        own = [outcome for outcome in in_study if outcome.arm == arm] or in_study or ran
        return sum(outcome.seconds for outcome in own) / sum(outcome.epochs for outcome in own) if own else None

    def everything(self) -> Iterator[Outcome]:
        """Every run once."""
        for outcomes in self.outcomes.values():
            yield from outcomes
        for rates in self.tried.values():
            yield from rates.values()


def run(experiment: Experiment, out: Path, seeds: int, command: str, quick: bool) -> dict[str, Any]:
    """Run what is missing of `experiment` in the folder `out` and write its report; what results.json holds.

    UsageError where `out` holds something else. Interrupted after Ctrl-C, with all that was done saved.
    """
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}; it takes 1 or more")
    claim(experiment, out, quick)
    runs, jobs = Runs(), Jobs(experiment, out, seeds)
    try:
        for study in experiment.studies:
            jobs.study(study, runs)
    except Interrupted as stop:
        done = f"{jobs.done} of {jobs.total} runs are finished"
        raise Interrupted(f"interrupted and saved; {done}; go on with: {command}") from stop
    return report.write(experiment, runs.outcomes, runs.tried, out, command, quick)


def claim(experiment: Experiment, out: Path, quick: bool) -> None:
    """Make `out` this experiment's folder; UsageError where it holds something else."""
    mine = {"experiment": experiment.name, "quick": quick}
    path = out / MARK
    try:
        if path.is_file():
            theirs = json.loads(path.read_text(encoding="utf-8"))
            if theirs != mine:
                other = f"{theirs.get('experiment')}{' --quick' if theirs.get('quick') else ''}"
                raise UsageError(f"{out} holds the experiment {other}; give another --out, or that experiment's name")
            return
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} holds something that is no experiment; give --out a new or empty folder")
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path} is damaged ({error}); give another --out") from error
    except OSError as error:
        raise cannot_write(out, error) from error
    write_json(path, mine)


class Jobs:
    """Does jobs one after the other, and says which and how long the others will take."""

    def __init__(self, experiment: Experiment, out: Path, seeds: int) -> None:
        self.experiment, self.out, self.seeds = experiment, out, seeds
        self.left = {
            (study.title, arm.name): max(len(arm.rates), 1) + seeds - 1
            for study in experiment.studies
            for arm in study.trained()
        }
        self.total = sum(self.left.values())

    @property
    def done(self) -> int:
        """Runs that are finished."""
        return self.total - sum(self.left.values())

    def study(self, study: Study, runs: Runs) -> None:
        """The first seed of every arm, at every rate where there are several; then the other seeds at the best."""
        for arm in study.trained():
            self.first_seed(study, arm, runs)
        for seed in range(1, self.seeds):
            for arm in study.trained():
                rate = best_rate(runs.tried[study.title, arm.name]) if arm.rates else None
                runs.of(study, arm).append(self.do(Job(study, arm, seed, rate), runs))
        for arm in study.arms:
            if arm.trained_as is not None:
                trained = runs.outcomes[study.title, arm.trained_as]
                runs.outcomes[study.title, arm.name] = [self.seen_again(study, arm, outcome) for outcome in trained]
            elif arm.views != 1:
                again = [self.seen_again(study, arm, outcome) for outcome in runs.of(study, arm)]
                runs.outcomes[study.title, arm.name] = again

    def first_seed(self, study: Study, arm: Arm, runs: Runs) -> None:
        """Seed 0. Where rates are tried, one that needs more epochs than the best so far is stopped there."""
        if not arm.rates:
            runs.of(study, arm).append(self.do(Job(study, arm, 0), runs))
            return
        tried = runs.tried.setdefault((study.title, arm.name), {})
        for rate in arm.rates:
            reached = [outcome.epochs for outcome in tried.values() if outcome.epochs_to_target is not None]
            tried[rate] = self.do(Job(study, arm, 0, rate, min(reached, default=None)), runs)
        runs.of(study, arm).append(tried[best_rate(tried)])

    def do(self, job: Job, runs: Runs) -> Outcome:
        """The job's outcome, read where it is finished, else run or resumed."""
        prefix = f"{slug(job.study.title)}-" if len(self.experiment.studies) > 1 else ""
        folder = self.out / "runs" / f"{prefix}{job.name}"
        if not is_finished(folder):
            self.announce(job, runs)
            do(job, folder)
        else:
            check_settings(job, folder)
        self.left[job.study.title, job.arm.name] -= 1
        return outcome_of(job, folder)

    def announce(self, job: Job, runs: Runs) -> None:
        """Which run this is, of how many, and how long all that is left will take at most."""
        rate = "" if job.rate is None else f", rate {job.rate:g}"
        seconds = self.seconds_left(runs)
        time_left = "" if seconds is None else f"; at most {duration(seconds)} left"
        say(f"run {self.done + 1} of {self.total}: {job.study.title}, {job.arm.name}{rate}, seed {job.seed}{time_left}")

    def seconds_left(self, runs: Runs) -> float | None:
        """For the runs that are not done, each to its last epoch, as fast as those that are; None before the first."""
        if not any(runs.everything()):
            return None
        return sum(
            self.left[study.title, arm.name]
            * Job(study, arm, 0).recipe.epochs
            * (runs.seconds_per_epoch(study.title, arm.name) or 0.0)
            for study in self.experiment.studies
            for arm in study.trained()
        )

    def seen_again(self, study: Study, arm: Arm, outcome: Outcome) -> Outcome:
        """The outcome of the same weights over other views."""
        if outcome.diverged or arm.views == 1:
            return replace(outcome, arm=arm.name)
        path = Path(outcome.folder) / f"views-{arm.views}.json"
        if not path.is_file():
            split = json.loads((Path(outcome.folder) / "metrics.json").read_text(encoding="utf-8"))["split"]
            scores = evaluate(Path(outcome.folder), study.data, arm.views, split)
            write_json(path, {"top1": scores["top1"]})
        top1 = json.loads(path.read_text(encoding="utf-8"))["top1"]
        return replace(outcome, arm=arm.name, error=1 - top1)


def is_finished(folder: Path) -> bool:
    """Whether a run has come to its end, a good one or not."""
    return (folder / "metrics.json").is_file() or (folder / DIVERGED).is_file()


def do(job: Job, folder: Path) -> None:
    """Train, or go on from the run's checkpoint. A loss that is not finite is an outcome, not an error."""
    began = time.monotonic()
    try:
        if (folder / "config.json").is_file():
            check_settings(job, folder)
            resume(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)  # killed before it had begun
            train(job.study.data, job.recipe, folder)
    except Diverged as error:
        write_json(folder / DIVERGED, {"error": str(error), "seconds": time.monotonic() - began})


def check_settings(job: Job, folder: Path) -> None:
    """UsageError where the run in `folder` was made by other settings than this job's."""
    theirs = asdict(from_json(json.loads((folder / "config.json").read_text(encoding="utf-8"))["recipe"]))
    mine = asdict(job.recipe)
    if changed := [name for name in mine if mine[name] != theirs[name]]:
        raise UsageError(
            f"{folder} was run with another {changed[0]} ({theirs[changed[0]]}, now {mine[changed[0]]}); give another "
            "--out, or remove that run"
        )


def outcome_of(job: Job, folder: Path) -> Outcome:
    """What a finished run came to."""
    base: dict[str, Any] = {
        "study": job.study.title,
        "arm": job.arm.name,
        "seed": job.seed,
        "rate": job.rate,
        "folder": str(folder),
    }
    if not (folder / "metrics.json").is_file():
        told = json.loads((folder / DIVERGED).read_text(encoding="utf-8"))
        return Outcome(**base, diverged=True, seconds=told["seconds"])
    scores = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Outcome.read(base, scores, rows, job.study.target)


def duration(seconds: float) -> str:
    """ "3 min" or "2.5 h", rounded up."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"
