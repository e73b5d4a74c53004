"""Recipes: everything that decides what a training run does, by name.

A recipe is a frozen record; a named one is the difference from the defaults, with a docstring that gives its command,
the time it takes and the score to expect. Any field can be set from the command line or from a YAML or TOML file.
"""

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def modern() -> Recipe:
    """Ours: from a thousand photos to a good classifier on a laptop.

    alexnet train flowers17
    About 10 minutes on two cores; 94.2 % top-1 from 60 images a class, mean of three splits.
    """
    return Recipe(
        name="modern",
        network="modern",
        epochs=100,
        batch_size=64,
        optimizer="muon",
        lr=0.02,
        momentum=0.95,
        weight_decay=0.05,
        schedule="cosine",
        warmup_epochs=5,
        label_smoothing=0.1,
        augment="resized_crop,flip,color",
        mixup=0.4,
        cutmix=1.0,
        mix_probability=0.8,
        mix_stop=0.95,
        train_scale=5 / 6,
        first_train_scale=1 / 2,
        ema=0.99,
        evaluate_every=10,
    )


def article() -> Recipe:
    """The article's program as it stands: one epoch of Adam on 80 % of the images, nothing else.

    alexnet train flowers17 --recipe article
    Half a minute on two cores; 6 to 8 % on the validation images, hardly more than guessing, after its one epoch.
    Where it differs: the 20 % are drawn in each class for itself, not cut off the end of a shuffled list; images are
    cropped square, not warped; Adam's epsilon is torch's 1e-8, not Keras' 1e-7.
    """
    return Recipe(
        name="article",
        network="article",
        epochs=1,
        batch_size=64,
        optimizer="adam",
        lr=1e-3,
        weight_decay=0.0,
        schedule="constant",
        validation=0.2,
        test=0.0,
    )


def krizhevsky2012() -> Recipe:
    """The 2012 run: its optimiser, its augmentation, and the drops that its authors made by hand over 91 epochs.

    alexnet train imagenet:/folder --recipe krizhevsky2012
    Published: 59.3 / 81.8 % on ImageNet's validation images, ten views, in five to six days on two GPUs. Not measured
    here.
    Source: cuda-convnet's layer-params-145.cfg: rate .01, divided by ten after epochs 25, 51 and 79. Left out of those
    notes: from epoch 67 conv1 had a tenth of the rate and colour noise was off, from 72 conv1 was frozen; the biases'
    rate was not lowered with the weights'.
    """
    return Recipe(
        name="krizhevsky2012",
        network="krizhevsky2012",
        epochs=91,
        batch_size=128,
        optimizer="velocity",
        lr=0.01,
        bias_lr_factor=2.0,
        schedule="steps",
        lr_drops=(25, 51, 79),
        augment="crop,flip,pca",
    )


def bvlc() -> Recipe:
    """Caffe's replication: step schedule, no colour noise.

    alexnet train imagenet:/folder --recipe bvlc
    Published: 57.1 / 80.2 % on ImageNet's validation images, centre view. Not measured here, nor its time.
    Source: models/bvlc_alexnet/solver.prototxt: batch 256, 450,000 steps, rate / 10 every 100,000 of them; one epoch
    of ILSVRC 2012 is 5,005 steps of 256.
    """
    return dataclasses.replace(
        krizhevsky2012(),
        name="bvlc",
        network="bvlc",
        epochs=90,
        batch_size=256,
        lr_drops=(20, 40, 60, 80),
        augment="crop,flip",
    )


def torchvision() -> Recipe:
    """torchvision's training reference for its AlexNet.

    alexnet train imagenet:/folder --recipe torchvision
    Published: 56.5 / 79.1 % on ImageNet's validation images, centre view. Not measured here, nor its time.
    Source: torchvision references/classification, `--model alexnet --lr 1e-2`: 90 epochs, rate / 10 every 30.
    """
    return Recipe(
        name="torchvision",
        network="one_weird_trick",
        epochs=90,
        batch_size=256,
        optimizer="sgd",
        lr=0.01,
        weight_decay=1e-4,
        decay_biases=True,
        schedule="steps",
        lr_drops=(30, 60),
        augment="resized_crop,flip",
        crop_scale=0.08,
    )


def cifar_80sec() -> Recipe:
    """cuda-convnet's 80-second network.

    alexnet train cifar10 --recipe cifar-80sec
    Published: 26 % test error, after 80 seconds on a GPU of 2011.
    Source: layer-params-80sec.cfg: rate .001, biases .002, a tenth after 8 epochs; decay .004, dense layers .03.
    """
    return Recipe(
        name="cifar-80sec",
        network="cifar-80sec",
        store_size=32,
        epochs=10,
        batch_size=128,
        optimizer="velocity",
        lr=0.001,
        bias_lr_factor=2.0,
        weight_decay=0.004,
        layer_decay="fc64=0.03,fc10=0.03",
        schedule="steps",
        lr_drops=(8,),
    )


def cifar_19pct() -> Recipe:
    """cuda-convnet's 19 % network.

    alexnet train cifar10 --recipe cifar-19pct
    Published: 19 % test error, after 20 minutes. Not measured here, nor its time.
    Source: layer-params-19pct.cfg; the epochs and drops, which it leaves open, are those of layer-params-18pct.cfg.
    """
    return dataclasses.replace(
        cifar_80sec(),
        name="cifar-19pct",
        network="cifar-19pct",
        epochs=140,
        layer_decay="fc10=3",
        lr_drops=(120, 130),
        evaluate_every=10,
    )


def cifar_18pct() -> Recipe:
    """cuda-convnet's 18 % network: normalisation within maps.

    alexnet train cifar10 --recipe cifar-18pct
    Published: 18 % test error, after 20 minutes. Not measured here, nor its time.
    Source: layer-params-18pct.cfg: rate .001 for 120 epochs, a tenth for 10, a hundredth for 10.
    """
    return dataclasses.replace(cifar_19pct(), name="cifar-18pct", network="cifar-18pct", layer_decay="fc10=1")


def cifar_13pct() -> Recipe:
    """cuda-convnet's network with locally connected layers, on 24 px parts and their mirror images.

    alexnet train cifar10 --recipe cifar-13pct
    Published: 13 % test error over nine views, after 25 minutes. Not measured here, nor its time.
    Source: layer-params-conv-local-13pct.cfg: no decay of convolutions, .004 of the rest. Epochs and drops are ours.
    """
    return dataclasses.replace(
        cifar_19pct(), name="cifar-13pct", network="cifar-13pct", layer_decay="conv1=0,conv2=0", augment="crop,flip"
    )


def cifar_11pct() -> Recipe:
    """cuda-convnet's best: normalisation between channels and 64 maps in local3.

    alexnet train cifar10 --recipe cifar-11pct
    Published: 11 % test error over nine views, after 75 minutes. Not measured here, nor its time.
    Source: layer-params-conv-local-11pct.cfg: 350 epochs on four fifths of the images and 150 on all of them, then 10
    at a tenth of the rate and 10 at a hundredth. Here all 500 are on all of them.
    """
    return dataclasses.replace(
        cifar_13pct(),
        name="cifar-11pct",
        network="cifar-11pct",
        epochs=520,
        layer_decay="conv1=0,conv2=0,fc10=0.01",
        lr_drops=(500, 510),
    )


CIFAR = (cifar_80sec, cifar_19pct, cifar_18pct, cifar_13pct, cifar_11pct)
RECIPES = {build().name: build for build in (modern, article, krizhevsky2012, bvlc, torchvision, *CIFAR)}


def recipe(name: str = "modern", file: Path | None = None, **settings: Any) -> Recipe:
    """The named recipe, changed by the fields in a YAML or TOML file and then by `settings`.

    Drops and warm-up keep their place in the run when `epochs` alone is changed. Settings that are None are left as the
    recipe has them. A name that is not a field, or a value of the wrong type, is a UsageError.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    base = RECIPES[name]()
    changes = {**(_read(file) if file else {}), **{key: value for key, value in settings.items() if value is not None}}
    checked = {key: _convert(key, value) for key, value in changes.items()}
    longer = checked.get("epochs", base.epochs) / base.epochs
    checked.setdefault("lr_drops", tuple(drop * longer for drop in base.lr_drops))
    checked.setdefault("warmup_epochs", base.warmup_epochs * longer)
    return dataclasses.replace(base, **checked)


def from_json(values: dict[str, Any]) -> Recipe:
    """A recipe from the dictionary that `dataclasses.asdict` made of it."""
    return Recipe(**{key: _convert(key, value) for key, value in values.items()})


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UsageError(f"there is no settings file {file}; give a .yaml, .yml or .toml file of recipe fields")
    import yaml  # only such a file needs it

    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read settings from {file}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{file} holds no settings; write one 'field: value' a line")
    return values


_TYPES = typing.get_type_hints(Recipe)


def _convert(key: str, value: Any) -> Any:
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
