"""Every setting of a pre-training run, with its limits, and the recipe for the data path and the training loop."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from alexnet.errors import UsageError
from alexnet.training.fields import NAMES, checked, convert, same_setting, setting
from alexnet.training.settings import MAX_EPOCHS, Recipe, names_in

# The defaults of a method, where a setting is left open. crbm: weight decay and momentum are those of Lee et al.'s
# published program; learning rate and sparsity are higher (docs/log.md, 2026-11-25).
OWN: dict[str, dict[str, Any]] = {
    "autoencoder": {"lr": 3e-3, "weight_decay": 0.0, "batch_size": 32, "optimizer": "adam", "schedule": "cosine"},
    "crbm": {"lr": 0.03, "weight_decay": 0.01, "batch_size": 8, "optimizer": "velocity", "schedule": "constant"},
}
# Settings of one method only.
ONLY = {
    "autoencoder": ("noise", "tied"),
    "crbm": ("sparsity", "sparsity_rate", "block", "sigma", "sigma_last", "sigma_decay", "whiten"),
}


@dataclass(frozen=True)
class Settings:
    """Every setting of a pre-training run. Values are checked and converted whenever a record is made."""

    method: Literal["autoencoder", "crbm"] = setting("autoencoder", "autoencoder (Masci 2011) or crbm (Lee 2009)")
    network: str = same_setting(Recipe, "network")
    also: str = setting(
        "",
        "comma list of further data, as DATA, to learn from; images that DATA keeps for validation or test are "
        "left out",
        NAMES,
    )
    layers: str = setting(
        "", "convolutions to train: a comma list of names, or a number, counted from the image on; default: all", NAMES
    )
    input_size: int | None = same_setting(Recipe, "input_size")
    resize: int | None = same_setting(Recipe, "resize")
    store_size: int | None = same_setting(Recipe, "store_size")
    fit: Literal["crop", "pad", "warp"] | None = same_setting(Recipe, "fit")
    value_range: str | None = same_setting(Recipe, "value_range")
    exact: bool | None = same_setting(Recipe, "exact")
    max_bad: float | None = same_setting(Recipe, "max_bad")
    epochs: int = setting(20, "passes over the training images for each layer", gt=0, le=MAX_EPOCHS // 100)
    batch_size: int | None = same_setting(
        Recipe, "batch_size", default=None, help="images per step; default: autoencoder 32, crbm 8"
    )
    lr: float | None = same_setting(
        Recipe, "lr", default=None, help="learning rate; default: autoencoder 0.003, crbm 0.03"
    )
    weight_decay: float | None = same_setting(
        Recipe, "weight_decay", default=None, help="weight decay; default: autoencoder 0, crbm 0.01"
    )
    noise: float = setting(0.3, "autoencoder: share of the input's values that are set to zero", ge=0, lt=1)
    tied: bool = setting(True, "autoencoder: decode with the encoder's filters, flipped, instead of filters of its own")
    sparsity: float = setting(0.03, "crbm: target for the mean probability of a hidden unit", gt=0, lt=1)
    sparsity_rate: float = setting(
        5.0, "crbm: learning rate of hidden biases towards that target, as a multiple of lr", ge=0
    )
    block: int = setting(2, "crbm: side of the blocks in which at most one hidden unit is on", gt=0)
    sigma: float = setting(0.2, "crbm: standard deviation of the visible units at the first step", gt=0)
    sigma_last: float = setting(0.1, "crbm: lower bound of that standard deviation", gt=0)
    sigma_decay: float = setting(0.99, "crbm: factor on the standard deviation at each step", gt=0, le=1)
    whiten: bool = setting(
        True, "crbm: whiten the images for the first layer; the whitening is then merged into its filters"
    )
    augment: str = same_setting(
        Recipe,
        "augment",
        default="crop,flip",
        help="comma list of crop, flip, pca, lighting, gaussian, resized_crop, color",
    )
    crop_scale: float = same_setting(Recipe, "crop_scale")
    validation: float | None = same_setting(Recipe, "validation")
    test: float | None = same_setting(Recipe, "test")
    given_splits: bool = same_setting(Recipe, "given_splits")
    checkpoint_minutes: float = same_setting(Recipe, "checkpoint_minutes")
    seed: int = same_setting(Recipe, "seed", help="seed of weights, image order, augmentation, noise and sampling")
    split_seed: int = same_setting(Recipe, "split_seed")
    device: str = same_setting(Recipe, "device")
    precision: Literal["auto", "bfloat16", "float32"] = same_setting(Recipe, "precision")
    workers: int | None = same_setting(Recipe, "workers")

    def __post_init__(self) -> None:
        convert(self)
        if self.sigma_last > self.sigma:
            raise UsageError(f"sigma_last is {self.sigma_last}; sigma falls to it, so take {self.sigma} or less")
        self._refuse_other_method()

    def _refuse_other_method(self) -> None:
        """UsageError for a setting that only the other method has."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for method in ONLY.keys() - {self.method}:
            for name in ONLY[method]:
                if (value := getattr(self, name)) != defaults[name]:
                    raise UsageError(
                        f"{name} is {value}, but only the method {method} has it; leave it out, or give "
                        f"--method {method}"
                    )

    @property
    def more(self) -> list[str]:
        """The names in `also`."""
        return list(names_in(self.also))

    def recipe(self, layers: int) -> Recipe:
        """The recipe for the data path, the optimiser and the loop, over `layers` layers one after another."""
        shared = {f.name for f in dataclasses.fields(Recipe)} & {f.name for f in dataclasses.fields(self)}
        given = {name: getattr(self, name) for name in shared if getattr(self, name) is not None}
        own = {**OWN[self.method], **given, "epochs": self.epochs * layers}
        return Recipe(name="pretraining", momentum=0.9, **own)


def from_json(values: dict[str, Any]) -> Settings:
    """The settings that `dataclasses.asdict` turned into `values`; fields that are missing get their defaults."""
    return Settings(**checked(Settings, values))
