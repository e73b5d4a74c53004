"""From runs to figures: what each came to, means and spreads over seeds, and the sentence that they add up to.

Errors are shares, 0..1. A spread is the standard deviation over seeds (n - 1), None for a single one.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from scipy.stats import t as student

from alexnet.experiments.experiment import Arm, Study


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    study: str
    arm: str
    seed: int
    rate: float | None
    folder: str
    diverged: bool = False  # its loss was not finite; then there are no figures
    split: str = ""  # the part that the error was measured on
    views: int = 1  # of each image, over which its answer was averaged
    error: float | None = None
    train_error: float | None = None  # of its last epoch, while training
    epochs: int = 0  # trained
    epochs_to_target: float | None = None  # None: not reached
    seconds: float = 0.0
    curves: dict[str, list[float | None]] = field(default_factory=dict)  # "epoch", "train_error", "held_out_error"

    @classmethod
    def read(
        cls, base: Mapping[str, Any], scores: Mapping[str, Any], rows: Sequence[Mapping[str, str]], target: float | None
    ) -> Self:
        """From the run's metrics.json and the rows of its metrics.csv."""
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
        """The figure that its study compares; None where there is none."""
        return self.error if measure == "error" else self.epochs_to_target


def curves_of(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float | None]]:
    """Errors by epoch; None where an epoch was not evaluated."""
    watched = next((part for part in ("val", "test") if any(row.get(f"{part}_top1") for row in rows)), "test")
    told = [row.get(f"{watched}_top1") for row in rows]
    return {
        "epoch": [float(row["epoch"]) for row in rows],
        "train_error": [1 - float(row["train_top1"]) for row in rows],
        "held_out_error": [1 - float(top1) if top1 else None for top1 in told],
    }


def epochs_to(target: float, train_errors: Sequence[float | None]) -> float | None:
    """Epochs until the training error has fallen to `target`, by straight lines from epoch to epoch.

    The error of an epoch is a mean over it, and counts for its middle.
    """
    before = None
    for epoch, error in enumerate(train_errors, 1):
        if error is not None and error <= target:
            return epoch - 0.5 - (0.0 if before is None else (target - error) / (before - error))
        before = error
    return None


def best_rate(tried: Mapping[float, Outcome], measure: str) -> float:
    """The rate with the least of the measure or, where epochs never reached the target, that got nearest to it."""

    def order(rate: float) -> tuple[float, float]:
        outcome = tried[rate]
        measured, nearest = outcome.measured(measure), outcome.train_error
        return (math.inf if measured is None else measured, math.inf if nearest is None else nearest)

    return min(tried, key=order)


@dataclass(frozen=True)
class Summary:
    """An arm over its seeds."""

    name: str
    settings: dict[str, Any]
    published: str
    rate: float | None
    seeds: int
    values: list[float | None]  # the measure, a seed; None where the run diverged, or did not reach the target
    diverged: int  # runs whose loss was not finite
    mean: float | None  # of the measure, where every run has one
    spread: float | None
    train_error: float | None
    difference: float | None  # of the measure from the first arm's, seed by seed; for epochs the ratio to it
    difference_spread: float | None
    clear: bool  # whether the 95 % interval of the difference leaves out none
    seconds: float


def summarize(study: Study, outcomes: Mapping[tuple[str, str], Sequence[Outcome]]) -> list[Summary]:
    """The arms of a study, in their order."""
    first = [outcome.measured(study.measure) for outcome in outcomes[study.title, study.arms[0].name]]
    return [summary(study, arm, outcomes[study.title, arm.name], first) for arm in study.arms]


def summary(study: Study, arm: Arm, outcomes: Sequence[Outcome], first: Sequence[float | None]) -> Summary:
    """One arm beside the first one's figures, by seed."""
    values = [outcome.measured(study.measure) for outcome in outcomes]
    pairs = [(value, one) for value, one in zip(values, first, strict=True) if value is not None and one is not None]
    ratio = study.measure == "epochs"
    compared = [value / one if ratio else value - one for value, one in pairs]
    difference, spread = mean_and_spread(compared if len(compared) == len(values) else [])
    errors = [outcome.train_error for outcome in outcomes if outcome.train_error is not None]
    whole = [value for value in values if value is not None]
    mean, own_spread = mean_and_spread(whole if len(whole) == len(values) else [])
    return Summary(
        name=arm.name,
        settings={**arm.settings, **pretrained(arm), **({} if arm.views == 1 else {"views": arm.views})},
        published=arm.published,
        rate=outcomes[0].rate,
        seeds=len(outcomes),
        values=values,
        diverged=sum(outcome.diverged for outcome in outcomes),
        mean=mean,
        spread=own_spread,
        train_error=statistics.fmean(errors) if errors else None,
        difference=difference,
        difference_spread=spread,
        clear=is_clear(difference, spread, len(compared), 1.0 if ratio else 0.0),
        seconds=sum(outcome.seconds for outcome in outcomes),
    )


def pretrained(arm: Arm) -> dict[str, str]:
    """An arm's pre-training in words, as one more setting; {} for none."""
    if arm.pretrained is None:
        return {}
    told = (str(value) if name == "method" else f"{name} {value}" for name, value in arm.pretrained.items())
    return {"pretrained by": ", ".join(told)}


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None for what too few values do not have."""
    return (
        statistics.fmean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
    )


def is_clear(mean: float | None, spread: float | None, count: int, nothing: float) -> bool:
    """Whether the 95 % interval of a mean difference (Student's t) leaves out `nothing`; never without a spread.

    Seeds divide the same images anew, so that their differences are not independent and the interval is somewhat too
    narrow (Nadeau and Bengio 2003).
    """
    if mean is None or not spread:
        return False
    return abs(mean - nothing) > float(student.ppf(0.975, count - 1)) * spread / math.sqrt(count)


def sentence(study: Study, summaries: Sequence[Summary]) -> str:
    """What came out, in words and figures."""
    first, *others = summaries
    told = (_epochs if study.measure == "epochs" else _errors)(study, first, others)
    alone = first.seeds == 1 and any(arm.difference is not None for arm in others)
    return f"{told} One seed each: a difference may be chance." if alone else told


def _epochs(study: Study, first: Summary, others: Sequence[Summary]) -> str:
    target = f"{study.target:.0%} training error"
    if first.mean is None:
        told = [f"{target} within {study.base.epochs} epochs: {first.name}: {unmeasured(first)}"]
    else:
        told = [f"{first.name} reaches {target} after {plus_minus(first.mean, first.spread)} epochs"]
    for arm in others:
        if arm.mean is None:
            told.append(f"{arm.name}: {unmeasured(arm)}")
        elif arm.difference is None:
            told.append(f"{arm.name} after {plus_minus(arm.mean, arm.spread)}")
        else:
            times = plus_minus(arm.difference, arm.difference_spread)
            told.append(f"{arm.name} after {plus_minus(arm.mean, arm.spread)}, {times} times as many{_doubt(arm)}")
    return "; ".join(told) + "."


def _errors(study: Study, first: Summary, others: Sequence[Summary]) -> str:
    began = f"{first.name}{_alone(first)}" + (" test error" if first.mean is not None else "")
    told = [f"{study.title}: {began}"]
    for arm in others:
        if arm.mean is None or arm.difference is None:
            told.append(f"{arm.name}{_alone(arm)}")
            continue
        points = plus_minus(abs(100 * arm.difference), _times(arm.difference_spread, 100))
        word = "fewer" if arm.difference < 0 else "more"
        compared = f"{points} points {word}{_doubt(arm)}" if arm.difference else "no difference"
        told.append(f"{arm.name} {percent(arm.mean, arm.spread)} ({compared})")
    return "; ".join(told) + "."


def unmeasured(arm: Summary) -> str:
    """Why an arm has no mean: "diverged", "not reached", or in how many of its runs."""
    if arm.diverged:
        return "diverged" if arm.diverged == arm.seeds else f"diverged in {arm.diverged} of {arm.seeds} runs"
    reached = sum(value is not None for value in arm.values)
    return f"reached in {reached} of {arm.seeds} runs" if reached else "not reached"


def _alone(arm: Summary) -> str:
    """An arm's error, beside nothing."""
    return f": {unmeasured(arm)}" if arm.mean is None else f" {percent(arm.mean, arm.spread)}"


def _doubt(arm: Summary) -> str:
    return "" if arm.clear or arm.seeds == 1 else "; no clear difference"


def percent(mean: float | None, spread: float | None) -> str:
    """ "13.2 ± 0.4 %" of shares; "–" for None."""
    return "–" if mean is None else f"{plus_minus(100 * mean, _times(spread, 100))} %"


def plus_minus(mean: float, spread: float | None) -> str:
    """ "3.2 ± 0.4", or "3.2" where there is no spread."""
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def to_json(
    study: Study, summaries: Sequence[Summary], outcomes: Mapping[tuple[str, str], Sequence[Outcome]]
) -> dict[str, Any]:
    """A study's part of results.json."""
    return {
        "title": study.title,
        "data": study.data,
        "measure": study.measure,
        "target": study.target,
        "base": asdict(study.base),
        "sentence": sentence(study, summaries),
        "arms": [
            {**asdict(arm), "runs": [asdict(outcome) for outcome in outcomes[study.title, arm.name]]}
            for arm in summaries
        ],
    }
