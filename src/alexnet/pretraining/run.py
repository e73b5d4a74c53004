"""A pre-training run from its first line to its last: layer after layer, then the weights and the pictures.

The loop, its progress, checkpoints and interrupts are those of training. An epoch of the run is one of the layer that
is under way; its trainer is a child of the network while it learns, so that a checkpoint holds both. Labels are read
for one thing alone: to divide labelled data as `alexnet train` does, so that no image that judges is learned from.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from alexnet.console import bar, say
from alexnet.data.loader import Batch, Loader, check_batch
from alexnet.data.sources import Source, open_images
from alexnet.data.store.joined import join, without_twins
from alexnet.data.store.packed import Store, named_store
from alexnet.device import autocast, pick_device, pick_precision
from alexnet.errors import DataError, Diverged, UsageError
from alexnet.files import whole_file, write_csv, write_json
from alexnet.networks import create
from alexnet.networks.layers import Undrawn, evaluating
from alexnet.plots import pictures
from alexnet.plots import pretraining as drawn
from alexnet.pretraining.autoencoder import AutoEncoder, constant_error
from alexnet.pretraining.crbm import CRBM, EARLY_EPOCHS, EARLY_MOMENTUM, sigma_at
from alexnet.pretraining.cut import Layer, chosen, cut, without_dense
from alexnet.pretraining.settings import Settings, from_json
from alexnet.runs.checkpoint import Progress, read_progress
from alexnet.runs.environment import environment
from alexnet.runs.folder import new_folder, read_config
from alexnet.training.initial import training_mode
from alexnet.training.loop import Run
from alexnet.training.optimizer import Adam, Momentum, build_optimizer, learning_rate, set_learning_rate
from alexnet.training.run import (
    PARTS,
    SHOWN,
    absolute,
    augmentation_of,
    go,
    preprocessing_of,
    say_what_differs,
    split,
    unchanged,
    workers_of,
    write_rows,
)
from alexnet.training.settings import Recipe
from alexnet.training.settings import from_json as recipe_from_json
from alexnet.training.working import WorkingWeights
from alexnet.weights.card import BEST, Card, save

CHILD = "trainer"  # the network's child that learns
PROBE = 64  # images that scales are measured on
MEASURED = 512  # held-out images, at most, that errors are measured on
CALIBRATED = 1024  # images, at most, that a BatchNorm takes its statistics from
FILTERS = "filters"  # the folder of the first layer's filters as they were

Trainer = AutoEncoder | CRBM


def pretrain(data: str, settings: Settings, out: Path | None = None) -> Path:
    """Pre-train a network's convolutions on the images called `data` and return the run's folder.

    data: as for `alexnet.training.run.train`, or a folder of images without classes. out: as there. What can be refused
    is refused before images are read.
    """
    with Undrawn():  # only to refuse wrong settings
        chosen(cut(create(settings.network, None, settings.input_size)), settings.layers)
    settings = dataclasses.replace(settings, also=",".join(absolute(name) for name in settings.more))
    stores = open_all(data, settings, look)
    run = build(stores, settings)
    place = Path("runs") / f"{stores[0].name}-{settings.network}-{settings.method}"
    folder = new_folder(out or place, numbered=out is None)
    config = {
        "data": absolute(data),
        "fingerprint": run.loader.store.fingerprint,
        "pretraining": dataclasses.asdict(settings),
        "recipe": dataclasses.asdict(run.recipe),
        **environment(run.device, run.dtype),
    }
    write_json(folder / "config.json", config)
    return go(run, folder, start, keep, log, finish)


def resume(folder: Path, device: str | None = None, workers: int | None = None) -> Path:
    """Go on with the pre-training in `folder` from its last checkpoint, to the weights of an unbroken run."""
    config = read_config(folder)
    if "pretraining" not in config:
        raise UsageError(f"{folder} is a run of alexnet train; go on with it by: alexnet train --resume {folder}")
    settings = from_json(config["pretraining"])
    workers = settings.workers if workers is None else workers
    settings = dataclasses.replace(settings, device=device or settings.device, workers=workers)
    stores = open_all(config["data"], settings)
    unchanged(join(stores), config, folder)
    run = build(stores, settings, _number_at(read_progress(folder), settings))
    _refuse_other_defaults(config["recipe"], run.recipe, folder)
    say_what_differs(config, run)
    return go(run, folder, start, keep, log, finish)


def _refuse_other_defaults(began: dict[str, Any], recipe: Recipe, folder: Path) -> None:
    """UsageError where a setting that the run left open is another in this version than in the one it began with."""
    now = dataclasses.asdict(recipe)
    for name, value in dataclasses.asdict(recipe_from_json(began)).items():
        if name not in ("device", "workers") and now[name] != value:
            raise UsageError(
                f"the run {folder} began with {name} {value}, for which this version takes {now[name]}; start anew"
            )


def _number_at(progress: Progress | None, settings: Settings) -> int:
    """The number of the layer whose trainer a checkpoint holds: at an epoch's end still that of this epoch."""
    if progress is None:
        return 0
    epoch = progress.epoch if progress.step else max(0, progress.epoch - 1)
    return epoch // settings.epochs


@dataclass(kw_only=True)
class Pretraining(Run):
    """A run whose steps train one convolution after the other, without labels."""

    settings: Settings
    layers: list[Layer]  # those that are trained, in their order
    trainer: Trainer
    number: int  # of the layer under way

    command = "pretrain"
    counted = "units on"

    @property
    def layer(self) -> Layer:
        """The layer under way."""
        return self.layers[self.number]

    @property
    def watched(self) -> None:
        """No part is looked at in training's way, which needs labels; `row` measures."""

    @property
    def measured(self) -> str:
        """The part that errors are measured on: validation, or else test, or where nothing is kept aside, training."""
        return next((part for part in ("val", "test") if len(self.parts[part])), "train")

    def begin(self, epoch: int) -> None:
        """Go on to the next layer where this epoch is its first."""
        number = epoch // self.settings.epochs
        if number != self.number:
            self.complete()
            self.number = number
            self.trainer, self.working, self.optimizer = learner(self.settings, self.network, self.layer, self.loader)
        training_mode(self.network)

    def size(self, epoch: int) -> int:
        """Pixels a side of this epoch's images."""
        return self.loader.preprocessing.input_size

    def take(self, batch: Batch, epoch: int, step: int) -> tuple[float, float]:
        """One step: the squared error a value, and the share of units that are on, times the images."""
        taken = epoch * len(self.loader) + step
        torch.manual_seed(self.settings.seed * 2**32 + taken)  # noise and samples are functions of (seed, step)
        self._schedule(taken - self.number * self.settings.epochs * len(self.loader))
        told = self.working.logits(self.prepared(batch.images))
        loss, error, on = told.tolist()
        if not math.isfinite(loss + error):
            raise Diverged(
                f"what {self.layer.name} minimises is {loss}, its error {error}, at epoch {epoch + 1}, step {step + 1};"
                f" try a lower --lr, or --precision float32; what was saved before is in {self.folder}"
            )
        self.working.backward(told[0])
        self.working.step(self.optimizer)
        return error, on * self.recipe.batch_size

    def _schedule(self, step: int) -> None:
        """Set what changes from step to step of a layer."""
        settings, epoch = self.settings, step / len(self.loader)
        set_learning_rate(self.optimizer, learning_rate(settings.recipe(1), epoch))
        if isinstance(self.trainer, CRBM):
            self.trainer.sigma.fill_(sigma_at(step, settings.sigma, settings.sigma_last, settings.sigma_decay))
            for group in self.optimizer.param_groups:
                group["momentum"] = EARLY_MOMENTUM if epoch < EARLY_EPOCHS else self.recipe.momentum

    @torch.no_grad()
    def prepared(self, images: Tensor) -> Tensor:
        """Network inputs (N, 3, H, W) to what the trainer takes, float32."""
        with autocast(self.device, self.dtype):
            inputs = self.layer.inputs(images)
        return self.trainer.prepare(inputs)

    def row(self, progress: Progress, speed: float) -> dict[str, Any]:
        """The row of metrics.csv for the epoch whose steps are all taken. Errors are those of held-out images."""
        steps, within = len(self.loader), progress.epoch - self.number * self.settings.epochs
        error, constant, on = self.measure()
        return {
            "epoch": progress.epoch + 1,
            "layer": self.layer.name,
            "layer_epoch": within + 1,
            "lr": learning_rate(self.settings.recipe(1), within + (steps - 1) / steps),
            "train_loss": progress.loss_sum / steps,
            "train_on": progress.correct / (steps * self.recipe.batch_size),
            "error": error,
            "constant_error": constant,
            "on": on,
            "images_per_second": speed,
        }

    @torch.no_grad()
    def measure(self) -> tuple[float, float, float]:
        """On held-out images: the squared error a value, that of predicting each channel's mean, the share of units on.

        An auto-encoder sees them without noise; a machine rebuilds them from probabilities.
        """
        sums, rows = np.zeros(3), self.held_out()
        with evaluating(self.trainer), autocast(self.device, self.dtype):
            for images in self.views(rows):
                x = self.prepared(images)
                _, error, on = self.trainer(x).tolist()
                sums += len(images) * np.array([error, constant_error(x, self.trainer.mean).item(), on])
        error, constant, on = (sums / len(rows)).tolist()
        return error, constant, on

    def held_out(self) -> NDArray[np.int64]:
        """Rows of the store that errors are measured on."""
        return spread(self.parts[self.measured], MEASURED)

    def views(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """The centre views of these rows, a batch at a time."""
        return views(self.loader, rows)

    def warn(self, progress: Progress) -> None:
        """Nothing to say."""

    def complete(self) -> None:
        """Write what the layer learned into the network, and draw what the first one rebuilds."""
        self.export(CALIBRATED)
        if self.number == 0 and self.layer.conv.weight.shape[1] == 3:
            draw_rebuilt(self)

    def export(self, images: int) -> None:
        """Write what the layer has learned into the network; a BatchNorm behind it is measured on so many images."""
        self.trainer.export(self.layer, probe(self.loader, self.layer))
        norms = [stage for stage in self.layer.after if isinstance(stage, nn.BatchNorm2d)]
        if norms:
            self._calibrate(norms, images)

    @torch.no_grad()
    def _calibrate(self, norms: Sequence[nn.BatchNorm2d], images: int) -> None:
        """Mean and variance over training images, in batches of one size, for each counts alike."""
        rows = self.loader.indices
        taken = spread(rows, min(images, len(rows) // PROBE * PROBE) or PROBE)
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # an average, not one that forgets
            norm.train()
        with autocast(self.device, self.dtype):
            for view in self.views(taken):
                x = self.layer.conv(self.layer.inputs(view))
                for stage in self.layer.after:
                    x = stage(x)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
            norm.eval()


def open_all(data: str, settings: Settings, look: Callable[[Source, Settings], None] | None = None) -> list[Store]:
    """The store of the data called `data`, and of all that is named in `also`, in its size; packed if need be.

    look: raises what speaks against the first.
    """
    check = None if look is None else lambda source: look(source, settings)
    first = _opened(data, settings, settings.store_size, check)
    return [first, *(_opened(name, settings, first.size) for name in settings.more)]


def _opened(data: str, settings: Settings, size: int | None, look: Callable[[Source], None] | None = None) -> Store:
    with bar("packing") as packing:
        return named_store(data, settings.split_seed, size, packing, settings.max_bad, look=look, opener=open_images)


def look(source: Source, settings: Settings) -> None:
    """Refuse, before any image is read, data with too few images."""
    if len(source.samples) < 2:
        raise DataError(f"{source.name} has {len(source.samples)} images; at least 2 are needed, better thousands")
    labels = np.array([sample.label for sample in source.samples])
    given = np.array([sample.split for sample in source.samples])
    parts = split(labels, given, source.class_names, source.fractions, settings.recipe(1))
    if not settings.also:  # else that is known when all are open
        check_batch(int((parts == "train").sum()), settings.recipe(1).batch_size)


def build(stores: Sequence[Store], settings: Settings, number: int = 0) -> Pretraining:
    """Everything the run works with, at layer `number`, as a function of its data and settings; nothing is written.

    stores: the first is divided as `alexnet train` does; of the others, given val and test images are left out, and
    those that the first keeps aside.
    """
    device = pick_device(settings.device)
    dtype = pick_precision(settings.precision, device)
    torch.manual_seed(settings.seed)
    network = without_dense(create(settings.network, None, settings.input_size)).requires_grad_(False).eval()
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    layers = chosen(cut(network), settings.layers)
    recipe = settings.recipe(len(layers))
    first, store = stores[0], join(stores)
    named = split(first.labels, first.splits, first.class_names, first.fractions, recipe)
    rest = np.isin(store.splits[len(first) :], ("train", ""))
    parts = {part: np.flatnonzero(named == part) for part in PARTS}
    others = without_twins(store, len(first) + np.flatnonzero(rest), np.concatenate([parts["val"], parts["test"]]))
    parts["train"] = np.concatenate([parts["train"], others])
    loader = Loader(
        store,
        parts["train"],
        recipe.batch_size,
        preprocessing_of(network, recipe, store.size),
        augmentation_of(recipe),
        seed=recipe.seed,
        workers=workers_of(recipe, device),
        device=device,
        dtype=dtype,
    )
    trainer, working, optimizer = learner(settings, network, layers[number], loader)
    return Pretraining(
        recipe=recipe,
        loader=loader,
        parts=parts,
        network=network,
        working=working,
        average=None,
        optimizer=optimizer,
        device=device,
        dtype=dtype,
        class_weights=None,
        settings=settings,
        layers=layers,
        trainer=trainer,
        number=number,
    )


def learner(
    settings: Settings, network: nn.Module, layer: Layer, loader: Loader
) -> tuple[Trainer, WorkingWeights, torch.optim.Optimizer]:
    """A new trainer of the layer, now the network's child, with its working weights and optimiser."""
    torch.manual_seed(settings.seed)
    seen = probe(loader, layer)
    trainer: Trainer
    if settings.method == "autoencoder":
        trainer = AutoEncoder(layer, seen, settings.noise, settings.tied)
    else:
        trainer = CRBM(
            layer,
            seen,
            block=settings.block,
            sigma=settings.sigma,
            sparsity=settings.sparsity,
            sparsity_rate=settings.sparsity_rate,
            whiten=settings.whiten and not any(isinstance(stage, nn.Conv2d) for stage in layer.below),
        )
    trainer = trainer.to(device=loader.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    setattr(network, CHILD, trainer)
    working = WorkingWeights(trainer, loader.device, loader.dtype)
    optimizer = build_optimizer(trainer, settings.recipe(1))
    if isinstance(optimizer, (Momentum, Adam)):
        optimizer.copies = working.copies
    return trainer, working, optimizer


@torch.no_grad()
def probe(loader: Loader, layer: Layer) -> Tensor:
    """The layer's inputs for a few training images, float32: what scales are measured on."""
    with autocast(loader.device, loader.dtype):
        return torch.cat([layer.inputs(images) for images in views(loader, spread(loader.indices, PROBE))])


def spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the rows, spread evenly over them: rows of one class stand together."""
    found: NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
    return found


def views(loader: Loader, rows: NDArray[np.int64]) -> Iterator[Tensor]:
    """The centre views of these rows of the loader's store, (N, 3, H, W), a batch at a time."""
    for first in range(0, len(rows), PROBE):
        images = loader.store.mapped(rows[first : first + PROBE])
        with torch.autocast(loader.device.type, enabled=False):  # the caller may be within one
            batch = loader.preprocessing.views(images, 1, loader.dtype, loader.device)
        yield batch


def start(run: Pretraining) -> Progress:
    """Write what stands before the first step: split.csv, samples.png and the first filters."""
    store, parts = run.loader.store, run.parts
    say(
        f"{run.settings.method}, {run.settings.network}: {', '.join(layer.name for layer in run.layers)} on "
        f"{store.name}: {', '.join(f'{len(parts[part])} {part}' for part in PARTS)} images, labels not read; "
        f"{run.device}, {str(run.dtype).removeprefix('torch.')}; folder {run.folder}"
    )
    part_of = {int(row): part for part in PARTS for row in parts[part]}
    write_csv(run.folder / "split.csv", ("path", "split"), ((store.paths[r], part_of[r]) for r in sorted(part_of)))
    batch, shown = next(run.loader.batches(0)), run.loader.preprocessing
    images = batch.images[:SHOWN].float().cpu()
    pictures.samples(images, shown.mean, shown.std, None, run.folder / "samples.png")
    keep_filters(run, 0)
    return Progress()


def keep(run: Pretraining, progress: Progress) -> None:
    """Write the weights as they are, what the layer under way has learned included."""
    run.export(PROBE)
    write_weights(run, progress)


def write_weights(run: Pretraining, progress: Progress) -> None:
    """Write the network's layers that are trained so far, with their card."""
    done = run.layers[: run.number + 1]
    card = Card(
        network=run.settings.network,
        num_classes=0,
        input_size=run.loader.preprocessing.input_size,
        differences={},
        class_names=[],
        preprocessing=run.loader.preprocessing.to_json(),
        training={
            "data": run.loader.store.name,
            "pretraining": dataclasses.asdict(run.settings),
            "layers": [layer.name for layer in done],
            "epoch": progress.epoch,
            "images": {part: len(run.parts[part]) for part in PARTS},
        },
    )
    save(run.folder / BEST, run.network, card, [name for layer in done for name in layer.stored])


def log(run: Pretraining, progress: Progress) -> None:
    """Write metrics.csv, and the filters of the first layer at each power of two of its epochs and at its end."""
    write_rows(run.folder, progress)
    epoch = progress.epoch
    if epoch <= run.settings.epochs and (epoch & (epoch - 1) == 0 or epoch == run.settings.epochs):
        keep_filters(run, epoch)


def keep_filters(run: Pretraining, epoch: int) -> None:
    """Write the filters that see the image, (K, 3, h, w), as they are after so many epochs."""
    weight = run.layers[0].conv.weight
    if weight.shape[1] == 3:
        with whole_file(run.folder / FILTERS / f"{epoch:04}.safetensors", "wb") as file:
            file.write(to_bytes({"weight": weight.detach().float().cpu().contiguous()}))


def finish(run: Pretraining, progress: Progress) -> None:
    """Complete the last layer; write the weights, metrics.json and the pictures."""
    write_rows(run.folder, progress)
    run.complete()
    write_weights(run, progress)
    last = {row["layer"]: row for row in progress.rows}
    found = {
        name: {**{key: row[key] for key in ("error", "constant_error", "on")}, "share": _share(row)}
        for name, row in last.items()
    }
    write_json(
        run.folder / "metrics.json",
        {
            "method": run.settings.method,
            "network": run.settings.network,
            "images": len(run.parts["train"]),
            "measured_on": run.measured,
            "layers": found,
            "epochs": progress.epoch,
            "seconds": progress.seconds,
        },
    )
    drawn.errors(progress.rows, run.folder / "errors.png")
    draw_filters(run)
    shares = ", ".join(f"{name} {row['share']:.1%}" for name, row in found.items())
    say(f"error of {run.measured} images as a share of a constant prediction's: {shares}")


def _share(row: dict[str, Any]) -> float:
    return float(row["error"] / max(row["constant_error"], 1e-12))  # images all alike have nothing to rebuild


def draw_filters(run: Pretraining) -> None:
    """Write filters.png: the first layer's filters after the epochs that were kept."""
    files = sorted((run.folder / FILTERS).glob("*.safetensors"))
    if files:
        grown = {int(file.stem): load_file(file)["weight"] for file in files}
        title = f"{run.layers[0].name}, {run.settings.method}"
        whitened = run.settings.method == "crbm" and run.settings.whiten
        drawn.filters(grown, title, run.folder / "filters.png", whitened)


def draw_rebuilt(run: Pretraining) -> None:
    """Write rebuilt.png: held-out images beside what the first layer's trainer makes of them."""
    images = next(run.views(run.held_out()[:: max(1, len(run.held_out()) // 8)][:8]))
    with evaluating(run.trainer), autocast(run.device, run.dtype), torch.no_grad():
        shown = run.trainer.shown(run.layer.inputs(images))
    preprocessing = run.loader.preprocessing
    rows = {title: values.float().cpu() for title, values in shown}
    drawn.rebuilt(rows, preprocessing.mean, preprocessing.std, run.folder / "rebuilt.png")
