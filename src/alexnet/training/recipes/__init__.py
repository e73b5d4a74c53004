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
from alexnet.training.recipes.imagenet import bvlc, caffenet, imagenet_fast, krizhevsky2012, torchvision
from alexnet.training.recipes.modern import modern
from alexnet.training.settings import AUTOMATIC, Recipe, names_in, read

__all__ = ["CIFAR", "RECIPES", "recipe", "scaled"]

RECIPES = {
    "modern": modern,
    "article": article,
    "krizhevsky2012": krizhevsky2012,
    "bvlc": bvlc,
    "caffenet": caffenet,
    "torchvision": torchvision,
    "imagenet-fast": imagenet_fast,
    **CIFAR,
}


def recipe(name: str = "modern", file: Path | None = None, **settings: Any) -> Recipe:
    """The named recipe, changed by the fields in a YAML or TOML file and then by `settings`.

    lr_drops and warmup_epochs are scaled with the run where `epochs` alone is changed. Settings that are None are left
    out. `automatic` names those that follow the training images: of modern all that are not changed here, of others the
    batch size, which is then reduced to their number where it is larger.

    UsageError for a name that is not a field and for a value that the field does not take.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    base = Recipe(name=name, **RECIPES[name]())
    changes = read(file) if file else {}
    changes |= checked(Recipe, {key: value for key, value in settings.items() if value is not None})
    changes = {**scaled(base, changes.get("epochs", base.epochs)), **changes, "automatic": _automatic(name, changes)}
    return dataclasses.replace(base, **changes)


def _automatic(name: str, changes: dict[str, Any]) -> str:
    """The settings that follow the number of training images, which those that are given never do."""
    follow = AUTOMATIC if name == "modern" else ("batch_size",)
    given = {*changes, *(["warmup_epochs"] if "epochs" in changes else [])}
    return ",".join(each for each in names_in(changes.get("automatic", ",".join(follow))) if each not in given)


def scaled(base: Recipe, epochs: int) -> dict[str, Any]:
    """Drops and warm-up of the learning rate at the same share of a run of `epochs`."""
    longer = epochs / base.epochs
    return {
        "lr_drops": tuple(drop * longer for drop in base.lr_drops),
        "warmup_epochs": base.warmup_epochs * longer,
    }
