"""Every setting of a pre-training run, and the recipe that its shared parts work by."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from alexnet.errors import UsageError, unknown_name
from alexnet.training.settings import Recipe, setting

METHODS = ("autoencoder", "crbm")
# What the methods take where a setting is left open. The machine's weight decay and momentum are those of Lee et al.'s
# published program; its rate and sparsity are higher (docs/log.md, 2026-11-25).
OWN = {
    "autoencoder": {"lr": 3e-3, "weight_decay": 0.0, "batch_size": 32, "optimizer": "adam", "schedule": "cosine"},
    "crbm": {"lr": 0.03, "weight_decay": 0.01, "batch_size": 8, "optimizer": "velocity", "schedule": "constant"},
}
# Settings that the other method does not know.
ONLY = {
    "autoencoder": ("noise", "tied"),
    "crbm": ("sparsity", "sparsity_rate", "block", "sigma", "sigma_last", "sigma_decay", "whiten"),
}


def _as_in_recipes(name: str) -> Any:
    """The field of that name, with the default and the help that it has in a recipe."""
    theirs = Recipe.__dataclass_fields__[name]
    return setting(theirs.default, theirs.metadata["help"])


@dataclass(frozen=True)
class Settings:
    """Every setting of a pre-training run."""

    method: str = setting("autoencoder", "autoencoder (Masci 2011) or crbm (Lee 2009)")
    network: str = _as_in_recipes("network")
    also: str = setting(
        "", "comma list of more data, as DATA, to learn from; images that DATA keeps aside are left out"
    )
    layers: str = setting("", "comma list of convolutions, or how many from the image on; empty: all")
    input_size: int | None = _as_in_recipes("input_size")
    resize: int | None = _as_in_recipes("resize")
    store_size: int | None = _as_in_recipes("store_size")
    max_bad: float = _as_in_recipes("max_bad")
    epochs: int = setting(20, "passes over the training images for each layer")
    batch_size: int | None = setting(None, "images a step; none: 32 for the auto-encoder, 8 for crbm")
    lr: float | None = setting(None, "learning rate; none: 0.003 for the auto-encoder, 0.03 for crbm")
    weight_decay: float | None = setting(None, "weight decay; none: 0 for the auto-encoder, 0.01 for crbm")
    noise: float = setting(0.3, "autoencoder: share of the input's values that are set to zero")
    tied: bool = setting(True, "autoencoder: decode with the encoder's own filters, flipped")
    sparsity: float = setting(0.03, "crbm: mean probability of a hidden unit that is aimed at")
    sparsity_rate: float = setting(5.0, "crbm: how hard a hidden bias is drawn to that, as a multiple of the rate")
    block: int = setting(2, "crbm: side of the blocks in which at most one hidden unit is on")
    sigma: float = setting(0.2, "crbm: deviation of the visible units at the first step")
    sigma_last: float = setting(0.1, "crbm: the smallest that it becomes")
    sigma_decay: float = setting(0.99, "crbm: what it is multiplied by at each step")
    whiten: bool = setting(True, "crbm: whiten the images that the first layer sees; its filters take that in")
    augment: str = setting("crop,flip", "comma list of crop, flip, pca, lighting, gaussian, resized_crop, color")
    crop_scale: float = _as_in_recipes("crop_scale")
    validation: float | None = _as_in_recipes("validation")
    test: float | None = _as_in_recipes("test")
    given_splits: bool = _as_in_recipes("given_splits")
    checkpoint_minutes: float = _as_in_recipes("checkpoint_minutes")
    seed: int = setting(0, "seed of weights, order, augmentation, noise and sampling")
    split_seed: int = _as_in_recipes("split_seed")
    device: str = _as_in_recipes("device")
    precision: str = _as_in_recipes("precision")
    workers: int | None = _as_in_recipes("workers")

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        if not 0 <= self.noise < 1:
            raise UsageError(f"noise is {self.noise}; it takes a share from 0 to below 1")
        if not 0 < self.sparsity < 1:
            raise UsageError(f"sparsity is {self.sparsity}; it takes a probability between 0 and 1")
        if self.block < 1:
            raise UsageError(f"block is {self.block}; it takes a side of 1 or more")
        if not 0 < self.sigma_last <= self.sigma < math.inf:
            raise UsageError(f"sigma goes from {self.sigma} to {self.sigma_last}; it falls, and stays above 0")
        if not 0 < self.sigma_decay <= 1:
            raise UsageError(f"sigma_decay is {self.sigma_decay}; it takes a factor above 0 and up to 1")
        if not 0 <= self.sparsity_rate < math.inf:
            raise UsageError(f"sparsity_rate is {self.sparsity_rate}; it takes 0 or more")
        self._refuse_the_others()
        self.recipe(1)  # which refuses what is wrong with the rest

    def _refuse_the_others(self) -> None:
        """UsageError for a setting that only another method has."""
        for method in set(METHODS) - {self.method}:
            for name in ONLY[method]:
                if (value := getattr(self, name)) != type(self).__dataclass_fields__[name].default:
                    raise UsageError(
                        f"{name} is {value}, but only the method {method} has it; leave it out, or give "
                        f"--method {method}"
                    )

    @property
    def more(self) -> list[str]:
        """The names in `also`."""
        return [name.strip() for name in self.also.split(",") if name.strip()]

    def recipe(self, layers: int) -> Recipe:
        """What the data path, the optimiser and the loop of training work by, for `layers` layers one after another."""
        shared = {f.name for f in dataclasses.fields(Recipe)} & {f.name for f in dataclasses.fields(self)}
        given = {name: getattr(self, name) for name in shared if getattr(self, name) is not None}
        own = {**OWN[self.method], **given, "epochs": self.epochs * layers}
        return Recipe(name="pretraining", momentum=0.9, **own)


def from_json(values: dict[str, Any]) -> Settings:
    """Settings from the dictionary that `dataclasses.asdict` made of them."""
    known = {f.name for f in dataclasses.fields(Settings)}
    for name in values:
        if name not in known:
            raise unknown_name("setting", name, known)
    return Settings(**values)
