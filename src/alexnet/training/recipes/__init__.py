"""The named recipes, and a run's recipe from a name, a settings file and single settings.

A recipe is a table of differences from the defaults in `alexnet.training.settings`; its function's docstring gives the
command, the time it takes and the score to expect.
"""

import dataclasses
from pathlib import Path
from typing import Any

from alexnet.errors import unknown_name
from alexnet.training.fields import checked
from alexnet.training.recipes.article import article
from alexnet.training.recipes.cifar import CIFAR
from alexnet.training.recipes.imagenet import bvlc, caffenet, krizhevsky2012, torchvision
from alexnet.training.recipes.modern import modern
from alexnet.training.settings import Recipe, read

__all__ = ["CIFAR", "RECIPES", "recipe"]

RECIPES = {
    "modern": modern,
    "article": article,
    "krizhevsky2012": krizhevsky2012,
    "bvlc": bvlc,
    "caffenet": caffenet,
    "torchvision": torchvision,
    **CIFAR,
}


def recipe(name: str = "modern", file: Path | None = None, **settings: Any) -> Recipe:
    """The named recipe, changed by the fields in a YAML or TOML file and then by `settings`.

    lr_drops and warmup_epochs are scaled with the run where `epochs` alone is changed. Settings that are None are left
    out. UsageError for a name that is not a field and for a value that the field does not take.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    base = Recipe(name=name, **RECIPES[name]())
    changes = read(file) if file else {}
    changes |= checked(Recipe, {key: value for key, value in settings.items() if value is not None})
    return dataclasses.replace(base, **{**_scaled(base, changes.get("epochs", base.epochs)), **changes})


def _scaled(base: Recipe, epochs: int) -> dict[str, Any]:
    """Drops and warm-up of the learning rate at the same share of a run of `epochs`."""
    longer = epochs / base.epochs
    return {
        "lr_drops": tuple(drop * longer for drop in base.lr_drops),
        "warmup_epochs": base.warmup_epochs * longer,
    }
