"""The named recipes: name -> function that builds the record.

A recipe is the difference from the defaults, with a docstring that gives its command, the time it takes and the score
to expect.
"""

import dataclasses
from pathlib import Path
from typing import Any

from alexnet.errors import unknown_name
from alexnet.training.recipes.article import article
from alexnet.training.recipes.cifar import CIFAR
from alexnet.training.recipes.imagenet import bvlc, krizhevsky2012, torchvision
from alexnet.training.recipes.modern import modern
from alexnet.training.settings import Recipe, convert, read

__all__ = ["CIFAR", "RECIPES", "recipe"]

RECIPES = {build().name: build for build in (modern, article, krizhevsky2012, bvlc, torchvision, *CIFAR)}


def recipe(name: str = "modern", file: Path | None = None, **settings: Any) -> Recipe:
    """The named recipe, changed by the fields in a YAML or TOML file and then by `settings`.

    Drops and warm-up keep their place in the run when `epochs` alone is changed. Settings that are None are left as the
    recipe has them. A name that is not a field, or a value of the wrong type, is a UsageError.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    base = RECIPES[name]()
    changes = {**(read(file) if file else {}), **{key: value for key, value in settings.items() if value is not None}}
    checked = {key: convert(key, value) for key, value in changes.items()}
    longer = checked.get("epochs", base.epochs) / base.epochs
    checked.setdefault("lr_drops", tuple(drop * longer for drop in base.lr_drops))
    checked.setdefault("warmup_epochs", base.warmup_epochs * longer)
    return dataclasses.replace(base, **checked)
