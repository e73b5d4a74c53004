"""The experiments by name.

`minutes` of an experiment are for one core of a server processor of 2022 or 2023: measured where docs/results.md has
the run, else estimated from the time of an epoch.
"""

from collections.abc import Callable
from typing import Any

from alexnet.errors import unknown_name
from alexnet.experiments.cifar import (
    cuda_convnet,
    lrn,
    lrn_kinds,
    overlapping_pool,
    relu_vs_tanh,
    views,
    weight_decay,
)
from alexnet.experiments.experiment import Experiment, runs_of
from alexnet.experiments.flowers import article, augmentation, dropout, pretraining, remedies

EXPERIMENTS: dict[str, Callable[[bool], Experiment]] = {
    build.__name__.replace("_", "-"): build
    for build in (
        relu_vs_tanh,
        remedies,
        pretraining,
        article,
        augmentation,
        lrn,
        lrn_kinds,
        overlapping_pool,
        dropout,
        weight_decay,
        views,
        cuda_convnet,
    )
}


def experiment(name: str, quick: bool = False) -> Experiment:
    """Build an experiment; UsageError for an unknown name."""
    if name not in EXPERIMENTS:
        raise unknown_name("experiment", name, [*EXPERIMENTS, "list"])
    return EXPERIMENTS[name](quick)


def listed() -> list[dict[str, Any]]:
    """Every experiment's name, question, published result, data, number of runs and minutes."""
    return [_listed(experiment(name), experiment(name, quick=True)) for name in EXPERIMENTS]


def _listed(whole: Experiment, quick: Experiment) -> dict[str, Any]:
    return {
        "name": whole.name,
        "question": whole.question,
        "published": whole.published,
        "data": sorted({study.data for study in whole.studies}),
        "runs": _runs(whole),
        "quick_runs": _runs(quick),
        "minutes": whole.minutes,
        "quick_minutes": quick.minutes,
    }


def _runs(experiment: Experiment) -> int:
    return sum(runs_of(study, arm, experiment.seeds) for study in experiment.studies for arm in study.trained())
