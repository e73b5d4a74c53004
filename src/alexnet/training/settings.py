"""Every setting of a training run, read from files and converted.

A recipe is a frozen record. Any field can be set from the command line or from a YAML or TOML file.
"""

import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alexnet.errors import UsageError, unknown_name

OPTIMIZERS = ("sgd", "nesterov", "velocity", "adam", "adamw", "muon")
SCHEDULES = ("constant", "cosine", "steps")
LOSSES = ("cross_entropy", "logistic")
BALANCES = ("none", "weights", "sampling")
PRECISIONS = ("auto", "bfloat16", "float32")
SEEDS = 2**32
AUGMENTATIONS = ("crop", "flip", "pca", "lighting", "gaussian", "resized_crop", "color")


def setting(default: Any, text: str) -> Any:
    """A field of a record of settings, with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Recipe:
    """Every setting of a training run."""

    name: str = setting("modern", "the recipe's own name")
    network: str = setting("modern", "which network (see `alexnet summary`)")
    input_size: int | None = setting(None, "pixels a side that the network sees; none: the network's own")
    differences: str = setting("", "comma list of name=value in which the network differs, such as activation=tanh")
    resize: int | None = setting(
        None, "pixels of the square that views are cropped from; none: the network's, in proportion"
    )
    store_size: int | None = setting(None, "pixels a side of the packed images; none: the data's own rule, mostly 256")
    max_bad: float = setting(0.01, "largest share of unreadable images that is skipped over")
    init: str | None = setting(
        None, "a run's folder or weights file of the same network to begin from; layers that fit are taken, others new"
    )
    init_lr_factor: float = setting(1.0, "init: learning rate of the layers taken from it, as a multiple")
    freeze: str = setting(
        "", "layers that stay as they are: comma list of names, or how many convolutions with all between; empty: none"
    )
    epochs: int = setting(100, "passes over the training images")
    stop_train_error: float | None = setting(
        None, "share of an epoch's training images named wrongly that ends the run"
    )
    batch_size: int = setting(64, "images a step")
    optimizer: str = setting(
        "nesterov",
        "sgd (momentum), nesterov, velocity (momentum with the learning rate inside, as in 2012), adam, adamw, muon",
    )
    lr: float = setting(0.05, "highest learning rate")
    momentum: float = setting(0.9, "momentum; adam and adamw: their first beta")
    adam_lr_factor: float = setting(0.1, "muon: learning rate of what is not a hidden weight, as a multiple")
    weight_decay: float = setting(5e-4, "weight decay on weights")
    bias_lr_factor: float = setting(1.0, "learning rate of biases as a multiple")
    layer_decay: str = setting("", "comma list of layer=value: weight decay of these layers' weights instead")
    decay_biases: bool = setting(False, "weight decay on biases and normalisation settings too")
    schedule: str = setting("cosine", "learning rate over time: constant, cosine or steps")
    warmup_epochs: float = setting(0.0, "epochs in which the learning rate rises linearly")
    lr_drops: tuple[float, ...] = setting((), "steps: the epochs after which the rate drops, for the recipe's epochs")
    lr_drop_factor: float = setting(0.1, "steps: what the rate is multiplied by at each drop")
    loss: str = setting("cross_entropy", "cross_entropy or logistic (independent units)")
    label_smoothing: float = setting(0.0, "share of the target spread over all classes")
    dropout: float | None = setting(None, "probability of dropping a dense unit; none: the network's own")
    augment: str = setting("", "comma list of crop, flip, pca, lighting, gaussian, resized_crop, color; empty: none")
    crop_scale: float = setting(0.25, "resized_crop: smallest share of the image's area")
    color_strength: float = setting(0.4, "color: strength of brightness, contrast and saturation changes")
    pca_strength: float = setting(0.1, "pca and lighting: standard deviation of the random coefficients")
    gaussian_std: float = setting(4.0, "gaussian: standard deviation of pixel noise, 0..255 scale")
    mixup: float = setting(0.0, "mixup: Beta(a, a) parameter; 0 for none")
    cutmix: float = setting(0.0, "cutmix: Beta(a, a) parameter; 0 for none")
    mix_probability: float = setting(1.0, "share of images that mixup or cutmix touches")
    mix_stop: float = setting(1.0, "share of the run after which mixing stops")
    train_scale: float = setting(1.0, "side of training images at the end of the run, as a share of input_size")
    first_train_scale: float = setting(1.0, "the same at its beginning; the side grows from one to the other")
    ema: float = setting(0.0, "decay of the weights' moving average, which is then what is kept; 0 for none")
    balance: str = setting("none", "class imbalance: none, weights (in the loss) or sampling")
    validation: float | None = setting(None, "share of each class kept for validation; none: the data's own rule")
    test: float | None = setting(None, "share of each class kept for test; none: the data's own rule")
    given_splits: bool = setting(True, "keep the data's own division; else all images are divided by the shares")
    train_images: int | None = setting(None, "training images taken of each class, or as many as it has; none: all")
    evaluate_every: int = setting(1, "epochs between evaluations; the last epoch is always evaluated")
    checkpoint_minutes: float = setting(5.0, "minutes between checkpoints inside an epoch; every epoch has one too")
    seed: int = setting(0, "seed of weights, order and augmentation")
    split_seed: int = setting(0, "seed of the division into training, validation and test images")
    device: str = setting("auto", "auto, cpu, cuda or mps")
    precision: str = setting("auto", "auto, bfloat16 or float32")
    workers: int | None = setting(
        None, "threads that prepare batches ahead of the step; none: 2 where a GPU trains, 0 where the processor does"
    )
    tensorboard: bool = setting(False, "write TensorBoard events into the run folder")

    def __post_init__(self) -> None:
        _positive(
            self,
            "epochs",
            "batch_size",
            "lr",
            "adam_lr_factor",
            "evaluate_every",
            "checkpoint_minutes",
            "init_lr_factor",
        )
        _share(
            self,
            "label_smoothing",
            "dropout",
            "mix_probability",
            "mix_stop",
            "max_bad",
            "validation",
            "test",
            "ema",
            "momentum",
            "stop_train_error",
        )
        _not_negative(
            self,
            "weight_decay",
            "warmup_epochs",
            "mixup",
            "cutmix",
            "bias_lr_factor",
            "lr_drop_factor",
            "color_strength",
            "pca_strength",
            "gaussian_std",
        )
        if self.init_lr_factor != 1 and self.init is None:
            raise UsageError(f"init_lr_factor is {self.init_lr_factor}, but no init is given; name a run with --init")
        _known(self, "precision", PRECISIONS)
        _known(self, "optimizer", OPTIMIZERS)
        _known(self, "schedule", SCHEDULES)
        _known(self, "loss", LOSSES)
        _known(self, "balance", BALANCES)
        for name in self.augmentations:
            if name not in AUGMENTATIONS:
                raise unknown_name("augmentation", name, AUGMENTATIONS)
        if {"crop", "resized_crop"} <= set(self.augmentations):
            raise UsageError("augment has both 'crop' and 'resized_crop'; keep one of them")
        if self.workers is not None and self.workers < 0:
            raise UsageError(f"workers is {self.workers}; it takes 0 or more")
        if self.train_images is not None and self.train_images < 1:
            raise UsageError(f"train_images is {self.train_images}; it takes 1 or more")
        _check_differences(self)
        _check_layer_decay(self)
        for name in ("seed", "split_seed"):
            if not 0 <= getattr(self, name) < SEEDS:
                raise UsageError(f"{name} is {getattr(self, name)}; it takes a whole number from 0 to {SEEDS - 1}")
        if self.momentum == 1 or (self.momentum == 0 and self.optimizer == "nesterov"):
            raise UsageError(f"momentum is {self.momentum}; {self.optimizer} takes a number between 0 and 1")
        if self.loss == "logistic" and self.label_smoothing:
            raise UsageError("label_smoothing goes with loss cross_entropy only; set one of the two otherwise")
        for name in ("crop_scale", "train_scale", "first_train_scale"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it takes a share above 0 and up to 1")
        if self.first_train_scale > self.train_scale:
            raise UsageError(
                f"first_train_scale {self.first_train_scale} is above train_scale {self.train_scale}; training images "
                f"grow, so take {self.train_scale} or less"
            )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names in `augment`."""
        return tuple(name.strip() for name in self.augment.split(",") if name.strip())

    @property
    def network_differences(self) -> dict[str, Any]:
        """What `alexnet.create` is told beside the sizes: `differences`, and dropout where it is set."""
        differences = {name: _scalar(value) for name, value in _pairs("differences", self.differences).items()}
        return differences if self.dropout is None else {**differences, "dropout": self.dropout}

    @property
    def layer_decays(self) -> dict[str, float]:
        """`layer_decay` by layer."""
        return {name: float(value) for name, value in _pairs("layer_decay", self.layer_decay).items()}


def _pairs(setting: str, text: str) -> dict[str, str]:
    """ "a=1,b=x" as a dictionary."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value) or name in found:
            raise UsageError(f"{setting} has {part!r}; it takes name=value, each name once, separated by commas")
        found[name] = value
    return found


def _scalar(text: str) -> bool | int | float | str:
    """What a word stands for: true, false, a whole number, a number, or itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _check_differences(recipe: Recipe) -> None:
    """Whether the network knows them is for `alexnet.create` to say; settings of their own stay such."""
    for name in _pairs("differences", recipe.differences):
        if name in ("num_classes", "input_size") or (name == "dropout" and recipe.dropout is not None):
            raise UsageError(
                f"differences has {name!r}, which is a setting of its own or the data's; leave it out there"
            )


def _check_layer_decay(recipe: Recipe) -> None:
    """Numbers of 0 or more; Muon, whose hidden weights are one group, has one decay for all."""
    for name, value in _pairs("layer_decay", recipe.layer_decay).items():
        number = _scalar(value)
        if isinstance(number, bool | str) or not 0 <= number < math.inf:
            raise UsageError(f"layer_decay of {name} is {value}; it takes 0 or more")
    if recipe.layer_decay and recipe.optimizer == "muon":
        raise UsageError("layer_decay goes with every optimizer but muon, which has one weight_decay; take another")


def _positive(recipe: Recipe, *names: str) -> None:
    for name in names:
        if not 0 < getattr(recipe, name) < math.inf:
            raise UsageError(f"{name} is {getattr(recipe, name)}; it takes a number above 0")


def _not_negative(recipe: Recipe, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(recipe, name) < math.inf:
            raise UsageError(f"{name} is {getattr(recipe, name)}; it takes 0 or more")


def _share(recipe: Recipe, *names: str) -> None:
    for name in names:
        value = getattr(recipe, name)
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"{name} is {value}; it takes a share from 0 to 1")


def _known(recipe: Recipe, name: str, known: tuple[str, ...]) -> None:
    if getattr(recipe, name) not in known:
        raise unknown_name(name, getattr(recipe, name), known)


def from_json(values: dict[str, Any]) -> Recipe:
    """A recipe from the dictionary that `dataclasses.asdict` made of it."""
    return Recipe(**{key: convert(key, value) for key, value in values.items()})


def read(file: Path) -> dict[str, Any]:
    """The settings in a YAML or TOML file, as it has them; UsageError where it cannot be read or holds none."""
    if not file.is_file():
        raise UsageError(f"there is no settings file {file}; give a .yaml, .yml or .toml file of recipe fields")
    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read settings from {file}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{file} holds no settings; write one 'field: value' a line")
    return values


_TYPES = typing.get_type_hints(Recipe)


def convert(key: str, value: Any) -> Any:
    """The value as the field's type; YAML gives int for 1, str for 1e-3, and lists for tuples."""
    if key not in _TYPES:
        raise unknown_name("setting", key, _TYPES)
    kind = _TYPES[key]
    if value is None and isinstance(kind, types.UnionType):
        return None
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    try:
        if kind is str and isinstance(value, dict):
            return ",".join(f"{name}={item}" for name, item in value.items())
        if typing.get_origin(kind) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(float(part) for part in parts)
        if kind is bool and not isinstance(value, bool):
            return {"true": True, "false": False}[str(value).lower()]
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        return kind(value) if kind is not int else int(float(value))
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{key} is {value!r}; it takes {_kind_name(kind)}") from error


def _kind_name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return names.get(kind, "numbers separated by commas")
