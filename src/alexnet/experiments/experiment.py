"""What an experiment is: studies, each a base recipe and arms that differ from it by named settings.

An arm is trained once a seed, as an ordinary run. Seeds give every arm of a study the same weights to begin with where
the networks allow it, the same order of images and the same division of the data, so that arms are compared in pairs.
"""

import dataclasses
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
    """One way to train; what the base recipe says holds but for `settings`."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # fields of a recipe
    rates: tuple[float, ...] = ()  # learning rates of which the best is taken (see `Study`); none: the base's
    views: int = 1  # of each test image: 1, 9 or 10
    pretrained: Mapping[str, Any] | None = None  # settings of a pre-training that its runs begin from
    trained_as: str | None = None  # the arm whose runs these are; only the evaluation differs
    published: str = ""  # the figure that this one stands beside


@dataclass(frozen=True)
class Study:
    """Arms on one set of data; the first is what the others are compared with.

    measure: "error", the test error of the run's weights, or "epochs", those until its training error is `target`.
    Where an arm has several rates, epochs choose by the first seed's; errors by those on a division of the data that is
    for nothing else, TUNING_SEED's, since the least of several errors is too good to be reported.
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
        """The training error, a share, that ends a run."""
        return self.base.stop_train_error

    @property
    def tuning_seed(self) -> int:
        """The seed by which rates are chosen."""
        return TUNING_SEED if self.measure == "error" else 0

    def trained(self) -> list[Arm]:
        """The arms that have runs of their own."""
        return [arm for arm in self.arms if arm.trained_as is None]


@dataclass(frozen=True)
class Experiment:
    """A claim, and the studies that show what comes out of it here."""

    name: str
    question: str
    published: str  # a sentence with its source
    studies: tuple[Study, ...]
    seeds: int = 3
    minutes: int | None = None  # that it takes on one core with so many seeds, about; None: not known
    across: tuple[str, tuple[float, ...]] | None = None  # what changes from study to study, and its value in each


def runs_of(study: Study, arm: Arm, seeds: int) -> int:
    """Trainings that an arm takes."""
    shared = study.tuning_seed < seeds  # a run that chose the rate is one of those reported
    return seeds + max(0, len(arm.rates) - shared) if arm.rates else seeds


@dataclass(frozen=True)
class Job:
    """One run: an arm with a seed, at one rate where rates are tried."""

    study: Study
    arm: Arm
    seed: int
    rate: float | None = None
    init: str | None = None  # the pre-training run that it begins from
    most_epochs: int | None = None  # fewer than the recipe's where another rate did it in that many

    @property
    def recipe(self) -> Recipe:
        """The base, the arm's differences, the seed (of the data's division, too) and the rate."""
        settings = {**self.arm.settings, "seed": self.seed, "split_seed": self.seed, "init": self.init}
        if self.rate is not None:
            settings["lr"] = self.rate
        made = dataclasses.replace(self.study.base, **settings)
        return made if self.most_epochs is None else dataclasses.replace(made, epochs=self.most_epochs)

    @property
    def name(self) -> str:
        """Of the run's folder; the study's title is put before it where an experiment has several."""
        rate = "" if self.rate is None else f"-lr{self.rate:g}"
        return f"{slug(self.arm.name)}{rate}-seed{self.seed}"


def slug(text: str) -> str:
    """A name for a file: small letters, digits and dots, joined by '-'."""
    return "-".join(re.findall(r"[a-z0-9.]+", text.lower()))
