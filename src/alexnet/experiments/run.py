"""Run an experiment from its first run to its report; an interrupted one is resumed by the same command.

Every run is an ordinary one (`alexnet.training.run`) in OUT/runs/. Finished runs are read, interrupted ones resumed.
No other state is kept: decisions, such as the best rate, are derived again from the runs.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from alexnet.errors import DataError, Diverged, Interrupted, UsageError
from alexnet.experiments import report
from alexnet.experiments.experiment import Arm, Experiment, Job, Study, duration, runs_of, slug
from alexnet.experiments.folders import (
    has_begun,
    is_finished,
    read_config,
    read_metrics,
    read_outcome,
    view_error,
    write_diverged,
    write_top1,
)
from alexnet.experiments.results import Outcome, best_rate
from alexnet.files import cannot_write, held, read_json, write_json
from alexnet.inference.evaluate import evaluate
from alexnet.pretraining.run import pretrain
from alexnet.pretraining.run import resume as resume_pretraining
from alexnet.pretraining.settings import Settings
from alexnet.pretraining.settings import from_json as pretraining_from_json
from alexnet.training.run import resume, train
from alexnet.training.settings import from_json

log = logging.getLogger(__name__)

MARK = "experiment.json"
# Settings of a pre-training run that equal those of the runs it initialises.
SHARED = ("network", "input_size", "resize", "store_size", "validation", "test", "given_splits", "seed", "split_seed")


@dataclass
class Runs:
    """The outcomes so far, by titles of study and arm; for an arm with several rates those at the best."""

    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    tried: dict[tuple[str, str], dict[float, Outcome]] = field(default_factory=dict)  # by rate

    def of(self, study: Study, arm: Arm) -> list[Outcome]:
        """An arm's outcomes in the order of seeds."""
        return self.outcomes.setdefault((study.title, arm.name), [])

    def seconds_per_epoch(self, study: str, arm: str, sizes: Mapping[str, int]) -> float | None:
        """The mean of this arm's runs, or else of its study's, or of all; None before the first run.

        sizes: images per epoch by study, in any unit.
        """
        ran = [outcome for outcome in self.everything() if outcome.epochs]
        in_study = [outcome for outcome in ran if outcome.study == study]
        own = [outcome for outcome in in_study if outcome.arm == arm] or in_study or ran
        images = sum(outcome.epochs * sizes[outcome.study] for outcome in own)
        return sizes[study] * sum(outcome.seconds for outcome in own) / images if own else None

    def everything(self) -> Iterator[Outcome]:
        """Every run; one that selected a rate and is also reported comes twice."""
        for outcomes in self.outcomes.values():
            yield from outcomes
        for rates in self.tried.values():
            yield from rates.values()


def run(experiment: Experiment, out: Path, seeds: int, command: str, quick: bool) -> dict[str, Any]:
    """Execute the missing runs of `experiment` in the folder `out`, write its report, return results.json's contents.

    command: how to resume, for messages. UsageError where `out` holds something else or another process uses it;
    DataError where the data has changed since the first run; Interrupted after Ctrl-C, with all progress saved.
    """
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}; it takes 1 or more")
    claim(experiment, out, quick)
    runs, jobs = Runs(), Jobs(experiment, out, seeds)
    with held(out):
        if not (out / "runs").exists():
            jobs.log_plan()
        try:
            for study in experiment.studies:
                jobs.run_study(study, runs)
        except (Interrupted, KeyboardInterrupt) as stop:
            finished = f"{jobs.finished} of {jobs.total} runs are finished"
            raise Interrupted(f"interrupted and saved; {finished}; resume with: {command}") from stop
        return report.write(experiment, runs.outcomes, runs.tried, out, command, quick)


def claim(experiment: Experiment, out: Path, quick: bool) -> None:
    """Mark `out` as this experiment's folder; UsageError where it holds something else."""
    path = out / MARK
    try:
        if path.is_file():
            _check_mark(experiment, quick, path)
            return
        occupied = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise cannot_write(out, error) from error
    if occupied:
        raise UsageError(f"{out} holds something other than an experiment; give --out a new or empty folder")
    write_json(path, {"experiment": experiment.name, "quick": quick})


def _check_mark(experiment: Experiment, quick: bool, path: Path) -> None:
    """UsageError where the folder's mark is another experiment's, or damaged."""
    try:
        mark = read_json(path)
        name, marked_quick = mark["experiment"], mark["quick"]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged ({error}); give another --out") from error
    if (name, marked_quick) != (experiment.name, quick):
        other = f"{name}{' --quick' if marked_quick else ''}"
        same = "leave out --quick" if quick else "add --quick"
        instead = same if name == experiment.name else "that experiment's name"
        raise UsageError(f"{path.parent} holds the experiment {other}; give another --out, or {instead}")


class Jobs:
    """Executes the jobs of an experiment one after the other and logs progress and remaining time."""

    def __init__(self, experiment: Experiment, out: Path, seeds: int) -> None:
        self.experiment, self.out, self.seeds = experiment, out, seeds
        self.left = {
            (study.title, arm.name): runs_of(study, arm, seeds)
            for study in experiment.studies
            for arm in study.trained()
        }
        self.total = sum(self.left.values())
        self.seen: dict[tuple[str, int], dict[str, Path]] = {}  # (data, split seed) -> fingerprint -> first run

    @property
    def finished(self) -> int:
        """The number of finished runs."""
        return self.total - sum(self.left.values())

    def run_study(self, study: Study, runs: Runs) -> None:
        """First the rates of every arm that has several; then, seed by seed, every arm at its best rate."""
        for arm in study.trained():
            if arm.rates:
                self.tune(study, arm, runs)
        for seed in range(self.seeds):
            for arm in study.trained():
                runs.of(study, arm).append(self.run_at_best_rate(study, arm, seed, runs))
        for arm in study.arms:
            if arm.trained_as is not None:
                trained = runs.outcomes[study.title, arm.trained_as]
                again = [self.evaluate_views(study, arm, outcome) for outcome in trained]
                # The curves belong to the arm that was trained; a second copy would hide the first in the plot.
                runs.outcomes[study.title, arm.name] = [replace(outcome, curves={}) for outcome in again]
            elif arm.views != 1:
                again = [self.evaluate_views(study, arm, outcome) for outcome in runs.of(study, arm)]
                runs.outcomes[study.title, arm.name] = again

    def tune(self, study: Study, arm: Arm, runs: Runs) -> None:
        """Try every rate with the tuning seed; a run that needs more epochs than the best so far is stopped there."""
        tried = runs.tried.setdefault((study.title, arm.name), {})
        for rate in arm.rates:
            reached = [outcome.epochs for outcome in tried.values() if outcome.epochs_to_target is not None]
            job = self.job(study, arm, study.tuning_seed, rate)
            tried[rate] = self.run_job(replace(job, max_epochs=min(reached, default=None)), runs)

    def run_at_best_rate(self, study: Study, arm: Arm, seed: int, runs: Runs) -> Outcome:
        """A seed's run at the best rate, which may be one of those that selected it."""
        if not arm.rates:
            return self.run_job(self.job(study, arm, seed), runs)
        tried = runs.tried[study.title, arm.name]
        rate = best_rate(tried, study.measure)
        return tried[rate] if seed == study.tuning_seed else self.run_job(self.job(study, arm, seed, rate), runs)

    def job(self, study: Study, arm: Arm, seed: int, rate: float | None = None) -> Job:
        """A run of an arm; its pre-training, if any, is in `pretraining_folder`."""
        init = None if arm.pretrained is None else str(pretraining_folder(self.out, study, arm.pretrained, seed))
        return Job(study, arm, seed, rate, init)

    def run_job(self, job: Job, runs: Runs) -> Outcome:
        """The job's outcome: read if finished, else begun or resumed."""
        prefix = f"{slug(job.study.title)}-" if len(self.experiment.studies) > 1 else ""
        folder = self.out / "runs" / f"{prefix}{job.name}"
        check_settings(job, folder)
        if not is_finished(folder):
            self.log_job(job, runs)
            train_job(job, folder)
        self.check_data(job, folder)
        self.left[job.study.title, job.arm.name] -= 1
        return read_outcome(job, folder)

    def check_data(self, job: Job, folder: Path) -> None:
        """DataError where this run used other images than an earlier one with the same data and split."""
        if not has_begun(folder):  # its pre-training diverged
            return
        seen = self.seen.setdefault((job.study.data, job.recipe.split_seed), {})
        seen.setdefault(read_config(folder).fingerprint, folder)
        if len(seen) > 1:
            runs = " and ".join(map(str, seen.values()))
            raise DataError(
                f"the data {job.study.data} has changed between {runs}; restore it and remove the later run, or give "
                "another --out"
            )

    def log_plan(self) -> None:
        """Log the number of runs, the folder and the approximate time."""
        minutes = self.experiment.minutes
        time_needed = "" if minutes is None else f", about {duration(60 * minutes)} on one core and less on more"
        seeds = "" if self.seeds == self.experiment.seeds else f" with {self.experiment.seeds} seeds"
        log.info("%s: %d runs in %s%s%s", self.experiment.name, self.total, self.out, time_needed, seeds)

    def log_job(self, job: Job, runs: Runs) -> None:
        """Log the run that begins and an upper bound of the remaining time."""
        rate = "" if job.rate is None else f", rate {job.rate:g}"
        seconds = self.seconds_left(runs)
        time_left = "" if seconds is None else f"; at most {duration(seconds)} left"
        what = f"{job.study.title}, {job.arm.name}{rate}, seed {job.seed}{time_left}"
        log.info("run %d of %d: %s", self.finished + 1, self.total, what)

    def seconds_left(self, runs: Runs) -> float | None:
        """For the missing runs, each to its last epoch, at the speed of those finished; None before the first."""
        missing, each = self.pretraining_left()
        if not any(runs.everything()) or (missing and each is None):
            return None
        sizes = {study.title: study.base.train_images or 1 for study in self.experiment.studies}
        return missing * (each or 0.0) + sum(
            self.left[study.title, arm.name]
            * Job(study, arm, 0).recipe.epochs
            * (runs.seconds_per_epoch(study.title, arm.name, sizes) or 0.0)
            for study in self.experiment.studies
            for arm in study.trained()
        )

    def pretraining_left(self) -> tuple[int, float | None]:
        """The number of missing pre-training runs, and the mean seconds of the finished ones; None without any."""
        folders = {
            pretraining_folder(self.out, study, arm.pretrained, seed)
            for study in self.experiment.studies
            for arm in study.trained()
            if arm.pretrained is not None
            for seed in {*range(self.seeds), *([study.tuning_seed] if arm.rates else [])}
        }
        seconds = [read_metrics(folder)["seconds"] for folder in folders if is_finished(folder)]
        return len(folders) - len(seconds), sum(seconds) / len(seconds) if seconds else None

    def evaluate_views(self, study: Study, arm: Arm, outcome: Outcome) -> Outcome:
        """The outcome of the same weights with predictions averaged over the arm's views."""
        if outcome.diverged or arm.views == 1:
            return replace(outcome, arm=arm.name)
        folder = Path(outcome.folder)
        if (error := view_error(folder, arm.views)) is None:
            # The precision of the run's own evaluation, whose error this one is compared with.
            found = evaluate(folder, study.data, arm.views, read_metrics(folder)["split"], precision="auto")
            write_top1(folder, arm.views, found.top1)
            error = 1 - found.top1
        return replace(outcome, arm=arm.name, views=arm.views, error=error)


def train_job(job: Job, folder: Path) -> None:
    """Begin or resume the job's run, after its pre-training if it has one; a diverged run is marked, not raised."""
    start, data = time.monotonic(), job.study.data
    try:
        if job.init is not None:
            begin_or_resume(Path(job.init), partial(pretrain, data, pretraining_settings(job)), resume_pretraining)
        begin_or_resume(folder, partial(train, data, job.recipe), resume)
    except Diverged as error:
        write_diverged(folder, error, time.monotonic() - start)


def begin_or_resume(folder: Path, begin: Callable[[Path], Path], resume: Callable[[Path], Path]) -> None:
    """Bring the run in `folder` to its end, unless it is finished."""
    if is_finished(folder):
        return
    if has_begun(folder):
        resume(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)  # killed before it had begun
        begin(folder)


def pretraining_folder(out: Path, study: Study, settings: Mapping[str, Any], seed: int) -> Path:
    """The folder of a pre-training run; all runs of that seed on that data share it."""
    words = [study.data, *(f"{name}-{value}" if name != "method" else str(value) for name, value in settings.items())]
    return (out / "pretrained" / f"{slug('-'.join(words))}-seed{seed}").absolute()


def pretraining_settings(job: Job) -> Settings:
    """The arm's pre-training settings, with network, image sizes, seed and data split of the job's recipe."""
    return Settings(**{**{name: getattr(job.recipe, name) for name in SHARED}, **(job.arm.pretrained or {})})


def check_settings(job: Job, folder: Path) -> None:
    """UsageError where the run in `folder`, or its pre-training, was made with other settings than this job's."""
    if has_begun(folder):
        theirs, mine = asdict(from_json(read_config(folder).recipe)), asdict(job.recipe)
        for settings in (theirs, mine):  # the experiment's folder may have been moved
            settings["init"] = settings["init"] and Path(settings["init"]).name
        _refuse_differences(mine, theirs, folder)
    if job.init is not None and has_begun(Path(job.init)):
        pretrained = asdict(pretraining_from_json(read_config(Path(job.init)).pretraining))
        _refuse_differences(asdict(pretraining_settings(job)), pretrained, Path(job.init))


def _refuse_differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], folder: Path) -> None:
    if changed := [name for name in mine if mine[name] != theirs[name]]:
        name = changed[0]
        raise UsageError(
            f"{folder} was run with another {name} ({theirs[name]}, now {mine[name]}); give another --out, or remove "
            "that run"
        )
