"""Pre-training without labels: the task that `alexnet pretrain` runs, one convolution after another.

An epoch of the run is one of the layer in training; its trainer is a child of the network while it learns, so that a
checkpoint holds both. N images a batch.
"""

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from alexnet.data.loader import Batch, Loader
from alexnet.data.splits import PARTS, evenly_spaced
from alexnet.data.store import Store
from alexnet.data.store.joined import join, without_twins
from alexnet.device import autocast, pick_device, pick_precision, seed
from alexnet.errors import Diverged
from alexnet.files import whole_file
from alexnet.networks import create
from alexnet.networks.layers import evaluating
from alexnet.plots import pretraining as drawn
from alexnet.pretraining.autoencoder import AutoEncoder, constant_error
from alexnet.pretraining.crbm import CRBM, EARLY_EPOCHS, EARLY_MOMENTUM, sigma_at
from alexnet.pretraining.cut import Layer, chosen, cut, without_dense
from alexnet.pretraining.settings import Settings
from alexnet.runs.checkpoint import Progress
from alexnet.training.division import split
from alexnet.training.initial import training_mode
from alexnet.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from alexnet.training.saving import Saver
from alexnet.training.task import State, build_loader, draw_samples, write_split
from alexnet.training.working import WorkingWeights
from alexnet.weights.card import Card, tensors_of, write

CHILD = "trainer"  # name of the network's child that learns
PROBE = 64  # images that scales are measured on
MEASURED = 512  # held-out images, at most, that errors are measured on
CALIBRATED = 1024  # images, at most, that BatchNorm statistics are measured on
FILTERS = "filters"  # folder of the first layer's filters after some epochs

Trainer = AutoEncoder | CRBM

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Pretraining:
    """Pre-training, a `Task`: each step trains one convolution, without labels."""

    state: State
    settings: Settings
    layers: list[Layer]  # those that are trained, in order
    trainer: Trainer
    number: int  # index of the layer in training

    command: ClassVar[str] = "pretrain"
    score_name: ClassVar[str] = "units on"

    @property
    def layer(self) -> Layer:
        """The layer under way."""
        return self.layers[self.number]

    @property
    def measured(self) -> str:
        """The part that errors are measured on: validation, or else test, or where nothing is kept aside, training."""
        return next((part for part in ("val", "test") if len(self.state.parts[part])), "train")

    def begin(self) -> None:
        """Write split.csv, samples.png and the first filters."""
        state, store = self.state, self.state.loader.store
        counts = ", ".join(f"{len(state.parts[part])} {part}" for part in PARTS)
        logger.info(
            "%s, %s: %s on %s: %s images, labels not read; %s, %s; folder %s",
            *(self.settings.method, self.settings.network, ", ".join(layer.name for layer in self.layers), store.name),
            *(counts, state.device, str(state.dtype).removeprefix("torch."), state.path),
        )
        write_split(state, labels=None)
        draw_samples(state, next(state.loader.batches(0)), titles=None)
        keep_filters(self, 0)

    def begin_epoch(self, epoch: int) -> None:
        """Go on to the next layer where this epoch is its first."""
        number = epoch // self.settings.epochs
        if number != self.number:
            self.complete()
            self.number = number
            self.trainer, working, optimizer = learner(self.settings, self.state.network, self.layer, self.state.loader)
            self.state.working, self.state.optimizer = working, optimizer
        training_mode(self.state.network)

    def image_size(self, epoch: int) -> int:
        """Pixels a side of this epoch's images."""
        return self.state.loader.preprocessing.input_size

    def step(self, batch: Batch, epoch: int, step: int) -> Tensor:
        """One step. Returns float32 (3,): what the trainer minimises, the squared error a value, the share of units on.

        All three are means over the batch.
        """
        taken = epoch * len(self.state.loader) + step
        seed(self.state.device, self.settings.seed * 2**32 + taken)  # noise and samples are functions of (seed, step)
        self._schedule(taken - self.number * self.settings.epochs * len(self.state.loader))
        output = self.state.working.forward(self.prepared(batch.images))
        self.state.working.backward(output[0])
        self.state.working.step(self.state.optimizer)
        return output.detach()

    def told(self, numbers: Sequence[float], epoch: int, step: int) -> tuple[float, float]:
        """The squared error a value, and the share of units that are on, times the images."""
        loss, error, on = numbers
        if not math.isfinite(loss + error):
            raise Diverged(
                f"what {self.layer.name} minimises is {loss}, its error {error}, at epoch {epoch + 1}, step {step + 1};"
                f" try a lower --lr, or --precision float32; what was saved before is in {self.state.path}"
            )
        return error, on * self.state.recipe.batch_size

    def row(self, progress: Progress, speed: float) -> dict[str, Any]:
        """The row of metrics.csv for the epoch whose steps are all taken. Errors are those of held-out images."""
        steps, within = len(self.state.loader), progress.epoch - self.number * self.settings.epochs
        error, constant, on = self.measure()
        return {
            "epoch": progress.epoch + 1,
            "layer": self.layer.name,
            "layer_epoch": within + 1,
            "lr": learning_rate(self.settings.recipe(1), within + (steps - 1) / steps),
            "train_loss": progress.loss_sum / steps,
            "train_on": progress.score_sum / (steps * self.state.recipe.batch_size),
            "error": error,
            "constant_error": constant,
            "on": on,
            "images_per_second": speed,
        }

    def evaluate(self) -> dict[str, float]:
        """Nothing: `row` measures, for supervised evaluation needs labels."""
        return {}

    def keep(self, progress: Progress, row: Mapping[str, Any], saver: Saver) -> None:
        """Hand copies of the weights to the saver, with what the current layer has learned so far."""
        progress.best_epoch = progress.epoch
        self.export(PROBE)
        card, path = self.card(progress), self.state.folder.weights
        tensors = tensors_of(self.state.network, card, self.stored)
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        saver.keep(lambda: write(path, copies, card))

    @property
    def stored(self) -> list[str]:
        """Names of the stages that are trained so far."""
        return [name for layer in self.layers[: self.number + 1] for name in layer.stored]

    def card(self, progress: Progress) -> Card:
        """The card of the layers that are trained so far."""
        loader = self.state.loader
        return Card(
            network=self.settings.network,
            num_classes=0,
            input_size=loader.preprocessing.input_size,
            differences={},
            class_names=[],
            preprocessing=loader.preprocessing.to_json(),
            training={
                "data": loader.store.name,
                "pretraining": dataclasses.asdict(self.settings),
                "layers": [layer.name for layer in self.layers[: self.number + 1]],
                "epoch": progress.epoch,
                "images": {part: len(self.state.parts[part]) for part in PARTS},
            },
        )

    def log(self, progress: Progress) -> None:
        """Write metrics.csv, and the first layer's filters at each power of two of its epochs and at its end."""
        self.state.folder.write_epochs(progress.rows)
        epoch = progress.epoch
        if epoch <= self.settings.epochs and (epoch & (epoch - 1) == 0 or epoch == self.settings.epochs):
            keep_filters(self, epoch)

    def finish(self, progress: Progress) -> None:
        """Complete the last layer; write the weights, metrics.json and the pictures."""
        folder = self.state.folder
        folder.write_epochs(progress.rows)
        self.complete()
        card = self.card(progress)
        write(folder.weights, tensors_of(self.state.network, card, self.stored), card)
        last = {row["layer"]: row for row in progress.rows}
        layers = {
            name: {**{key: row[key] for key in ("error", "constant_error", "on")}, "share": _share(row)}
            for name, row in last.items()
        }
        drawn.errors(progress.rows, self.state.path / "errors.png")
        draw_filters(self)
        folder.write_metrics(
            {
                "method": self.settings.method,
                "network": self.settings.network,
                "images": len(self.state.parts["train"]),
                "measured_on": self.measured,
                "layers": layers,
                "epochs": progress.epoch,
                "seconds": progress.seconds,
            }
        )
        shares = ", ".join(f"{name} {row['share']:.1%}" for name, row in layers.items())
        logger.info("error of %s images as a share of a constant prediction's: %s", self.measured, shares)

    def _schedule(self, step: int) -> None:
        """Set what changes from step to step of a layer."""
        settings, epoch = self.settings, step / len(self.state.loader)
        set_learning_rate(self.state.optimizer, learning_rate(settings.recipe(1), epoch))
        if isinstance(self.trainer, CRBM):
            self.trainer.sigma.fill_(sigma_at(step, settings.sigma, settings.sigma_last, settings.sigma_decay))
            for group in self.state.optimizer.param_groups:
                group["momentum"] = EARLY_MOMENTUM if epoch < EARLY_EPOCHS else self.state.recipe.momentum

    @torch.no_grad()
    def prepared(self, images: Tensor) -> Tensor:
        """Network inputs (N, 3, H, W) to what the trainer takes, float32."""
        with autocast(self.state.device, self.state.dtype):
            inputs = self.layer.inputs(images)
        return self.trainer.prepare(inputs)

    @torch.no_grad()
    def measure(self) -> tuple[float, float, float]:
        """On held-out images: the squared error a value, that of predicting each channel's mean, the share of units on.

        An auto-encoder sees them without noise; a machine rebuilds them from probabilities.
        """
        sums, rows = np.zeros(3), self.held_out()
        with evaluating(self.trainer), autocast(self.state.device, self.state.dtype):
            for images in self.views(rows):
                x = self.prepared(images)
                _, error, on = self.trainer(x).tolist()
                sums += len(images) * np.array([error, constant_error(x, self.trainer.mean).item(), on])
        error, constant, on = (sums / len(rows)).tolist()
        return error, constant, on

    def held_out(self) -> NDArray[np.int64]:
        """Rows of the store that errors are measured on."""
        rows = self.state.parts[self.measured]
        return rows[evenly_spaced(len(rows), MEASURED)]

    def views(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """The centre views of these rows, a batch at a time."""
        return views(self.state.loader, rows)

    def complete(self) -> None:
        """Write what the layer learned into the network, and draw what the first one rebuilds."""
        self.export(CALIBRATED)
        if self.number == 0 and self.layer.conv.weight.shape[1] == 3:
            draw_rebuilt(self)

    def export(self, images: int) -> None:
        """Write what the layer has learned into the network; a BatchNorm behind it is measured on so many images."""
        self.trainer.export(self.layer, probe(self.state.loader, self.layer))
        norms = [stage for stage in self.layer.after if isinstance(stage, nn.BatchNorm2d)]
        if norms:
            self._calibrate(norms, images)

    @torch.no_grad()
    def _calibrate(self, norms: Sequence[nn.BatchNorm2d], images: int) -> None:
        """Mean and variance over training images, in batches of one size, for each counts alike."""
        rows = self.state.loader.indices
        taken = rows[evenly_spaced(len(rows), min(images, len(rows) // PROBE * PROBE) or PROBE)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # an average, not one that forgets
            norm.train()
        with autocast(self.state.device, self.state.dtype):
            for view in self.views(taken):
                x = self.layer.conv(self.layer.inputs(view))
                for stage in self.layer.after:
                    x = stage(x)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
            norm.eval()


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
    loader = build_loader(store, parts["train"], network, recipe, device, dtype)
    trainer, working, optimizer = learner(settings, network, layers[number], loader)
    state = State(
        recipe=recipe,
        loader=loader,
        parts=parts,
        network=network,
        working=working,
        average=None,
        optimizer=optimizer,
        device=device,
        dtype=dtype,
    )
    return Pretraining(state=state, settings=settings, layers=layers, trainer=trainer, number=number)


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
    working.attach(optimizer)
    return trainer, working, optimizer


@torch.no_grad()
def probe(loader: Loader, layer: Layer) -> Tensor:
    """The layer's inputs for a few training images, float32: what scales are measured on."""
    with autocast(loader.device, loader.dtype):
        rows = loader.indices[evenly_spaced(len(loader.indices), PROBE)]
        return torch.cat([layer.inputs(images) for images in views(loader, rows)])


def views(loader: Loader, rows: NDArray[np.int64]) -> Iterator[Tensor]:
    """The centre views of these rows of the loader's store, (N, 3, H, W), a batch at a time."""
    for first in range(0, len(rows), PROBE):
        images = loader.store.mapped(rows[first : first + PROBE])
        with torch.autocast(loader.device.type, enabled=False):  # the caller may be within one
            batch = loader.preprocessing.views(images, 1, loader.dtype, loader.device)
        yield batch


def keep_filters(task: Pretraining, epoch: int) -> None:
    """Write the filters that see the image, (K, 3, h, w), as they are after so many epochs."""
    weight = task.layers[0].conv.weight
    if weight.shape[1] == 3:
        with whole_file(task.state.path / FILTERS / f"{epoch:04}.safetensors", "wb") as file:
            file.write(to_bytes({"weight": weight.detach().float().cpu().contiguous()}))


def _share(row: dict[str, Any]) -> float:
    return float(row["error"] / max(row["constant_error"], 1e-12))  # images all alike have nothing to rebuild


def draw_filters(task: Pretraining) -> None:
    """Write filters.png: the first layer's filters after the epochs that were kept."""
    files = sorted((task.state.path / FILTERS).glob("*.safetensors"))
    if files:
        grown = {int(file.stem): load_file(file)["weight"] for file in files}
        title = f"{task.layers[0].name}, {task.settings.method}"
        whitened = task.settings.method == "crbm" and task.settings.whiten
        drawn.filters(grown, title, task.state.path / "filters.png", whitened)


def draw_rebuilt(task: Pretraining) -> None:
    """Write rebuilt.png: held-out images beside what the first layer's trainer makes of them."""
    images = next(task.views(task.held_out()[:: max(1, len(task.held_out()) // 8)][:8]))
    with evaluating(task.trainer), autocast(task.state.device, task.state.dtype), torch.no_grad():
        shown = task.trainer.shown(task.layer.inputs(images))
    preprocessing = task.state.loader.preprocessing
    rows = {title: values.float().cpu() for title, values in shown}
    drawn.rebuilt(rows, preprocessing.mean, preprocessing.std, task.state.path / "rebuilt.png")
