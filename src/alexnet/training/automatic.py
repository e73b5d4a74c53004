"""Settings that follow the training images: batch size, epochs, evaluation interval, warm-up, the input's side, and
whether the run begins from the package's own weights.

The numbers of the recipe modern are those for a thousand photos and random weights. With fewer photos, its batches
would make an epoch of one step or none, and as many epochs too few steps; with fifty thousand as many epochs would take
hours. From trained weights a shorter run with smaller steps does better (docs/results.md, Small sets).
"""

import dataclasses
import logging
import math
from typing import Any

from alexnet.networks.modern import Modern
from alexnet.training.settings import Recipe, names_in
from alexnet.weights.pretrained import OWN, PUBLISHED

MANY = 1020
"""Training images with which the recipe's own numbers stand: flowers17 with 60 photos a class."""
EPOCH_STEPS = 15
"""Steps an epoch for which batches become smaller."""
LEAST_BATCH = 16
"""Images a batch where there are as many: BatchNorm's statistics suffer below."""
LARGE_BATCH = 256
"""Images a batch at most; it becomes larger where an epoch still has LARGE_STEPS."""
LARGE_STEPS = 150
LEAST_STEPS = 700
"""Steps of a run, however few its images are."""
MORE_EPOCHS = 1 / 4
"""Power by which epochs grow as images get fewer: 186 epochs of 85 photos take less than two minutes on two cores."""
ENLARGED = 2
"""Times the stored side that the input of small images has: beyond it pixels are added, but no detail."""
EVALUATIONS = 10
"""Evaluations in a run, evenly spaced."""
EVALUATED_SHARE = 0.5
"""Images evaluated in a run for each that it trains on, at most; one costs a third of the other."""
FEW = 20_000
"""Training images up to which a run begins from the package's own weights; more teach as much themselves."""
FINE_SHARE = 0.4
"""Of the epochs from random weights, those from trained ones."""
FINE_RATE = 0.5
"""Factor on the learning rate of the layers taken."""
FINE_MIXING = 0.3
"""Share of the images that are mixed: in a short run more of it costs more than it protects."""
LARGE_MIXING, LARGE_DROPOUT = 0.5, 0.2
"""With more than FEW images, each of which is seen less often: half of Tiny ImageNet reaches 41.2 % so in 30 epochs,
and 34.4 % in 38 with what protects small sets (docs/log.md; docs/results.md, Small sets)."""

logger = logging.getLogger(__name__)


def resolve(recipe: Recipe, images: int, side: int | None = None, judged: int = 0) -> Recipe:
    """The recipe with its `automatic` settings as numbers for `images` training images, 2 or more.

    judged: images that an evaluation during training reads: those of validation, or of test where there are none.

    Of the recipe modern, with n images and its own batch b, epochs e and warm-up w:

        batch_size      the largest of b, b/2, b/4 ... not above n / EPOCH_STEPS, but at least LEAST_BATCH, at most n;
                        2b, 4b where an epoch then has LARGE_STEPS, at most LARGE_BATCH
        epochs          e (MANY / n) ^ MORE_EPOCHS, but at least LEAST_STEPS steps
        evaluate_every  epochs / EVALUATIONS; more where evaluations would read above EVALUATED_SHARE epochs n images
        warmup_epochs   w epochs / e
        init            the package's own weights for its network and at most FEW images; then FINE_SHARE of the epochs,
                        init_lr_factor FINE_RATE, mix_probability FINE_MIXING
        mix_probability, dropout: LARGE_MIXING and LARGE_DROPOUT for that network and more than FEW images
        input_size      ENLARGED * side where that is less than the network's own; side: of the stored images in pixels

    Settings that `automatic` does not name stay. Other recipes are published ones: of them only a batch above n
    becomes n.
    """
    found = _modern(recipe, images, side, judged) if recipe.name == "modern" else _published(recipe, images)
    return dataclasses.replace(recipe, **{name: found[name] for name in names_in(recipe.automatic) if name in found})


def _modern(recipe: Recipe, images: int, side: int | None, judged: int) -> dict[str, Any]:
    """The settings of the recipe modern; those that are given are taken as they are."""
    follow = names_in(recipe.automatic)
    begins = "init" in follow and images <= FEW and _is_own(recipe)
    batch = _batch(recipe.batch_size, images) if "batch_size" in follow else recipe.batch_size
    share = FINE_SHARE if begins else 1.0
    epochs = _epochs(recipe, images, batch, share) if "epochs" in follow else recipe.epochs
    chosen: dict[str, Any] = {}
    if begins:
        chosen = {"init": OWN, "init_lr_factor": FINE_RATE, "mix_probability": FINE_MIXING}
    elif images > FEW and _is_own(recipe):
        chosen = {"mix_probability": LARGE_MIXING, "dropout": LARGE_DROPOUT}
    return {
        **chosen,
        "batch_size": batch,
        "epochs": epochs,
        "evaluate_every": max(1, epochs // _evaluations(epochs * images, judged)),
        "warmup_epochs": recipe.warmup_epochs * epochs / recipe.epochs,
        "input_size": _input_size(recipe, side),
    }


def _batch(usual: int, images: int) -> int:
    """The images of a step: `usual`, halved or doubled, within the limits of `resolve`."""
    batch = usual
    while batch >= 2 * LEAST_BATCH and batch * EPOCH_STEPS > images:
        batch //= 2
    while 2 * batch <= LARGE_BATCH and 2 * batch * LARGE_STEPS <= images:
        batch *= 2
    return max(2, min(batch, images))  # one image has no variance to normalise by, and is refused later


def _is_own(recipe: Recipe) -> bool:
    """Whether the recipe trains the very network of the package's own weights, by steps."""
    return recipe.network == PUBLISHED[OWN].network and not recipe.differences


def _epochs(recipe: Recipe, images: int, batch: int, share: float) -> int:
    """Passes over the images: more of them for fewer images; `share` of those from random weights."""
    longer: float = (MANY / images) ** MORE_EPOCHS
    return max(round(share * recipe.epochs * longer), math.ceil(share * LEAST_STEPS / max(1, images // batch)))


def _evaluations(trained: int, judged: int) -> int:
    """Evaluations of `judged` images in a run that trains on `trained` images, repeated ones counted."""
    return max(1, min(EVALUATIONS, int(EVALUATED_SHARE * trained / max(1, judged))))


def _input_size(recipe: Recipe, side: int | None) -> int | None:
    """Pixels a side, None for the network's own."""
    if side is None or recipe.network != Modern.name or ENLARGED * side >= Modern.input_size:
        return recipe.input_size
    return max(ENLARGED * side, Modern.least_input)


def _published(recipe: Recipe, images: int) -> dict[str, Any]:
    """The batch size of a published recipe."""
    return {"batch_size": max(2, min(recipe.batch_size, images))}


def tell(recipe: Recipe, chosen: Recipe, images: int, classes: int) -> None:
    """Log what `resolve` chose for the recipe: one line, or none where nothing follows the number of images."""
    if not recipe.automatic:
        return
    if recipe.name == "modern":
        steps = chosen.epochs * (images // chosen.batch_size)
        follow = [name for name in names_in(recipe.automatic) if getattr(chosen, name) != getattr(recipe, name)]
        logger.info(
            "for %s training images of %d classes: %sbatch size %d, %d epochs (%s steps), evaluated every %d%s; "
            "chosen: %s",
            *(f"{images:,}", classes, "" if chosen.init == recipe.init else _beginning(chosen)),
            *(chosen.batch_size, chosen.epochs, f"{steps:,}", chosen.evaluate_every),
            "" if chosen.input_size is None else f", input of {chosen.input_size} px",
            ", ".join(follow) or "nothing else than the recipe has",
        )
    elif chosen.batch_size != recipe.batch_size:
        logger.warning(
            "batch size %d instead of %s's %d, for there are %d training images; --batch-size sets another",
            *(chosen.batch_size, recipe.name, recipe.batch_size, images),
        )


def _beginning(chosen: Recipe) -> str:
    """What the run begins from, in words."""
    return f"begins from {chosen.init} (--init none: random weights) at {chosen.init_lr_factor:g} of the rate, "
