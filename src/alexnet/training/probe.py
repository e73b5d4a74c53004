"""`alexnet train --probe`: a linear classifier on the frozen features of a trained network, in seconds.

The features are what enters the network's last dense layer; scikit-learn's logistic regression learns that layer. The
run's weights are the network with it, so that a probe is evaluated, explained and used as any other run is.

N images, D features, K classes.
"""

import dataclasses
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alexnet.console import bar
from alexnet.data.form import Form
from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import Data, Source, check_classes, recorded_name
from alexnet.data.splits import PARTS
from alexnet.data.store import Store, named_store
from alexnet.device import pick_device, pick_precision
from alexnet.errors import DataError, UsageError
from alexnet.evaluation.features import of_store
from alexnet.evaluation.metrics import metrics, top5_told
from alexnet.evaluation.predict import probabilities
from alexnet.evaluation.table import write_predictions
from alexnet.explain.neighbours import nearest
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.networks.modern import Modern
from alexnet.runs.environment import environment
from alexnet.runs.folder import Config, RunFolder, SplitRow
from alexnet.runs.place import check_writable, new_folder
from alexnet.training.calibrating import at_temperature, calibrate
from alexnet.training.division import distinct, split
from alexnet.training.logistic import Choice, choose
from alexnet.training.recipes import RECIPES
from alexnet.training.settings import Recipe
from alexnet.weights.card import Card, fill, save
from alexnet.weights.named import load
from alexnet.weights.pretrained import OWN

USED = frozenset(
    [
        *("name", "network", "probe", "init", "device", "precision", "workers", "automatic", "seed", "balance"),
        *("store_size", "fit", "value_range", "exact", "max_bad", "drop_duplicates", "train_images"),
        *("validation", "test", "given_splits", "split_seed", "fold"),
    ]
)
"""The settings that a probe heeds; all others belong to training by steps."""

QUERIES = 256  # images whose neighbours are sought at once
SHOWN = 16  # images in samples.png

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """The network that features are taken from."""

    network: Network  # in evaluation mode
    card: Card
    layer: str  # the stage before the last one
    preprocessing: Preprocessing


def train(data: Data, recipe: Recipe, out: Path | None = None) -> Path:
    """Fit the last layer of `recipe.init`'s network to the data and return the run's folder; as `training.run.train`.

    Nothing is written before the classifier is there. UsageError for settings that a probe does not heed and without a
    network to begin from; WeightsError for a file that is no whole network.
    """
    began = time.perf_counter()
    _refuse(recipe)
    check_writable(out or Path("runs", "new"))
    begun = _begin(recipe)
    device = pick_device(recipe.device)
    dtype = pick_precision(recipe.precision, device)
    store = _store(data, recipe, begun.preprocessing)
    splits = split(store.labels, store.splits, store.class_names, store.fractions, recipe)
    parts = {part: np.flatnonzero(splits == part) for part in PARTS}
    _refuse_missing(store, parts["train"])
    features = _features(begun, store, np.flatnonzero(splits != ""), device, dtype)
    choice = choose(
        features[parts["train"]],
        store.labels[parts["train"]],
        features[parts["val"]],
        store.labels[parts["val"]],
        balanced=recipe.balance == "weights",
        seed=recipe.seed,
    )
    network, card = _with_layer(begun, store, choice, recipe, parts)
    judged = next(part for part in ("test", "val", "train") if len(parts[part]))
    near = _neighbours(features, store.labels, parts["train"], parts[judged]) if judged != "train" else None
    folder = new_folder(out or Path("runs") / f"{store.name}-{card.network}-probe", numbered=out is None)
    _write_begin(folder, data, store, recipe, begun, splits, environment(device, dtype))
    save(RunFolder(folder).weights, network, card)
    preprocessing = Preprocessing.from_json(card.preprocessing)
    calibrated = calibrate(RunFolder(folder), network.to(device), preprocessing, store, parts, device)
    rows = parts[judged]
    chances = probabilities(
        network, begun.preprocessing, store, rows, device=device, precision=str(dtype).removeprefix("torch.")
    )
    chances = at_temperature(chances, calibrated)
    found = metrics(chances, torch.from_numpy(store.labels[rows]), store.class_names)
    seconds = time.perf_counter() - began
    told = {"split": judged, "views": 1, **found, "epochs": 1, "best_epoch": 1, "chosen_on": choice.chosen_on}
    probe = {**choice.to_json(), "layer": begun.layer, "features": features.shape[1], "neighbours_top1": near}
    _write_end(folder, store, rows, chances, {**told, "seconds": seconds, "probe": probe})
    _tell(judged, found, choice, near, seconds)
    return folder


def _refuse(recipe: Recipe) -> None:
    """UsageError for settings that would be passed over in silence."""
    usual = Recipe(name=recipe.name, **RECIPES.get(recipe.name, RECIPES["modern"])())
    names = [each.name for each in dataclasses.fields(Recipe) if each.name not in USED]
    if others := [name for name in names if getattr(recipe, name) != getattr(usual, name)]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise UsageError(f"--probe trains no layer by steps, and takes no {options}; leave it out, or --probe")
    if recipe.balance == "sampling":
        raise UsageError("--probe takes every image once; for classes of unequal size give --balance weights")


def _begin(recipe: Recipe) -> Begun:
    network, card = load(recipe.init or OWN)
    if recipe.init in (None, OWN):
        card = _for_photos(card)
    if recipe.network not in ("modern", card.network):
        raise UsageError(f"--network {recipe.network}, but {recipe.init} is of {card.network}; leave --network out")
    stages = list(network.stages())
    if not isinstance(stages[-1][1], nn.Linear):
        raise UsageError(f"{card.network} does not end in a dense layer, so nothing can be fitted; take another")
    return Begun(network, card, stages[-2][0], Preprocessing.from_json(card.preprocessing))


def _for_photos(card: Card) -> Card:
    """The card of the package's weights, which come from images of 64 px, for photos: stored and shown larger."""
    size = {"input_size": Modern.input_size, "resize": Modern.resize, "store_size": Form().size}
    return dataclasses.replace(card, input_size=Modern.input_size, preprocessing={**card.preprocessing, **size})


def _store(data: Data, recipe: Recipe, preprocessing: Preprocessing) -> Store:
    """The data in the form that the network was trained with, or that the recipe names."""

    def look(source: Source) -> None:
        check_classes(source)
        labels = np.array([sample.label for sample in source.samples])
        given = np.array([sample.split for sample in source.samples])
        split(labels, given, source.class_names, source.fractions, recipe)

    form = preprocessing.form
    with bar("packing") as packing:
        store = named_store(
            data,
            size=recipe.store_size or form.size,
            fit=recipe.fit or form.fit,
            value_range=form.value_range if recipe.value_range is None else recipe.values,
            exact=form.exact if recipe.exact is None else recipe.exact,
            progress=packing,
            max_bad=recipe.max_bad,
            look=look,
        )
    store.warn_of_extent()
    return distinct(store, recipe)


def _refuse_missing(store: Store, train: NDArray[np.int64]) -> None:
    """DataError where a class has no training image."""
    counts = np.bincount(store.labels[train], minlength=len(store.class_names))
    if not counts.all():
        name = store.class_names[int(counts.argmin())]
        raise DataError(f"class {name!r} has no image to train on; give it some, or leave the class out")


def _features(
    begun: Begun, store: Store, rows: NDArray[np.int64], device: torch.device, dtype: torch.dtype
) -> NDArray[np.float32]:
    """float32 (len(store), D): what enters the last layer; 0 for images that are in no part."""
    network = begun.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = (network, begun.preprocessing, store, [begun.layer], "none", device, dtype, rows)
    with bar("features") as progress:
        found = torch.cat([batch[begun.layer] for batch in of_store(*parts, progress=progress)]).numpy()
    features = np.zeros((len(store), found.shape[1]), np.float32)
    features[rows] = found
    return features


def _with_layer(
    begun: Begun, store: Store, choice: Choice, recipe: Recipe, parts: dict[str, NDArray[np.int64]]
) -> tuple[Network, Card]:
    """The network whose last layer is the logistic regression, and its card."""
    card, classes = begun.card, len(store.class_names)
    network = create(card.network, classes, card.input_size, **card.differences)
    tensors = {name: tensor.cpu() for name, tensor in begun.network.state_dict().items()}
    last = list(network.stage_tensors().values())[-1]
    values = {"weight": torch.from_numpy(choice.weights), "bias": torch.from_numpy(choice.biases)}
    tensors |= {name: values[name.rpartition(".")[2]] for name in last}
    fill(network, tensors, "the logistic regression")
    form: dict[str, Any] = {"store_size": store.size, "fit": store.fit, "value_range": store.value_range}
    training = {"data": store.name, "recipe": dataclasses.asdict(recipe), "epoch": 1}
    return network.eval(), dataclasses.replace(
        card,
        num_classes=classes,
        class_names=list(store.class_names),
        preprocessing=dataclasses.replace(begun.preprocessing, **form).to_json(),
        training={**training, "images": {part: len(parts[part]) for part in PARTS}},
        calibration=None,
    )


def _neighbours(
    features: NDArray[np.float32], labels: NDArray[np.int64], base: NDArray[np.int64], queries: NDArray[np.int64]
) -> float:
    """Top-1 of the nearest training image's class, by the Euclidean distance of features."""
    known, right = torch.from_numpy(features[base]), 0
    for start in range(0, len(queries), QUERIES):
        asked = queries[start : start + QUERIES]
        found = nearest(torch.from_numpy(features[asked]), known, 1)[0][:, 0].numpy()
        right += int((labels[base[found]] == labels[asked]).sum())
    return right / len(queries)


def _write_begin(
    folder: Path,
    data: Data,
    store: Store,
    recipe: Recipe,
    begun: Begun,
    splits: NDArray[np.str_],
    found: dict[str, Any],
) -> None:
    """config.json, split.csv and samples.png."""
    from alexnet.plots import pictures  # matplotlib takes half a second to import

    own = {name: value for name, value in begun.card.differences.items() if name != "dropout"}
    recipe = dataclasses.replace(
        recipe,
        network=begun.card.network,
        input_size=begun.card.input_size,
        resize=begun.preprocessing.resize,
        differences=",".join(f"{name}={value}" for name, value in own.items()),
        dropout=begun.card.differences.get("dropout"),
    )
    run, kept = RunFolder(folder), list(begun.network.stage_tensors())[:-1]
    config = Config(
        kind="train",
        data=recorded_name(data),
        fingerprint=store.fingerprint,
        recipe=dataclasses.asdict(recipe),
        initialised=kept,
        environment=found,
    )
    run.write_config(config)
    names, rows = store.class_names, np.flatnonzero(splits != "").tolist()
    of_row = (SplitRow(store.paths[row], names[store.labels[row]], splits[row], store.digests[row]) for row in rows)
    run.write_split(of_row)
    shown = np.flatnonzero(splits == "train")[:SHOWN]
    views, titles = begun.preprocessing.views(store.mapped(shown)), [names[label] for label in store.labels[shown]]
    pictures.samples(views, begun.preprocessing.mean, begun.preprocessing.std, titles, folder / "samples.png")


def _write_end(
    folder: Path, store: Store, rows: NDArray[np.int64], chances: torch.Tensor, told: dict[str, Any]
) -> None:
    """predictions.csv, confusion.png, metrics.csv, and metrics.json, which marks the run as finished."""
    from alexnet.plots import pictures

    names = [store.paths[row] for row in rows]
    write_predictions(folder / "predictions.csv", names, store.labels[rows], chances, store.class_names)
    pictures.confusion(told["confusion"], store.class_names, folder / "confusion.png")
    run, part = RunFolder(folder), told["split"]
    run.write_epochs([{"epoch": 1, f"{part}_top1": told["top1"], f"{part}_macro_f1": told["macro_f1"]}])
    run.write_metrics(told)


def _tell(part: str, found: dict[str, Any], choice: Choice, near: float | None, seconds: float) -> None:
    low, high = found["interval"]
    fitted = {"train": "; these images were fitted, so this says little about new ones"}
    chose = "; validation also chose C, so this is a little too good"
    logger.info(
        "%s: top-1 %s (95 %% interval %s to %s)%s, macro-F1 %s; %.1f seconds; %s%s",
        *(part, *(f"{share:.2%}" for share in (found["top1"], low, high)), top5_told(found)),
        *(f"{found['macro_f1']:.2%}", seconds, choice.told),
        chose if part == choice.chosen_on else fitted.get(part, ""),
    )
    if near is not None:
        logger.info(
            "the nearest training image in these features has the right class for %s of %s", f"{near:.2%}", part
        )
