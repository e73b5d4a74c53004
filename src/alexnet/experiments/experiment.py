"""The records of an experiment: studies, each a base recipe and arms that differ from it by named settings.

An arm is trained once for each seed, as an ordinary run. A seed gives every arm of a study the same data split, the
same order of images and, where the networks allow it, the same initial weights, so that arms are compared in pairs.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alexnet.errors import UsageError
from alexnet.training.settings import Recipe

MEASURES = ("error", "epochs")
TUNING_SEED = 1000


@dataclass(frozen=True)
class Arm:
    """One variant of training: the base recipe with `settings` changed."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # fields of a recipe
    rates: tuple[float, ...] = ()  # learning rates to try (see `Study`); empty: the base recipe's
    views: int = 1  # of each test image: 1, 9 or 10
    pretrained: Mapping[str, Any] | None = None  # settings of the pre-training that initialises its runs
    trained_as: str | None = None  # the arm whose runs it reuses; only the evaluation differs
    published: str = ""  # published figure for comparison


@dataclass(frozen=True)
class Study:
    """Arms trained on one data set; the others are compared with the first.

    measure: "error", the test error, or "epochs", the number until the training error is `target`.
    Where an arm has several rates, "epochs" selects one by the first seed's runs, "error" by runs on a separate data
    split, TUNING_SEED's: the minimum of several test errors is biased downwards and must not be reported.
    """

    title: str
    data: str
    base: Recipe
    arms: tuple[Arm, ...]
    measure: str = "error"

    def __post_init__(self) -> None:
        names = [slug(arm.name) for arm in self.arms]
        if len(set(names)) < len(names):
            raise UsageError(f"the study {self.title} has two arms of one name: {', '.join(names)}")
        if self.measure not in MEASURES or (self.measure == "epochs" and self.base.stop_train_error is None):
            raise UsageError(f"the study {self.title} measures {self.measure}; epochs need a stop_train_error")

    @property
    def target(self) -> float | None:
        """The training error, 0..1, at which a run stops."""
        return self.base.stop_train_error

    @property
    def tuning_seed(self) -> int:
        """The seed of the runs that select a rate."""
        return TUNING_SEED if self.measure == "error" else 0

    def trained(self) -> list[Arm]:
        """The arms with runs of their own."""
        return [arm for arm in self.arms if arm.trained_as is None]


@dataclass(frozen=True)
class Experiment:
    """A question about a published claim, and the studies that answer it."""

    name: str
    question: str
    published: str  # a sentence with its source
    studies: tuple[Study, ...]
    seeds: int = 3
    minutes: int | None = None  # approximate run time on one core with `seeds` seeds; None: unknown
    across: tuple[str, tuple[float, ...]] | None = None  # the quantity that differs between studies, and its values


def runs_of(study: Study, arm: Arm, seeds: int) -> int:
    """The number of training runs of an arm."""
    shared = study.tuning_seed < seeds  # the run that selected the rate is also reported
    return seeds + max(0, len(arm.rates) - shared) if arm.rates else seeds


@dataclass(frozen=True)
class Job:
    """One run: an arm with a seed and, where several are tried, a rate."""

    study: Study
    arm: Arm
    seed: int
    rate: float | None = None
    init: str | None = None  # folder of the pre-training run
    max_epochs: int | None = None  # below the recipe's, where another rate has reached the target in as many

    @property
    def recipe(self) -> Recipe:
        """The base recipe with the arm's settings, the seed of training and data split, and the rate."""
        settings = {**self.arm.settings, "seed": self.seed, "split_seed": self.seed, "init": self.init, "automatic": ""}
        if self.rate is not None:
            settings["lr"] = self.rate
        recipe = dataclasses.replace(self.study.base, **settings)
        return recipe if self.max_epochs is None else dataclasses.replace(recipe, epochs=self.max_epochs)

    @property
    def name(self) -> str:
        """Name of the run's folder; experiments with several studies prepend the study's title."""
        rate = "" if self.rate is None else f"-lr{self.rate:g}"
        return f"{slug(self.arm.name)}{rate}-seed{self.seed}"


def slug(text: str) -> str:
    """A file name: lower-case letters, digits and dots, joined by '-'."""
    return "-".join(re.findall(r"[a-z0-9.]+", text.lower()))


def duration(seconds: float) -> str:
    """ "3 min" or "2.5 h", rounded up."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"
