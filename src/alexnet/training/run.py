"""A run from its first line to its last: data, folder, training, final evaluation, pictures."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from alexnet.data.augment import Augmentation
from alexnet.data.loader import Loader, check_batch
from alexnet.data.packed import Store, named_store
from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import KNOWN, Source, assign_splits, check_classes
from alexnet.device import pick_device, pick_precision
from alexnet.errors import DataError, Interrupted, UsageError
from alexnet.evaluation.metrics import metrics, top5_told
from alexnet.evaluation.table import write_predictions
from alexnet.files import held, write_csv, write_json
from alexnet.memory import reuse_memory
from alexnet.networks import create
from alexnet.networks.layers import Network, Undrawn
from alexnet.training.checkpoint import FILE, Progress, load_checkpoint
from alexnet.training.environment import environment
from alexnet.training.folder import COMPARED, new_folder, read_config
from alexnet.training.initial import begin_from, freeze, frozen, look_into
from alexnet.training.loop import Run, fit, part_probabilities, stop_signal, train_size
from alexnet.training.optimizer import Adam, Momentum, build_optimizer, parameter_groups
from alexnet.training.recipes import Recipe, from_json
from alexnet.training.report import bar, say
from alexnet.training.working import WorkingWeights
from alexnet.weights.card import BEST, Card, load, save

PARTS = ("train", "val", "test")
SHOWN = 16  # images in samples.png

R = TypeVar("R", bound=Run)


def train(data: str, recipe: Recipe, out: Path | None = None) -> Path:
    """Train by `recipe` on the data called `data` and return the run's folder.

    data: as for `alexnet.data.packed.named_store`. out: the run's folder; a new runs/<data>-<network>-<n>/ without it.
    A folder that holds something already is left alone and the next free name beside it is taken. What can be refused
    is refused before images are read, and nothing is written until all settings hold.
    """
    if recipe.tensorboard:
        summary_writer()
    with Undrawn():  # only to refuse wrong settings
        network = create(recipe.network, 2, recipe.input_size, **recipe.network_differences)
        freeze(network, recipe.freeze)
        parameter_groups(network, recipe)
    if recipe.init is not None:
        begins = str(Path(recipe.init).expanduser().absolute())
        look_into(begins, recipe.network)
        recipe = dataclasses.replace(recipe, init=begins)
    with bar("packing") as packing:
        store = named_store(
            data,
            recipe.split_seed,
            recipe.store_size,
            packing,
            recipe.max_bad,
            look=lambda source: look(source, recipe),
        )
    run = build(store, recipe)
    folder = new_folder(out or Path("runs") / f"{store.name}-{recipe.network}", numbered=out is None)
    config = {
        "data": absolute(data),
        "fingerprint": store.fingerprint,
        "recipe": dataclasses.asdict(recipe),
        "initialised": run.initialised,
        **environment(run.device, run.dtype),
    }
    write_json(folder / "config.json", config)
    return go(run, folder, start, keep, log, finish)


def resume(folder: Path, device: str | None = None, workers: int | None = None) -> Path:
    """Go on with the run in `folder` from its last checkpoint, to the weights of an unbroken run.

    device, workers: others than the run's own. What computes must be the same for weights that are equal to the bit.
    """
    config = read_config(folder)
    if "pretraining" in config:
        raise UsageError(f"{folder} is a run of alexnet pretrain; go on with it by: alexnet pretrain --resume {folder}")
    recipe = from_json(config["recipe"])
    workers = recipe.workers if workers is None else workers
    recipe = dataclasses.replace(recipe, device=device or recipe.device, workers=workers)
    with bar("packing") as packing:
        store = named_store(config["data"], recipe.split_seed, recipe.store_size, packing, recipe.max_bad)
    unchanged(store, config, folder)
    # Once there is a checkpoint, the file that the run began from may be gone.
    run = build(store, recipe, config.get("initialised", []) if (folder / FILE).is_file() else None)
    say_what_differs(config, run)
    return go(run, folder, start, keep, log, finish)


def say_what_differs(config: dict[str, Any], run: Run) -> None:
    """Say what of that which computes is another than when the run began."""
    now = environment(run.device, run.dtype)
    for name in COMPARED:
        if config[name] != now[name]:
            say(f"the run began with {name} {config[name]}, now {now[name]}: weights will differ in their last bits")


def unchanged(store: Store, config: dict[str, Any], folder: Path) -> None:
    """DataError where the store does not hold the data that the run in `folder` began with."""
    if store.fingerprint != config["fingerprint"]:
        raise DataError(
            f"the data {config['data']} has changed since the run {folder} began; put it back as it was, or start anew"
        )


def go(
    run: R,
    folder: Path,
    start: Callable[[R], Progress],
    keep: Callable[[R, Progress], None],
    log: Callable[[R, Progress], None],
    finish: Callable[[R, Progress], None],
) -> Path:
    """Train in `folder` from its checkpoint, or from the start, and finish.

    start: writes what stands before the first step; keep, log: as for `fit`; finish: writes what the run came to.
    """
    reuse_memory()
    run.folder = folder
    with held(folder), stop_signal() as stopped:
        progress = load_checkpoint(folder, run.network, run.average, run.optimizer)
        run.working.refresh()
        if progress is None:
            progress = start(run)
        else:
            say(f"going on after {progress.epoch} of {run.recipe.epochs} epochs and {progress.step} steps")
        fit(run, progress, stopped, keep, log)
        finish(run, progress)
        if stopped.is_set():
            raise Interrupted(f"interrupted, but the run is finished: {folder}")
    return folder


def look(source: Source, recipe: Recipe) -> None:
    """Refuse, before any image is read, data that cannot be trained on by this recipe."""
    check_classes(source)
    labels = np.array([sample.label for sample in source.samples])
    given = np.array([sample.split for sample in source.samples])
    splits = split(labels, given, source.class_names, source.fractions, recipe)
    check_batch(int((splits == "train").sum()), recipe.batch_size)


def build_network(recipe: Recipe, num_classes: int) -> Network:
    """The recipe's network with its first weights, a function of the recipe's seed."""
    torch.manual_seed(recipe.seed)
    return create(recipe.network, num_classes, recipe.input_size, **recipe.network_differences)


def build(store: Store, recipe: Recipe, initialised: list[str] | None = None) -> Run:
    """Everything the run works with, as a function of its data and its recipe; nothing is written.

    initialised: the layers that were taken from the recipe's `init`, where a checkpoint is to fill them; None to take
    them from that file now.
    """
    device = pick_device(recipe.device)
    dtype = pick_precision(recipe.precision, device)
    network = build_network(recipe, len(store.class_names))
    if initialised is None:
        initialised = begin_from(network, recipe.init, store.class_names) if recipe.init is not None else []
    freeze(network, recipe.freeze)
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
        dtype=dtype,
    )
    if recipe.batch_size == 1 and any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise UsageError(f"batch size 1 leaves {recipe.network}'s BatchNorm nothing to average; take --batch-size 2")
    weights = (
        class_weights(store.labels[parts["train"]], len(store.class_names)) if recipe.balance == "weights" else None
    )
    slow = [parameter for name, stage in network.stages() if name in initialised for parameter in stage.parameters()]
    working, optimizer = WorkingWeights(network, device, dtype), build_optimizer(network, recipe, slow)
    if isinstance(optimizer, (Momentum, Adam)):
        optimizer.copies = working.copies
    return Run(
        recipe=recipe,
        loader=loader,
        parts=parts,
        network=network,
        working=working,
        average=copy.deepcopy(network) if recipe.ema else None,
        optimizer=optimizer,
        device=device,
        dtype=dtype,
        class_weights=None if weights is None else weights.to(device),
        initialised=initialised,
    )


def start(run: Run) -> Progress:
    """Write what stands before the first step: split.csv and samples.png."""
    from alexnet.explain import pictures  # matplotlib: a run can be built and stepped without it

    store, parts = run.loader.store, run.parts
    say(
        f"{run.recipe.network} on {store.name}: {', '.join(f'{len(parts[part])} {part}' for part in PARTS)} images, "
        f"{len(store.class_names)} classes; {run.device}, {str(run.dtype).removeprefix('torch.')}; folder {run.folder}"
    )
    if run.recipe.freeze:
        say(f"frozen: {', '.join(frozen(run.network))}")
    part_of = {int(row): part for part in PARTS for row in parts[part]}
    names = store.class_names
    rows = ((store.paths[row], names[store.labels[row]], part_of[row]) for row in sorted(part_of))
    write_csv(run.folder / "split.csv", ("path", "label", "split"), rows)
    batch = next(run.loader.batches(0, size=train_size(run, 0)))
    preprocessing = run.loader.preprocessing
    titles = [pictures.shares_title(shares, names) for shares in batch.targets[:SHOWN].tolist()]
    pictures.samples(
        batch.images[:SHOWN].float().cpu(), preprocessing.mean, preprocessing.std, titles, run.folder / "samples.png"
    )
    return Progress()


def keep(run: Run, progress: Progress) -> None:
    """Write the weights that the run is known by, with their card."""
    recipe, store = run.recipe, run.loader.store
    card = Card(
        network=recipe.network,
        num_classes=len(store.class_names),
        input_size=run.loader.preprocessing.input_size,
        differences=recipe.network_differences,
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
    """Write metrics.csv and, on request, the last row as TensorBoard events."""
    write_rows(run.folder, progress)
    if run.recipe.tensorboard:
        with summary_writer()(str(run.folder / "tensorboard")) as writer:
            for name, value in progress.rows[-1].items():
                writer.add_scalar(name, value, progress.epoch)


def write_rows(folder: Path, progress: Progress) -> None:
    """Write metrics.csv, whole, from all rows so far."""
    columns = list(dict.fromkeys(key for row in progress.rows for key in row))
    write_csv(folder / "metrics.csv", columns, ([row.get(column, "") for column in columns] for row in progress.rows))


def summary_writer() -> Any:
    """TensorBoard's writer of events, a class that takes a folder."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("tensorboard is not installed; install it with: pip install tensorboard") from error
    return SummaryWriter


def finish(run: Run, progress: Progress) -> None:
    """The final evaluation of the kept weights and the pictures: on test, or validation, or else the training part."""
    from alexnet.explain import pictures

    write_rows(run.folder, progress)  # the run may have been killed between its last checkpoint and the rows
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
        "chosen_on": "val" if len(run.parts["val"]) else None,  # the part that chose the epoch
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
        f"{part}: top-1 {found['top1']:.2%} (95 % interval {low:.2%} to {high:.2%}){top5_told(found)}, "
        f"macro-F1 {found['macro_f1']:.2%}; {progress.seconds / 60:.1f} minutes"
        + ("; validation also chose the epoch, so this is a little too good" if part == "val" else "")
    )


def split(
    labels: NDArray[np.int64],
    given: NDArray[np.str_],
    class_names: Sequence[str],
    fractions: tuple[float, float],
    recipe: Recipe,
) -> NDArray[np.str_]:
    """The part of each image, "train", "val" or "test": as the data gives it, unless the recipe sets a share for it.

    A share above 0 takes the place of the part that the data gives; 0 only means that none is taken off. Without
    `given_splits` the shares alone decide.
    """
    val = fractions[0] if recipe.validation is None else recipe.validation
    test = fractions[1] if recipe.test is None else recipe.test
    given = given.copy() if recipe.given_splits else np.full_like(given, "")
    given[(given == "val") & bool(recipe.validation)] = ""
    given[(given == "test") & bool(recipe.test)] = ""
    splits = assign_splits(labels.tolist(), given.tolist(), class_names, recipe.split_seed, val, test)
    return splits if recipe.train_images is None else _few(splits, labels, recipe.train_images, recipe.split_seed)


def _few(splits: NDArray[np.str_], labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.str_]:
    """The splits with at most `count` training images of each class, drawn by the seed; the others are in no part.

    More of them are a superset of fewer: the draw puts each class in an order, of which the first are taken.
    """
    splits, order = splits.copy(), np.random.default_rng([seed, 1]).permutation(len(labels))
    for label in np.unique(labels):
        splits[order[(labels[order] == label) & (splits[order] == "train")][count:]] = ""
    return splits


def preprocessing_of(network: Network, recipe: Recipe, store_size: int) -> Preprocessing:
    """The network's own constants at the recipe's sizes; without a resize, in the network's own proportion."""
    size = network.input_size
    resize = recipe.resize or round(size * network.resize / type(network).input_size)
    return Preprocessing(size, resize, network.mean, network.std, store_size)


def augmentation_of(recipe: Recipe) -> Augmentation:
    """The recipe's augmentation settings."""
    settings = {name.name: getattr(recipe, name.name) for name in dataclasses.fields(Augmentation)[1:]}
    return Augmentation(recipe.augmentations, **settings)


def workers_of(recipe: Recipe, device: torch.device) -> int:
    """Threads that prepare batches: beside a GPU two; beside the processor they would take its cores from the step."""
    if recipe.workers is not None:
        return recipe.workers
    return 2 if device.type == "cuda" else 0


def class_weights(labels: NDArray[np.int64], num_classes: int) -> Tensor:
    """float32 (K,): weights inversely proportional to the classes' images, with mean 1 over the images."""
    counts = np.bincount(labels, minlength=num_classes)
    return torch.tensor(len(labels) / (num_classes * np.maximum(counts, 1)), dtype=torch.float32)


def absolute(data: str) -> str:
    """The data's name in a form that holds from any folder: paths are made absolute."""
    kind, colon, path = data.partition(":")
    if colon and Path(path).exists():
        return f"{kind}:{Path(path).absolute()}"
    return str(Path(data).absolute()) if Path(data).exists() and data not in KNOWN else data
