"""A run from its first line to its last: data, folder, training, final evaluation, pictures."""

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.augment import Augmentation
from alexnet.data.loader import Loader
from alexnet.data.packed import Store, packed
from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import KNOWN, assign_splits, check_classes, open_source
from alexnet.device import pick_device, pick_precision
from alexnet.errors import DataError, UsageError
from alexnet.evaluation.metrics import metrics
from alexnet.evaluation.table import write_predictions
from alexnet.explain import pictures
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.training.checkpoint import Progress, load_checkpoint
from alexnet.training.environment import environment
from alexnet.training.folder import new_folder, read_config, write_csv, write_json
from alexnet.training.loop import Run, fit, part_probabilities, train_size
from alexnet.training.optimizer import build_optimizer
from alexnet.training.recipes import Recipe, from_json
from alexnet.training.report import say
from alexnet.weights.card import BEST, Card, load, save

PARTS = ("train", "val", "test")
SHOWN = 16  # images in samples.png


def train(data: str, recipe: Recipe, out: Path | None = None) -> Path:
    """Train by `recipe` on the data called `data` and return the run's folder.

    out: the run's folder; a new runs/<data>-<network>-<n>/ without it. A folder that holds something already is left
    alone and the next free name beside it is taken.
    """
    source = open_source(data, recipe.split_seed)
    check_classes(source)
    device = pick_device(recipe.device)
    network = build_network(recipe, len(source.class_names))  # a wrong setting is told before anything is written
    store = packed(source)
    run = build(store, recipe, network)
    folder = new_folder(out or Path("runs") / f"{source.name}-{recipe.network}", numbered=out is None)
    config = {
        "data": _absolute(data),
        "fingerprint": store.fingerprint,
        "recipe": dataclasses.asdict(recipe),
        **environment(device),
    }
    write_json(folder / "config.json", config)
    return _go(run, folder)


def resume(folder: Path) -> Path:
    """Go on with the run in `folder` from its last checkpoint, to the weights of an unbroken run."""
    config = read_config(folder)
    recipe = from_json(config["recipe"])
    store = packed(open_source(config["data"], recipe.split_seed))
    if store.fingerprint != config["fingerprint"]:
        raise DataError(
            f"the data {config['data']} has changed since the run {folder} began; put it back as it was, or start anew"
        )
    if config["threads"] != torch.get_num_threads():
        say(
            f"the run began with {config['threads']} threads and goes on with {torch.get_num_threads()}: "
            f"its weights will differ in the last bits"
        )
    return _go(build(store, recipe, build_network(recipe, len(store.class_names))), folder)


def _go(run: Run, folder: Path) -> Path:
    """Train in `folder` from its checkpoint, or from the start, and finish."""
    run.folder = folder
    progress = load_checkpoint(folder, run.network, run.average, run.optimizer) or start(run)
    fit(run, progress, keep, log)
    finish(run, progress)
    return folder


def build_network(recipe: Recipe, num_classes: int) -> Network:
    """The recipe's network with its first weights, a function of the recipe's seed."""
    torch.manual_seed(recipe.seed)
    return create(recipe.network, num_classes, recipe.input_size, **_differences(recipe))


def build(store: Store, recipe: Recipe, network: Network) -> Run:
    """Everything the run works with; nothing is written and nothing random is drawn."""
    device = pick_device(recipe.device)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    splits = split(store.labels, store.splits, store.class_names, store.fractions, recipe)
    parts = {part: np.flatnonzero(splits == part) for part in PARTS}
    loader = Loader(
        store,
        parts["train"],
        recipe.batch_size,
        preprocessing_of(network, recipe, store.size),
        augmentation_of(recipe),
        seed=recipe.seed,
        balanced=recipe.balance == "sampling",
        workers=workers_of(recipe, device),
        device=device,
    )
    weights = (
        class_weights(store.labels[parts["train"]], len(store.class_names)) if recipe.balance == "weights" else None
    )
    return Run(
        recipe=recipe,
        loader=loader,
        parts=parts,
        network=network,
        average=copy.deepcopy(network) if recipe.ema else None,
        optimizer=build_optimizer(network, recipe),
        device=device,
        dtype=pick_precision(recipe.precision, device),
        class_weights=None if weights is None else weights.to(device),
    )


def start(run: Run) -> Progress:
    """Write what stands before the first step: split.csv and samples.png."""
    store, parts = run.loader.store, run.parts
    say(
        f"{run.recipe.network} on {store.name}: {', '.join(f'{len(parts[part])} {part}' for part in PARTS)} images, "
        f"{len(store.class_names)} classes; {run.device}, {str(run.dtype).removeprefix('torch.')}; folder {run.folder}"
    )
    part_of = {int(row): part for part in PARTS for row in parts[part]}
    names = store.class_names
    rows = ((store.paths[row], names[store.labels[row]], part_of[row]) for row in sorted(part_of))
    write_csv(run.folder / "split.csv", ("path", "label", "split"), rows)
    shown = run.loader.order(0)[: min(SHOWN, run.recipe.batch_size)]
    batch = run.loader.batch(shown, 0, 0, train_size(run, 0))
    preprocessing = run.loader.preprocessing
    titles = [names[label] for label in batch.labels.tolist()]
    pictures.samples(batch.images.cpu(), preprocessing.mean, preprocessing.std, titles, run.folder / "samples.png")
    return Progress()


def keep(run: Run, progress: Progress) -> None:
    """Write the weights that the run is known by, with their card."""
    recipe, store = run.recipe, run.loader.store
    card = Card(
        network=recipe.network,
        num_classes=len(store.class_names),
        input_size=run.loader.preprocessing.input_size,
        differences=_differences(recipe),
        class_names=list(store.class_names),
        preprocessing=run.loader.preprocessing.to_json(),
        training={
            "data": store.name,
            "recipe": dataclasses.asdict(recipe),
            "epoch": progress.epoch,
            "images": {part: len(run.parts[part]) for part in PARTS},
        },
    )
    save(run.folder / BEST, run.kept, card)


def log(run: Run, progress: Progress) -> None:
    """Write metrics.csv, whole, from all rows so far, and on request the last row as TensorBoard events."""
    columns = list(dict.fromkeys(key for row in progress.rows for key in row))
    rows = ([row.get(column, "") for column in columns] for row in progress.rows)
    write_csv(run.folder / "metrics.csv", columns, rows)
    if run.recipe.tensorboard:
        with events(run.folder) as writer:
            for name, value in progress.rows[-1].items():
                writer.add_scalar(name, value, progress.epoch)


def events(folder: Path) -> Any:
    """A TensorBoard writer into the run's folder."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("tensorboard is not installed; install it with: pip install 'alexnet[tensorboard]'") from error
    return SummaryWriter(str(folder / "tensorboard"))


def finish(run: Run, progress: Progress) -> None:
    """The final evaluation of the kept weights and the pictures: on test, or validation, or else the training part."""
    part = next(part for part in ("test", "val", "train") if len(run.parts[part]))
    kept, _ = load(run.folder / BEST)
    run.kept.load_state_dict(kept.state_dict())
    rows, store = run.parts[part], run.loader.store
    chances = part_probabilities(run, rows)
    labels = store.labels[rows]
    found = metrics(chances, labels, store.class_names)
    speeds = [row["images_per_second"] for row in progress.rows]
    summary = {
        "split": part,
        "views": 1,
        **found,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": progress.seconds,
        "images_per_second": float(np.median(speeds)),
    }
    names = [store.paths[row] for row in rows]
    write_predictions(run.folder / "predictions.csv", names, labels, chances, store.class_names)
    pictures.confusion(found["confusion"], store.class_names, run.folder / "confusion.png")
    pictures.curves(progress.rows, run.folder / "curves.png")
    write_json(run.folder / "metrics.json", summary)
    low, high = found["interval"]
    say(
        f"{part}: top-1 {found['top1']:.2%} (95 % interval {low:.2%} to {high:.2%}), top-5 {found['top5']:.2%}, "
        f"macro-F1 {found['macro_f1']:.2%}; {progress.seconds / 60:.1f} minutes"
    )


def split(
    labels: NDArray[np.int64],
    given: NDArray[np.str_],
    class_names: Sequence[str],
    fractions: tuple[float, float],
    recipe: Recipe,
) -> NDArray[np.str_]:
    """The part of each image, "train", "val" or "test": as the data gives it, unless the recipe sets shares."""
    val = fractions[0] if recipe.validation is None else recipe.validation
    test = fractions[1] if recipe.test is None else recipe.test
    if recipe.validation is not None or recipe.test is not None:
        given = np.full(len(labels), "")
    return assign_splits(labels.tolist(), given.tolist(), class_names, recipe.split_seed, val, test)


def preprocessing_of(network: Network, recipe: Recipe, store_size: int) -> Preprocessing:
    """The network's own constants at the recipe's sizes; without a resize, in the proportion 256 : 224."""
    size = network.input_size
    resize = recipe.resize or round(size * 256 / 224)
    return Preprocessing(size, resize, network.mean, network.std, store_size)


def augmentation_of(recipe: Recipe) -> Augmentation:
    """The recipe's augmentation settings."""
    settings = {name.name: getattr(recipe, name.name) for name in dataclasses.fields(Augmentation)[1:]}
    return Augmentation(recipe.augmentations, **settings)


def workers_of(recipe: Recipe, device: torch.device) -> int:
    """Threads that prepare batches. Where the processor trains, they would only take its cores from the step."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if device.type == "cpu" else 2


def class_weights(labels: NDArray[np.int64], num_classes: int) -> Tensor:
    """float32 (K,): weights inversely proportional to the classes' images, with mean 1 over the images."""
    counts = np.bincount(labels, minlength=num_classes)
    return torch.tensor(len(labels) / (num_classes * np.maximum(counts, 1)), dtype=torch.float32)


def _differences(recipe: Recipe) -> dict[str, Any]:
    return {} if recipe.dropout is None else {"dropout": recipe.dropout}


def _absolute(data: str) -> str:
    """The data's name in a form that holds from any folder: paths are made absolute."""
    kind, colon, path = data.partition(":")
    if colon and Path(path).exists():
        return f"{kind}:{Path(path).absolute()}"
    return str(Path(data).absolute()) if Path(data).exists() and data not in KNOWN else data
