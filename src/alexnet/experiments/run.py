"""An experiment from its first run to its report; stopped anywhere, the same command goes on.

Every run is an ordinary one (`alexnet.training.run`) in OUT/runs/. A finished one is only read, one that was stopped is
resumed. Nothing else is kept: what was decided, such as the best rate, is decided again from the runs.
"""

import csv
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from alexnet.errors import DataError, Diverged, Interrupted, UsageError
from alexnet.experiments import report
from alexnet.experiments.experiment import Arm, Experiment, Job, Study, runs_of, slug
from alexnet.experiments.results import Outcome, best_rate
from alexnet.files import cannot_write, held, read_json, write_json
from alexnet.inference.evaluate import evaluate
from alexnet.pretraining.run import pretrain
from alexnet.pretraining.run import resume as resume_pretraining
from alexnet.pretraining.settings import Settings
from alexnet.pretraining.settings import from_json as pretraining_from_json
from alexnet.training.run import resume, train
from alexnet.training.settings import from_json

MARK = "experiment.json"
DIVERGED = "diverged.json"
# Settings of a pre-training that are those of the runs that begin from it.
SHARED = ("network", "input_size", "resize", "store_size", "validation", "test", "given_splits", "seed", "split_seed")

logger = logging.getLogger(__name__)


@dataclass
class Runs:
    """The outcomes so far, by study and arm; for an arm with several rates those at the best."""

    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    tried: dict[tuple[str, str], dict[float, Outcome]] = field(default_factory=dict)

    def of(self, study: Study, arm: Arm) -> list[Outcome]:
        """Those of an arm, by seed."""
        return self.outcomes.setdefault((study.title, arm.name), [])

    def seconds_per_epoch(self, study: str, arm: str, sizes: Mapping[str, int]) -> float | None:
        """As this arm took, or else the mean of its study, or of all; None before anything has run.

        sizes: images of an epoch by study, in any unit.
        """
        ran = [outcome for outcome in self.everything() if outcome.epochs]
        in_study = [outcome for outcome in ran if outcome.study == study]
        own = [outcome for outcome in in_study if outcome.arm == arm] or in_study or ran
        images = sum(outcome.epochs * sizes[outcome.study] for outcome in own)
        return sizes[study] * sum(outcome.seconds for outcome in own) / images if own else None

    def everything(self) -> Iterator[Outcome]:
        """Every run, those that chose a rate and are reported as well twice."""
        for outcomes in self.outcomes.values():
            yield from outcomes
        for rates in self.tried.values():
            yield from rates.values()


def run(experiment: Experiment, out: Path, seeds: int, command: str, quick: bool) -> dict[str, Any]:
    """Run what is missing of `experiment` in the folder `out` and write its report; what results.json holds.

    UsageError where `out` holds something else, or another process is at work in it; DataError where the data has
    changed since the first of the runs. Interrupted after Ctrl-C, with all that was done saved.
    """
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}; it takes 1 or more")
    claim(experiment, out, quick)
    runs, jobs = Runs(), Jobs(experiment, out, seeds)
    with held(out):
        if not (out / "runs").exists():
            jobs.announce_all()
        try:
            for study in experiment.studies:
                jobs.study(study, runs)
        except (Interrupted, KeyboardInterrupt) as stop:
            done = f"{jobs.done} of {jobs.total} runs are finished"
            raise Interrupted(f"interrupted and saved; {done}; go on with: {command}") from stop
        return report.write(experiment, runs.outcomes, runs.tried, out, command, quick)


def claim(experiment: Experiment, out: Path, quick: bool) -> None:
    """Make `out` this experiment's folder; UsageError where it holds something else."""
    path = out / MARK
    try:
        if path.is_file():
            _refuse_other(experiment, quick, path)
            return
        strange = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise cannot_write(out, error) from error
    if strange:
        raise UsageError(f"{out} holds something that is no experiment; give --out a new or empty folder")
    write_json(path, {"experiment": experiment.name, "quick": quick})


def _refuse_other(experiment: Experiment, quick: bool, path: Path) -> None:
    """UsageError where the mark of an experiment's folder is another one's, or cannot be understood."""
    try:
        theirs = read_json(path)
        name, theirs_quick = theirs["experiment"], theirs["quick"]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged ({error}); give another --out") from error
    if (name, theirs_quick) != (experiment.name, quick):
        other = f"{name}{' --quick' if theirs_quick else ''}"
        same = "leave out --quick" if quick else "add --quick"
        instead = same if name == experiment.name else "that experiment's name"
        raise UsageError(f"{path.parent} holds the experiment {other}; give another --out, or {instead}")


class Jobs:
    """Does jobs one after the other, and says which and how long the others will take."""

    def __init__(self, experiment: Experiment, out: Path, seeds: int) -> None:
        self.experiment, self.out, self.seeds = experiment, out, seeds
        self.left = {
            (study.title, arm.name): runs_of(study, arm, seeds)
            for study in experiment.studies
            for arm in study.trained()
        }
        self.total = sum(self.left.values())
        self.seen: dict[tuple[str, int], dict[str, Path]] = {}  # by data and seed of its division: fingerprint, a run

    @property
    def done(self) -> int:
        """Runs that are finished."""
        return self.total - sum(self.left.values())

    def study(self, study: Study, runs: Runs) -> None:
        """The rates of every arm that has several; then seed by seed every arm at its best."""
        for arm in study.trained():
            if arm.rates:
                self.tune(study, arm, runs)
        for seed in range(self.seeds):
            for arm in study.trained():
                runs.of(study, arm).append(self.at_best_rate(study, arm, seed, runs))
        for arm in study.arms:
            if arm.trained_as is not None:
                trained = runs.outcomes[study.title, arm.trained_as]
                again = [self.seen_again(study, arm, outcome) for outcome in trained]
                # The curves are drawn where they belong, and would lie on top of one another.
                runs.outcomes[study.title, arm.name] = [replace(outcome, curves={}) for outcome in again]
            elif arm.views != 1:
                again = [self.seen_again(study, arm, outcome) for outcome in runs.of(study, arm)]
                runs.outcomes[study.title, arm.name] = again

    def tune(self, study: Study, arm: Arm, runs: Runs) -> None:
        """Every rate, by the study's tuning seed; one that needs more epochs than the best so far is stopped there."""
        tried = runs.tried.setdefault((study.title, arm.name), {})
        for rate in arm.rates:
            reached = [outcome.epochs for outcome in tried.values() if outcome.epochs_to_target is not None]
            job = self.job(study, arm, study.tuning_seed, rate)
            tried[rate] = self.do(replace(job, most_epochs=min(reached, default=None)), runs)

    def at_best_rate(self, study: Study, arm: Arm, seed: int, runs: Runs) -> Outcome:
        """A seed's run at the rate that was found best, which may be one of those that found it."""
        if not arm.rates:
            return self.do(self.job(study, arm, seed), runs)
        tried = runs.tried[study.title, arm.name]
        rate = best_rate(tried, study.measure)
        return tried[rate] if seed == study.tuning_seed else self.do(self.job(study, arm, seed, rate), runs)

    def job(self, study: Study, arm: Arm, seed: int, rate: float | None = None) -> Job:
        """A run of an arm; its pre-training, if it has one, is where `pretrained` puts it."""
        init = None if arm.pretrained is None else str(pretrained_folder(self.out, study, arm.pretrained, seed))
        return Job(study, arm, seed, rate, init)

    def do(self, job: Job, runs: Runs) -> Outcome:
        """The job's outcome, read where it is finished, else run or resumed."""
        prefix = f"{slug(job.study.title)}-" if len(self.experiment.studies) > 1 else ""
        folder = self.out / "runs" / f"{prefix}{job.name}"
        check_settings(job, folder)
        if not is_finished(folder):
            self.announce(job, runs)
            do(job, folder)
        self.check_images(job, folder)
        self.left[job.study.title, job.arm.name] -= 1
        return outcome_of(job, folder)

    def check_images(self, job: Job, folder: Path) -> None:
        """DataError where this run saw other images than one before it with the same division of the same data."""
        if not (folder / "config.json").is_file():  # its pre-training diverged
            return
        seen = self.seen.setdefault((job.study.data, job.recipe.split_seed), {})
        seen.setdefault(read_json(folder / "config.json")["fingerprint"], folder)
        if len(seen) > 1:
            runs = " and ".join(map(str, seen.values()))
            raise DataError(
                f"the data {job.study.data} has changed between {runs}; put it back as it was and remove the later "
                "run, or give another --out"
            )

    def announce_all(self) -> None:
        """What is about to be done: how many runs, where, and about how long they take."""
        minutes = self.experiment.minutes
        time_needed = "" if minutes is None else f", about {duration(60 * minutes)} on one core and less on more"
        seeds = "" if self.seeds == self.experiment.seeds else f" with {self.experiment.seeds} seeds"
        logger.info(f"{self.experiment.name}: {self.total} runs in {self.out}{time_needed}{seeds}")

    def announce(self, job: Job, runs: Runs) -> None:
        """Which run this is, of how many, and how long all that is left will take at most."""
        rate = "" if job.rate is None else f", rate {job.rate:g}"
        seconds = self.seconds_left(runs)
        time_left = "" if seconds is None else f"; at most {duration(seconds)} left"
        what = f"{job.study.title}, {job.arm.name}{rate}, seed {job.seed}"
        logger.info(f"run {self.done + 1} of {self.total}: {what}{time_left}")

    def seconds_left(self, runs: Runs) -> float | None:
        """For what is not done, each run to its last epoch, as fast as those that are; None before the first."""
        missing, ahead = self.pretraining_left()
        if not any(runs.everything()) or (missing and ahead is None):
            return None
        sizes = {study.title: study.base.train_images or 1 for study in self.experiment.studies}
        return missing * (ahead or 0.0) + sum(
            self.left[study.title, arm.name]
            * Job(study, arm, 0).recipe.epochs
            * (runs.seconds_per_epoch(study.title, arm.name, sizes) or 0.0)
            for study in self.experiment.studies
            for arm in study.trained()
        )

    def pretraining_left(self) -> tuple[int, float | None]:
        """How many pre-trainings are missing, and the mean seconds of those that are there; None without any."""
        folders = {
            pretrained_folder(self.out, study, arm.pretrained, seed)
            for study in self.experiment.studies
            for arm in study.trained()
            if arm.pretrained is not None
            for seed in {*range(self.seeds), *([study.tuning_seed] if arm.rates else [])}
        }
        done = [read_json(folder / "metrics.json")["seconds"] for folder in folders if is_finished(folder)]
        return len(folders) - len(done), sum(done) / len(done) if done else None

    def seen_again(self, study: Study, arm: Arm, outcome: Outcome) -> Outcome:
        """The outcome of the same weights over other views."""
        if outcome.diverged or arm.views == 1:
            return replace(outcome, arm=arm.name)
        path = Path(outcome.folder) / f"views-{arm.views}.json"
        if not path.is_file():
            split = read_json(Path(outcome.folder) / "metrics.json")["split"]
            scores = evaluate(Path(outcome.folder), study.data, arm.views, split)
            write_json(path, {"top1": scores["top1"]})
        top1 = read_json(path)["top1"]
        return replace(outcome, arm=arm.name, views=arm.views, error=1 - top1)


def is_finished(folder: Path) -> bool:
    """Whether a run has come to its end, a good one or not."""
    return (folder / "metrics.json").is_file() or (folder / DIVERGED).is_file()


def do(job: Job, folder: Path) -> None:
    """Train, or go on from the run's checkpoint, after its pre-training, if it has one.

    A loss that is not finite, in either, is an outcome, not an error.
    """
    began, data = time.monotonic(), job.study.data
    try:
        if job.init is not None and not is_finished(Path(job.init)):
            begin_or_resume(Path(job.init), partial(pretrain, data, pretraining_of(job)), resume_pretraining)
        begin_or_resume(folder, partial(train, data, job.recipe), resume)
    except Diverged as error:
        write_json(folder / DIVERGED, {"error": str(error), "seconds": time.monotonic() - began})


def begin_or_resume(folder: Path, begin: Callable[[Path], Path], go_on: Callable[[Path], Path]) -> None:
    """Begin a run in `folder`, or go on with the one that it holds."""
    if (folder / "config.json").is_file():
        go_on(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)  # killed before it had begun
        begin(folder)


def pretrained_folder(out: Path, study: Study, settings: Mapping[str, Any], seed: int) -> Path:
    """Where the pre-training by these settings stands, which all runs of that seed on that data begin from."""
    told = [study.data, *(f"{name}-{value}" if name != "method" else str(value) for name, value in settings.items())]
    return (out / "pretrained" / f"{slug('-'.join(told))}-seed{seed}").absolute()


def pretraining_of(job: Job) -> Settings:
    """The job's pre-training, on all training images of its division.

    The network, the sizes of its images and the division are those of the job's recipe.
    """
    return Settings(**{**{name: getattr(job.recipe, name) for name in SHARED}, **(job.arm.pretrained or {})})


def check_settings(job: Job, folder: Path) -> None:
    """UsageError where the run in `folder`, or its pre-training, was made by other settings than this job's."""
    if (folder / "config.json").is_file():
        theirs = asdict(from_json(read_json(folder / "config.json")["recipe"]))
        mine = asdict(job.recipe)
        for settings in (theirs, mine):  # the experiment's folder may have been moved
            settings["init"] = settings["init"] and Path(settings["init"]).name
        _refuse_another(mine, theirs, folder)
    if job.init is not None and (config := Path(job.init) / "config.json").is_file():
        pretrained = asdict(pretraining_from_json(read_json(config)["pretraining"]))
        _refuse_another(asdict(pretraining_of(job)), pretrained, config.parent)


def _refuse_another(mine: Mapping[str, Any], theirs: Mapping[str, Any], folder: Path) -> None:
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
        told = read_json(folder / DIVERGED)
        return Outcome(**base, diverged=True, seconds=told["seconds"])
    scores = read_json(folder / "metrics.json")
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Outcome.read(base, scores, rows, job.study.target)


def duration(seconds: float) -> str:
    """ "3 min" or "2.5 h", rounded up."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"
