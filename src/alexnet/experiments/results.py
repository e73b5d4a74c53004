"""From runs to results: the outcome of each run, statistics over seeds, and a sentence that states them.

Errors are fractions, 0..1. Standard deviations are over seeds (n - 1 in the denominator), None for a single seed.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from alexnet.experiments.experiment import Arm, Study


@dataclass(frozen=True)
class Outcome:
    """The results of one run."""

    study: str
    arm: str
    seed: int
    rate: float | None
    folder: str
    diverged: bool = False  # the loss was not finite; there are no results
    split: str = ""  # the part of the data that `error` was measured on
    views: int = 1  # of each image, whose predictions are averaged
    error: float | None = None
    train_error: float | None = None  # of the last epoch, measured while training
    epochs: int = 0
    epochs_to_target: float | None = None  # None: not reached
    seconds: float = 0.0
    curves: dict[str, list[float | None]] = field(default_factory=dict)  # "epoch", "train_error", "held_out_error"

    @classmethod
    def read(
        cls, base: Mapping[str, Any], scores: Mapping[str, Any], rows: Sequence[Mapping[str, str]], target: float | None
    ) -> Self:
        """From the contents of the run's metrics.json and metrics.csv."""
        curves = curves_of(rows)
        return cls(
            **base,
            split=scores["split"],
            error=1 - scores["top1"],
            train_error=curves["train_error"][-1],
            epochs=scores["epochs"],
            epochs_to_target=None if target is None else epochs_to(target, curves["train_error"]),
            seconds=scores["seconds"],
            curves=curves,
        )

    def measured(self, measure: str) -> float | None:
        """The value of the study's measure; None if there is none."""
        return self.error if measure == "error" else self.epochs_to_target


def curves_of(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float | None]]:
    """Errors by epoch from the rows of metrics.csv; None for an epoch without evaluation."""
    part = next((part for part in ("val", "test") if any(row.get(f"{part}_top1") for row in rows)), "test")
    held_out = [row.get(f"{part}_top1") for row in rows]
    return {
        "epoch": [float(row["epoch"]) for row in rows],
        "train_error": [1 - float(row["train_top1"]) for row in rows],
        "held_out_error": [1 - float(top1) if top1 else None for top1 in held_out],
    }


def epochs_to(target: float, train_errors: Sequence[float | None]) -> float | None:
    """Epochs until the training error falls to `target`, interpolated linearly; None if it never does.

    An epoch's error is a mean over the epoch and is placed at its middle.
    """
    before = None
    for epoch, error in enumerate(train_errors, 1):
        if error is not None and error <= target:
            return epoch - 0.5 - (0.0 if before is None else (target - error) / (before - error))
        before = error
    return None


def best_rate(tried: Mapping[float, Outcome], measure: str) -> float:
    """The rate with the lowest measure; ties, and runs that missed the target, by the lowest training error."""

    def order(rate: float) -> tuple[float, float]:
        outcome = tried[rate]
        measured, train_error = outcome.measured(measure), outcome.train_error
        return (math.inf if measured is None else measured, math.inf if train_error is None else train_error)

    return min(tried, key=order)


@dataclass(frozen=True)
class ArmStatistics:
    """An arm's results over its seeds."""

    name: str
    settings: dict[str, Any]
    published: str
    rate: float | None
    seeds: int
    values: list[float | None]  # the measure for each seed; None where the run diverged or missed the target
    diverged: int  # number of diverged runs
    mean: float | None  # of the measure; None unless every run has a value
    std: float | None
    train_error: float | None  # mean
    difference: float | None  # mean of measure - first arm's measure, or for epochs of their ratio, paired by seed
    difference_std: float | None
    significant: bool  # whether the 95 % interval of the difference excludes zero, or of the ratio one
    seconds: float


def study_statistics(study: Study, outcomes: Mapping[tuple[str, str], Sequence[Outcome]]) -> list[ArmStatistics]:
    """The statistics of every arm, in the study's order."""
    first = [outcome.measured(study.measure) for outcome in outcomes[study.title, study.arms[0].name]]
    return [arm_statistics(study, arm, outcomes[study.title, arm.name], first) for arm in study.arms]


def arm_statistics(study: Study, arm: Arm, outcomes: Sequence[Outcome], first: Sequence[float | None]) -> ArmStatistics:
    """One arm compared with `first`, the first arm's values in the order of seeds."""
    values = [outcome.measured(study.measure) for outcome in outcomes]
    ratio = study.measure == "epochs"
    pairs = [(value, one) for value, one in zip(values, first, strict=True) if value is not None and one is not None]
    compared = [value / one if ratio else value - one for value, one in pairs]
    mean, std = mean_and_std(values)
    difference, difference_std = mean_and_std(compared) if len(compared) == len(values) else (None, None)
    errors = [outcome.train_error for outcome in outcomes if outcome.train_error is not None]
    return ArmStatistics(
        name=arm.name,
        settings={**arm.settings, **pretrained_setting(arm), **({} if arm.views == 1 else {"views": arm.views})},
        published=arm.published,
        rate=outcomes[0].rate,
        seeds=len(outcomes),
        values=values,
        diverged=sum(outcome.diverged for outcome in outcomes),
        mean=mean,
        std=std,
        train_error=statistics.fmean(errors) if errors else None,
        difference=difference,
        difference_std=difference_std,
        significant=is_significant(difference, difference_std, len(compared), 1.0 if ratio else 0.0),
        seconds=sum(outcome.seconds for outcome in outcomes),
    )


def pretrained_setting(arm: Arm) -> dict[str, str]:
    """{"pretrained by": "autoencoder, layers 1"}; {} for an arm without pre-training."""
    if arm.pretrained is None:
        return {}
    words = (str(value) if name == "method" else f"{name} {value}" for name, value in arm.pretrained.items())
    return {"pretrained by": ", ".join(words)}


def mean_and_std(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None where a value is missing or there are too few."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def is_significant(mean: float | None, std: float | None, count: int, null: float) -> bool:
    """Whether the 95 % interval of a mean of paired differences (Student's t) excludes `null`; False without a std.

    Seeds resample the same images, so the differences are not independent and the interval is somewhat too narrow
    (Nadeau and Bengio 2003).
    """
    from scipy.stats import t as student  # slow to import

    if mean is None or not std:
        return False
    return abs(mean - null) > float(student.ppf(0.975, count - 1)) * std / math.sqrt(count)


def sentence(study: Study, arms: Sequence[ArmStatistics]) -> str:
    """The study's results in one sentence."""
    first, *others = arms
    text = (_epochs_sentence if study.measure == "epochs" else _errors_sentence)(study, first, others)
    compared_once = first.seeds == 1 and any(arm.difference is not None for arm in others)
    return f"{text} One seed each: a difference may be chance." if compared_once else text


def _epochs_sentence(study: Study, first: ArmStatistics, others: Sequence[ArmStatistics]) -> str:
    target = f"{study.target:.0%} training error"
    if first.mean is None:
        parts = [f"{target} within {study.base.epochs} epochs: {first.name}: {missing_reason(first)}"]
    else:
        parts = [f"{first.name} reaches {target} after {plus_minus(first.mean, first.std)} epochs"]
    for arm in others:
        if arm.mean is None:
            parts.append(f"{arm.name}: {missing_reason(arm)}")
        elif arm.difference is None:
            parts.append(f"{arm.name} after {plus_minus(arm.mean, arm.std)}")
        else:
            times = plus_minus(arm.difference, arm.difference_std)
            parts.append(f"{arm.name} after {plus_minus(arm.mean, arm.std)}, {times} times as many{_doubt(arm)}")
    return "; ".join(parts) + "."


def _errors_sentence(study: Study, first: ArmStatistics, others: Sequence[ArmStatistics]) -> str:
    unit = " test error" if first.mean is not None else ""
    parts = [f"{study.title}: {first.name}{_error(first)}{unit}"]
    for arm in others:
        if arm.mean is None or arm.difference is None:
            parts.append(f"{arm.name}{_error(arm)}")
            continue
        points = plus_minus(abs(100 * arm.difference), _times(arm.difference_std, 100))
        word = "fewer" if arm.difference < 0 else "more"
        compared = f"{points} points {word}{_doubt(arm)}" if arm.difference else "no difference"
        parts.append(f"{arm.name} {percent(arm.mean, arm.std)} ({compared})")
    return "; ".join(parts) + "."


def missing_reason(arm: ArmStatistics) -> str:
    """Why an arm has no mean: "diverged", "not reached", or the number of its runs."""
    if arm.diverged:
        return "diverged" if arm.diverged == arm.seeds else f"diverged in {arm.diverged} of {arm.seeds} runs"
    reached = sum(value is not None for value in arm.values)
    return f"reached in {reached} of {arm.seeds} runs" if reached else "not reached"


def _error(arm: ArmStatistics) -> str:
    """ " 13.2 ± 0.4 %" or ": diverged"."""
    return f": {missing_reason(arm)}" if arm.mean is None else f" {percent(arm.mean, arm.std)}"


def _doubt(arm: ArmStatistics) -> str:
    return "" if arm.significant or arm.seeds == 1 else "; not significant"


def percent(mean: float | None, std: float | None) -> str:
    """ "13.2 ± 0.4 %" for fractions; "–" for None."""
    return "–" if mean is None else f"{plus_minus(100 * mean, _times(std, 100))} %"


def plus_minus(mean: float, std: float | None) -> str:
    """ "3.2 ± 0.4", or "3.2" without a standard deviation."""
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def to_json(
    study: Study, arms: Sequence[ArmStatistics], outcomes: Mapping[tuple[str, str], Sequence[Outcome]]
) -> dict[str, Any]:
    """A study's entry in results.json."""
    return {
        "title": study.title,
        "data": study.data,
        "measure": study.measure,
        "target": study.target,
        "base": asdict(study.base),
        "sentence": sentence(study, arms),
        "arms": [
            {**asdict(arm), "runs": [asdict(outcome) for outcome in outcomes[study.title, arm.name]]} for arm in arms
        ],
    }
