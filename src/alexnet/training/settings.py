"""Every setting of a training run, with its limits, and the file that may hold them.

A recipe is a frozen record. Any field can be set from the command line or from a YAML or TOML file.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alexnet.data.value_range import Given, read_range
from alexnet.errors import FileError, UsageError, unknown_name
from alexnet.training.fields import NAMES, PAIRS, RANGE, checked, convert, setting

AUGMENTATIONS = ("crop", "flip", "pca", "lighting", "gaussian", "resized_crop", "color")
MAX_SEED = 2**32 - 1
MAX_EPOCHS = 10**6
AUTOMATIC = (
    *("batch_size", "epochs", "evaluate_every", "warmup_epochs", "input_size"),
    *("init", "init_lr_factor", "mix_probability", "dropout"),
)
"""Settings that can follow the training images: see `alexnet.training.automatic`."""


def names_in(text: str) -> tuple[str, ...]:
    """ "a, b" -> ("a", "b")."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _check_augment(text: str) -> None:
    """UsageError for an unknown augmentation, and for both ways to crop at once."""
    for name in names_in(text):
        if name not in AUGMENTATIONS:
            raise unknown_name("augmentation", name, AUGMENTATIONS)
    if {"crop", "resized_crop"} <= set(names_in(text)):
        raise UsageError("augment has both 'crop' and 'resized_crop'; keep one of them")


def _check_fold(text: str) -> None:
    """UsageError for text that is no fold."""
    if text:
        fold, _, folds = text.partition("/")
        if not (fold.isdecimal() and folds.isdecimal() and 1 <= int(fold) <= int(folds) >= 2):
            raise UsageError(f"fold is {text!r}; it takes k/K, such as 2/5: the second of five folds")


def _check_automatic(text: str) -> None:
    """UsageError for a setting that cannot follow the number of training images."""
    for name in names_in(text):
        if name not in AUTOMATIC:
            raise unknown_name("automatic setting", name, AUTOMATIC)


def _check_differences(text: str) -> None:
    """UsageError for what is no pair or has a setting of its own; `alexnet.create` refuses unknown names."""
    for name in _pairs("differences", text):
        if name in ("num_classes", "input_size"):
            raise _own_setting(name)


def _check_range(text: str | None) -> None:
    """UsageError for what is neither two numbers in order nor auto."""
    if text is not None:
        read_range(text)


def _own_setting(name: str) -> UsageError:
    return UsageError(f"differences has {name!r}, which is a setting of its own or the data's; leave it out there")


def _check_layer_decay(text: str) -> None:
    """UsageError for a weight decay that is not a number of at least 0."""
    for name, value in _pairs("layer_decay", text).items():
        number = _scalar(value)
        if isinstance(number, bool | str) or not 0 <= number < math.inf:
            raise UsageError(f"layer_decay of {name} is {value}; it takes a number of at least 0")


def _pairs(setting: str, text: str) -> dict[str, str]:
    """ "a=1,b=x" -> {"a": "1", "b": "x"}; `setting` is named in the UsageError for other text."""
    found = {}
    for part in names_in(text):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value) or name in found:
            raise UsageError(f"{setting} has {part!r}; it takes name=value, each name once, separated by commas")
        found[name] = value
    return found


def _scalar(text: str) -> bool | int | float | str:
    """The value that a word stands for: true or false, an integer, a float, or the word itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


@dataclass(frozen=True)
class Recipe:
    """Every setting of a training run. Values are checked and converted whenever a record is made."""

    name: str = setting("modern", "the recipe's own name")
    network: str = setting("modern", "the network's name (see `alexnet summary`)")
    input_size: int | None = setting(None, "side of the network's input in pixels; default: the network's own", gt=0)
    differences: str = setting(
        "", "options of the network, as a comma list of name=value, such as activation=tanh", PAIRS, _check_differences
    )
    resize: int | None = setting(
        None,
        "side in pixels to which an image is scaled before a square of input_size is cropped from it; "
        "default: in the network's own proportion to input_size",
        gt=0,
    )
    store_size: int | None = setting(
        None, "side of the packed images in pixels; default: the data's own, mostly 256", gt=0
    )
    fit: Literal["crop", "pad", "warp"] | None = setting(
        None,
        "how images that are not square are packed: crop (the centre square), pad (all of it, with a border of a mean "
        "colour) or warp (all of it, squashed); default: crop, or as a packed store has it",
    )
    value_range: str | None = setting(
        None,
        "LOW,HIGH: the files' values for black and white, such as 0,4095 for 12 bits in 16; or auto: the lowest and "
        "highest value of the images, outliers and given val and test aside; default: by each file's format, or as a "
        "packed store has it",
        RANGE,
        _check_range,
    )
    exact: bool | None = setting(
        None,
        "decode large JPEG photos whole, not at the smallest scale that gives twice the packed side; takes twice as "
        "long for 12 megapixels; default: no, or as a packed store has it",
    )
    max_bad: float | None = setting(
        None,
        "largest share of unreadable images that is skipped; above it the run stops; default: 0.01, or 10 images if "
        "that is more, as long as every class keeps two",
        ge=0,
        le=1,
    )
    init: str | None = setting(
        None,
        "run folder, weights file, or published weights such as imagenet:bvlc, of the same network to start from; "
        "layers that do not fit start anew; none: random weights; default: with the recipe modern the package's own "
        "weights where they help, otherwise random weights",
    )
    init_lr_factor: float = setting(1.0, "init: factor on the learning rate of the layers taken from it", gt=0)
    freeze: str = setting(
        "",
        "layers that are not trained: a comma list of names, or a number n, for the first n convolutions and all that "
        "comes before the next one; default: none",
        NAMES,
    )
    probe: bool = setting(
        False,
        "train no layer by steps: fit the last one to the features of the network that init names, by logistic "
        "regression, in seconds",
    )
    prune: float = setting(
        0.0,
        "init: share of the weights of dense layers, the smallest, that are set to 0 and stay so; of convolutions and "
        "of the first and the last layer less: see alexnet compress",
        ge=0,
        lt=1,
    )
    epochs: int = setting(100, "passes over the training images", gt=0, le=MAX_EPOCHS)
    stop_train_error: float | None = setting(
        None, "stop once this share of an epoch's training images, or less, is classified wrongly", ge=0, le=1
    )
    batch_size: int = setting(64, "images per step", gt=0)
    optimizer: Literal["sgd", "nesterov", "velocity", "adam", "adamw", "muon"] = setting(
        "nesterov",
        "sgd (with momentum), nesterov, velocity (momentum with the learning rate inside, as in 2012), adam, adamw or "
        "muon",
    )
    lr: float = setting(0.05, "highest learning rate", gt=0)
    momentum: float = setting(0.9, "momentum; adam and adamw: beta1", ge=0, lt=1)
    adam_lr_factor: float = setting(
        0.1, "muon: factor on the learning rate of the parameters that adamw trains: all but hidden weights", gt=0
    )
    weight_decay: float = setting(5e-4, "weight decay of weights", ge=0)
    bias_lr_factor: float = setting(1.0, "factor on the learning rate of biases", ge=0)
    layer_decay: str = setting(
        "", "weight decay of single layers, as a comma list of layer=value", PAIRS, _check_layer_decay
    )
    decay_biases: bool = setting(False, "apply weight decay to biases and normalisation parameters, too")
    schedule: Literal["constant", "cosine", "steps"] = setting(
        "cosine", "learning rate over time: constant, cosine or steps"
    )
    warmup_epochs: float = setting(0.0, "epochs over which the learning rate rises linearly to lr", ge=0)
    lr_drops: tuple[float, ...] = setting(
        (), "steps: epochs after which the learning rate drops, as a comma list", ge=0
    )
    lr_drop_factor: float = setting(0.1, "steps: factor on the learning rate at each drop", ge=0)
    loss: Literal["cross_entropy", "logistic"] = setting(
        "cross_entropy", "cross_entropy, or logistic (an independent probability for each class)"
    )
    label_smoothing: float = setting(0.0, "share of the target that is spread evenly over all classes", ge=0, le=1)
    dropout: float | None = setting(
        None, "probability that a unit of a dense layer is dropped; default: the network's own", ge=0, le=1
    )
    augment: str = setting(
        "",
        "comma list of crop, flip, pca, lighting, gaussian, resized_crop, color; default: none",
        NAMES,
        _check_augment,
    )
    crop_scale: float = setting(0.25, "resized_crop: smallest share of the image's area that is cropped", gt=0, le=1)
    color_strength: float = setting(0.4, "color: strength of brightness, contrast and saturation changes", ge=0)
    pca_strength: float = setting(0.1, "pca, lighting: standard deviation of the random coefficients", ge=0)
    gaussian_std: float = setting(4.0, "gaussian: standard deviation of the noise on pixels of 0 to 255", ge=0)
    mixup: float = setting(0.0, "mixup: parameter a of Beta(a, a); 0: no mixup", ge=0)
    cutmix: float = setting(0.0, "cutmix: parameter a of Beta(a, a); 0: no cutmix", ge=0)
    mix_probability: float = setting(1.0, "share of the images to which mixup or cutmix is applied", ge=0, le=1)
    mix_stop: float = setting(1.0, "share of the run after which mixup and cutmix stop", ge=0, le=1)
    train_scale: float = setting(
        1.0, "side of training images at the end of the run, as a share of input_size", gt=0, le=1
    )
    first_train_scale: float = setting(
        1.0,
        "side of training images at the start of the run, as a share of input_size; it grows to train_scale",
        gt=0,
        le=1,
    )
    ema: float = setting(
        0.0,
        "decay of an exponential moving average of the weights, which is then evaluated and saved; 0: none",
        ge=0,
        le=1,
    )
    balance: Literal["none", "weights", "sampling"] = setting(
        "none", "for classes of unequal size: none, weights (in the loss) or sampling (classes equally often)"
    )
    validation: float | None = setting(
        None, "share of each class used for validation; default: the data's own", ge=0, le=1
    )
    test: float | None = setting(None, "share of each class used for test; default: the data's own", ge=0, le=1)
    given_splits: bool = setting(
        True, "keep the data's own split; otherwise all images are split by the shares of validation and test"
    )
    drop_duplicates: bool = setting(
        False, "keep one of each group of equal pictures; a held-out one rather than one that is trained on"
    )
    train_images: int | None = setting(None, "most training images of each class; default: all", gt=0)
    evaluate_every: int = setting(1, "epochs between evaluations; the last epoch is always evaluated", gt=0)
    checkpoint_minutes: float = setting(
        5.0, "minutes between checkpoints within an epoch; each epoch ends with one", gt=0
    )
    seed: int = setting(0, "seed of initial weights, image order and augmentation", ge=0, le=MAX_SEED)
    split_seed: int = setting(0, "seed of the split into training, validation and test images", ge=0, le=MAX_SEED)
    device: str = setting("auto", "auto, cpu, cuda or mps")
    precision: Literal["auto", "bfloat16", "float32"] = setting(
        "auto", "number format of the computation: auto, bfloat16 or float32"
    )
    deterministic: bool = setting(
        False,
        "on a GPU compute the same bits each time, so that a run that was interrupted comes to the weights of one that "
        "was not, to the bit; slower there, and always so on a CPU",
    )
    parallel: Literal["data", "owt"] = setting(
        "data",
        "how several processes, started by torchrun or srun, share the network: data (each has all of it) or owt "
        "(dense layers are split among them: Krizhevsky 2014, for slow links)",
    )
    workers: int | None = setting(
        None,
        "threads that prepare batches ahead; default: for a GPU one a core, at most 8; for a CPU 0",
        ge=0,
    )
    tensorboard: bool = setting(False, "write TensorBoard events to the run folder")
    fold: str = setting(
        "", "2/5: all images in five folds, of which the second is for testing; default: none", None, _check_fold
    )
    automatic: str = setting(
        "",
        "settings that follow the training images: a comma list of batch_size, epochs, evaluate_every, warmup_epochs, "
        "input_size, init, init_lr_factor, mix_probability, dropout; default: with the recipe modern those that are "
        "not given, otherwise none, but the batch never exceeds the training images",
        NAMES,
        _check_automatic,
    )

    def __post_init__(self) -> None:
        convert(self)
        if self.init == "none":
            object.__setattr__(self, "init", None)
        self._check_together()

    def _check_together(self) -> None:
        """UsageError for settings that exclude each other."""
        if self.init_lr_factor != 1 and self.init is None and "init" not in names_in(self.automatic):
            raise UsageError(f"init_lr_factor is {self.init_lr_factor}, but no init is given; name a run with --init")
        if self.prune and self.init is None:
            raise UsageError(f"prune is {self.prune}, but no init is given; name the run to prune with --init")
        if self.prune and self.probe:
            raise UsageError(f"prune is {self.prune}, and a probe trains no layer that could be pruned; leave one out")
        if self.momentum == 0 and self.optimizer == "nesterov":
            raise UsageError(f"momentum is {self.momentum}; {self.optimizer} takes a number above 0 and below 1")
        if self.loss == "logistic" and self.label_smoothing:
            raise UsageError("label_smoothing goes with loss cross_entropy only; set one of the two otherwise")
        if self.layer_decay and self.optimizer == "muon":
            raise UsageError("layer_decay goes with every optimizer but muon, which has one weight_decay; take another")
        if self.dropout is not None and "dropout" in _pairs("differences", self.differences):
            raise _own_setting("dropout")
        if self.first_train_scale > self.train_scale:
            raise UsageError(
                f"first_train_scale {self.first_train_scale} is above train_scale {self.train_scale}; training images "
                f"grow, so take {self.train_scale} or less"
            )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names in `augment`."""
        return names_in(self.augment)

    @property
    def values(self) -> Given | Literal["own"]:
        """`value_range` as numbers, or "auto"; "own" where it is not given."""
        return "own" if self.value_range is None else read_range(self.value_range)

    @property
    def network_differences(self) -> dict[str, Any]:
        """The keyword arguments of `alexnet.create` beside the sizes: `differences`, and `dropout` where it is set."""
        differences = {name: _scalar(value) for name, value in _pairs("differences", self.differences).items()}
        return differences if self.dropout is None else {**differences, "dropout": self.dropout}

    @property
    def layer_decays(self) -> dict[str, float]:
        """`layer_decay` by layer."""
        return {name: float(value) for name, value in _pairs("layer_decay", self.layer_decay).items()}


def from_json(values: dict[str, Any]) -> Recipe:
    """The recipe that `dataclasses.asdict` turned into `values`; fields that are missing get their defaults."""
    return Recipe(**checked(Recipe, values))


def read(file: Path) -> dict[str, Any]:
    """The recipe fields in a YAML or TOML file, converted. FileError where it cannot be read, UsageError of fields."""
    if not file.is_file():
        raise FileError(f"there is no settings file {file}; give a .yaml, .yml or .toml file of recipe fields")
    import yaml  # only such a file needs it

    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: not UTF-8, wrong TOML, 2026-13-01
        raise FileError(f"cannot read settings from {file}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise FileError(f"{file} holds no settings; write one 'field: value' a line")
    try:
        return checked(Recipe, values)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
