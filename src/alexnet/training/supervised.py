"""Training with labels: the task that `alexnet train` runs.

N images a batch, K classes.
"""

import copy
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alexnet.data.duplicates import Leaks, leaks
from alexnet.data.loader import Batch
from alexnet.data.splits import PARTS
from alexnet.data.store import Store
from alexnet.device import pick_device, pick_precision, seed
from alexnet.errors import Diverged, UsageError
from alexnet.evaluation.metrics import metrics, top5_told
from alexnet.evaluation.predict import probabilities
from alexnet.evaluation.table import write_predictions
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.processes.together import shared_rows
from alexnet.runs.checkpoint import Progress
from alexnet.training.calibrating import at_temperature, calibrate
from alexnet.training.division import class_weights, split
from alexnet.training.initial import begin_from, freeze, frozen, training_mode
from alexnet.training.launched import Launched
from alexnet.training.loss import loss_value
from alexnet.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from alexnet.training.pruning import prune, zeros_kept
from alexnet.training.recorded import Recorded, Work, records
from alexnet.training.saving import Saver
from alexnet.training.settings import Recipe
from alexnet.training.task import SHOWN, State, build_loader, draw_samples, write_split
from alexnet.training.working import WorkingWeights
from alexnet.weights.card import Card, load, tensors_of, write

SIZE_STEP = 16  # pixels
GROWN = 0.8  # share of the run after which the training size has reached its last value
CHOOSING = 30  # validation images with which the best epoch can be told from luck
NOT_LEARNING = 0.99  # a mean loss above this share of ln K is no better than guessing

logger = logging.getLogger(__name__)


@dataclass
class Supervised:
    """Training with labels, a `Task`."""

    state: State
    class_weights: Tensor | None  # float32 (K,)
    initialised: list[str] = field(default_factory=list)  # layers taken from another run
    measured: tuple[str, Tensor] | None = None  # part and probabilities of the last evaluation
    taken: int = 0  # steps before the one that is taken

    command: ClassVar[str] = "train"
    score_name: ClassVar[str] = "accuracy"

    @property
    def kept(self) -> Network:
        """The network that is evaluated and kept: the moving average where there is one."""
        return self.state.average if self.state.average is not None else self.state.network

    @property
    def store(self) -> Store:
        """The images."""
        store: Store = self.state.loader.store
        return store

    @property
    def watched(self) -> str | None:
        """The part evaluated during training: validation, or else test, which then chooses nothing."""
        return next((part for part in ("val", "test") if len(self.state.parts[part])), None)

    @property
    def chooses(self) -> bool:
        """Whether validation chooses the epoch that is kept; of too few images the best is a matter of luck."""
        return len(self.state.parts["val"]) >= CHOOSING

    def begin(self) -> None:
        """Write split.csv and samples.png."""
        state, recipe, names = self.state, self.state.recipe, self.store.class_names
        counts = ", ".join(f"{len(state.parts[part])} {part}" for part in PARTS)
        logger.info(
            "%s on %s: %s images, %d classes; %s, %s; folder %s",
            *(recipe.network, self.store.name, counts, len(names)),
            *(state.device, str(state.dtype).removeprefix("torch."), state.path),
        )
        if not self.chooses:
            logger.info(
                "%d validation images are too few to choose an epoch by (%d are needed): the last weights are kept%s",
                *(len(state.parts["val"]), CHOOSING, "" if recipe.fold else "; to measure on every image: --folds 5"),
            )
        if recipe.freeze:
            logger.info("frozen: %s", ", ".join(frozen(state.network)))
        write_split(state, [names[label] for label in self.store.labels])
        if found := self.leaks():
            logger.warning("%s; alexnet check names them, --drop-duplicates keeps one of each", found)
        from alexnet.plots.pictures import shares_title

        batch = next(state.loader.batches(0, size=self.image_size(0)))
        titles = [shares_title(shares, names) for shares in batch.targets[:SHOWN].tolist()]
        draw_samples(state, batch, titles)

    def begin_epoch(self, epoch: int) -> None:
        """Training mode; frozen BatchNorms keep their statistics."""
        training_mode(self.state.network)

    def leaks(self) -> Leaks:
        """Equal pictures in several parts or under several labels."""
        parts = [""] * len(self.store)
        for part in PARTS:
            for row in self.state.parts[part]:
                parts[row] = part
        return leaks(self.store.digests, self.store.labels, parts, self.store.paths)

    def image_size(self, epoch: int) -> int:
        """Pixels a side of this epoch's images."""
        state = self.state
        return train_size(state.recipe, epoch, state.loader.preprocessing.input_size, state.network.least_input)

    def step(self, batch: Batch, epoch: int, step: int) -> Tensor:
        """One step. Returns float32 (2,): the batch's mean loss, and how many images are classified as their target.

        An image's target is the largest of its targets.
        """
        state, recipe = self.state, self.state.recipe
        taken = epoch * len(state.loader) + step
        seed(state.device, recipe.seed * 2**32 + taken)  # dropout is a function of (seed, step), resumed or not
        set_learning_rate(state.optimizer, learning_rate(recipe, taken / len(state.loader)))
        state.working.prepare(state.optimizer, recipe.ema, taken)
        self.taken = taken
        return state.together.summed(self.work(batch.images, batch.targets))

    @cached_property
    def work(self) -> Work:
        """`_compute`, on a GPU recorded and repeated."""
        state = self.state
        if not records(state.device, state.optimizer, state.together.ranks):
            return self._compute
        assert isinstance(state.optimizer, Launched)
        return Recorded(self._compute, state.optimizer, state.network.zero_grad)

    def _compute(self, images: Tensor, targets: Tensor) -> Tensor:
        """The device's part of a step, after the optimizer was prepared; float32 (2,), as `step` gives it.

        What changes from step to step is in the tensors given, or in the device's memory.
        """
        state, recipe = self.state, self.state.recipe
        logits = state.working.forward(images)
        loss = loss_value(recipe, logits, targets, self.class_weights)
        state.working.backward(loss)
        with zeros_kept(state.network if recipe.prune else None, state.average, state.working.copies):
            state.working.step(state.optimizer)
        if state.average is not None:
            state.working.follow(state.average, recipe.ema, self.taken)
        correct = logits.argmax(1) == targets.argmax(1)
        ranks = state.together.ranks
        part = loss.detach() if ranks == 1 else loss.detach() / ranks
        return torch.stack([part, correct.sum(dtype=torch.float32)])

    def told(self, numbers: Sequence[float], epoch: int, step: int) -> tuple[float, float]:
        """The loss and the images that were classified as their target; Diverged for a loss that is not finite."""
        loss, correct = numbers
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at epoch {epoch + 1}, step {step + 1}; try a lower --lr (it is "
                f"{self.state.recipe.lr:g}), --precision float32, or look at the data with alexnet check; what was "
                f"saved before is in {self.state.path}"
            )
        return loss, correct

    def row(self, progress: Progress, speed: float) -> dict[str, Any]:
        """The row of metrics.csv for the epoch, once its steps are taken."""
        steps, recipe = len(self.state.loader), self.state.recipe
        return {
            "epoch": progress.epoch + 1,
            "lr": learning_rate(recipe, progress.epoch + (steps - 1) / steps),
            "train_size": self.image_size(progress.epoch),
            "train_loss": progress.loss_sum / steps,
            "train_top1": progress.score_sum / (steps * recipe.batch_size),
            "images_per_second": speed,
        }

    def evaluate(self) -> dict[str, float]:
        """Loss, top-1, top-5 and macro-F1 of the watched part, one centre view."""
        if self.watched is None:
            return {}
        rows = self.state.parts[self.watched]
        chances = self.probabilities(rows)
        self.measured = (self.watched, chances)
        labels = torch.from_numpy(self.store.labels[rows])
        found = metrics(chances, labels, self.store.class_names)
        loss = F.nll_loss(chances.clamp_min(1e-12).log(), labels).item()
        values = {"loss": loss, **{key: found[key] for key in ("top1", "top5", "macro_f1")}}
        return {f"{self.watched}_{name}": value for name, value in values.items()}

    def probabilities(self, rows: NDArray[np.int64]) -> Tensor:
        """Softmax outputs of the kept network, float32 (len(rows), K), for rows of the store, one centre view."""
        state = self.state
        precision = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[state.dtype]
        found = partial(probabilities, self.kept, state.loader.preprocessing, self.store)
        return shared_rows(rows, partial(found, device=state.device, precision=precision), state.together)

    def keep(self, progress: Progress, row: Mapping[str, Any], saver: Saver) -> None:
        """Hand copies of the weights to the saver if this epoch is the best, or the latest where nothing chooses."""
        if self.chooses and not is_best(progress, row):
            return
        progress.best_epoch, progress.best_score = progress.epoch, row.get("val_top1", -1.0)
        card, path = self.card(progress), self.state.folder.weights
        copies = {name: tensor.clone() for name, tensor in tensors_of(self.kept, card).items()}
        saver.keep(lambda: write(path, copies, card))

    def card(self, progress: Progress) -> Card:
        """The card of the weights as they are now."""
        recipe, store = self.state.recipe, self.store
        return Card(
            network=recipe.network,
            num_classes=len(store.class_names),
            input_size=self.state.loader.preprocessing.input_size,
            differences=recipe.network_differences,
            class_names=list(store.class_names),
            preprocessing=self.state.loader.preprocessing.to_json(),
            training={
                "data": store.name,
                "recipe": dataclasses.asdict(recipe),
                "epoch": progress.epoch,
                "images": {part: len(self.state.parts[part]) for part in PARTS},
            },
        )

    def log(self, progress: Progress) -> None:
        """Write metrics.csv and, on request, TensorBoard events; warn where the network does not learn."""
        self.state.folder.write_epochs(progress.rows)
        warn_if_not_learning(self.state.recipe, progress, len(self.store.class_names))
        if self.state.recipe.tensorboard:
            with summary_writer()(str(self.state.path / "tensorboard")) as writer:
                for name, value in progress.rows[-1].items():
                    writer.add_scalar(name, value, progress.epoch)

    def finish(self, progress: Progress) -> None:
        """Evaluate the kept weights on test, or validation, or else training images; draw the pictures."""
        from alexnet.plots import pictures  # matplotlib takes half a second to import

        state, store, folder = self.state, self.store, self.state.folder
        part = next(part for part in ("test", "val", "train") if len(state.parts[part]))
        rows = state.parts[part]
        chances, labels = self._final_probabilities(progress, part), store.labels[rows]
        if not state.together.first:
            return
        folder.write_epochs(progress.rows)  # the run may have been killed between its last checkpoint and the rows
        preprocessing, device = state.loader.preprocessing, state.device
        calibrated = calibrate(folder, self.kept, preprocessing, store, state.parts, device)
        chances = at_temperature(chances, calibrated)
        found = metrics(chances, labels, store.class_names)
        names = [store.paths[row] for row in rows]
        write_predictions(state.path / "predictions.csv", names, labels, chances, store.class_names)
        pictures.confusion(found["confusion"], store.class_names, state.path / "confusion.png")
        pictures.curves(progress.rows, state.path / "curves.png")
        folder.write_metrics(
            {
                "split": part,
                "views": 1,
                **found,
                "epochs": progress.epoch,
                "best_epoch": progress.best_epoch,
                "chosen_on": "val" if self.chooses else None,  # the part that chose the epoch
                "leaks": self.leaks().to_json(),
                "temperature": calibrated and calibrated.temperature,
                "seconds": progress.seconds,
                "images_per_second": float(np.median([row["images_per_second"] for row in progress.rows])),
            }
        )
        low, high = found["interval"]
        logger.info(
            "%s: top-1 %s (95 %% interval %s to %s)%s, macro-F1 %s; %.1f minutes%s",
            *(part, *(f"{share:.2%}" for share in (found["top1"], low, high)), top5_told(found)),
            *(f"{found['macro_f1']:.2%}", progress.seconds / 60),
            "; validation also chose the epoch, so this is a little too good" if part == "val" and self.chooses else "",
        )

    def _final_probabilities(self, progress: Progress, part: str) -> Tensor:
        """Probabilities of the kept weights: those of the last evaluation, where it measured the same weights."""
        if progress.best_epoch == progress.epoch and self.measured and self.measured[0] == part:
            return self.measured[1]
        if progress.best_epoch != progress.epoch:
            kept, _ = load(self.state.folder.weights)
            self.kept.load_state_dict(kept.state_dict())
        return self.probabilities(self.state.parts[part])


def build(store: Store, recipe: Recipe, initialised: list[str] | None = None) -> Supervised:
    """Everything the run works with, as a function of its data and its recipe; nothing is written.

    initialised: the layers that were taken from the recipe's `init`, where a checkpoint is to fill them; None to take
    them from that file now.
    """
    device = pick_device(recipe.device)
    dtype = pick_precision(recipe.precision, device)
    network = build_network(recipe, len(store.class_names))
    if initialised is None:
        initialised = begin_from(network, recipe.init, store.class_names) if recipe.init is not None else []
        if recipe.prune:
            prune(network, recipe.prune)
    freeze(network, recipe.freeze)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    splits = split(store.labels, store.splits, store.class_names, store.fractions, recipe)
    parts = {part: np.flatnonzero(splits == part) for part in PARTS}
    weights = (
        class_weights(store.labels[parts["train"]], len(store.class_names)) if recipe.balance == "weights" else None
    )
    slow = [parameter for name, stage in network.stages() if name in initialised for parameter in stage.parameters()]
    loader = build_loader(store, parts["train"], network, recipe, device, dtype)
    working, optimizer = WorkingWeights(network, device, dtype), build_optimizer(network, recipe, slow)
    average = copy.deepcopy(network) if recipe.ema else None
    working.attach(optimizer, average)
    state = State(
        recipe=recipe,
        loader=loader,
        parts=parts,
        network=network,
        working=working,
        average=average,
        optimizer=optimizer,
        device=device,
        dtype=dtype,
    )
    return Supervised(state, None if weights is None else weights.to(device), initialised)


def build_network(recipe: Recipe, num_classes: int) -> Network:
    """The recipe's network with its first weights, a function of the recipe's seed."""
    torch.manual_seed(recipe.seed)
    return create(recipe.network, num_classes, recipe.input_size, **recipe.network_differences)


def train_size(recipe: Recipe, epoch: int, input_size: int, least: int) -> int:
    """Pixels a side in this epoch: from the recipe's first scale to its last, linearly (progressive resizing).

    Small images are cheap, and features found on them serve larger ones (Touvron et al. 2019, "Fixing the train-test
    resolution discrepancy": a network is best used on images larger than those it was trained on). Training sizes are
    multiples of SIZE_STEP, so that few shapes have to be planned for, except the input size itself.
    """
    share = min(1.0, epoch / max(GROWN * recipe.epochs, 1))
    scale = recipe.first_train_scale + (recipe.train_scale - recipe.first_train_scale) * share
    return input_size if scale == 1 else min(input_size, max(least, round(scale * input_size / SIZE_STEP) * SIZE_STEP))


def is_best(progress: Progress, row: Mapping[str, Any]) -> bool:
    """Whether this epoch is better on validation than the one that is kept: higher top-1, or as high at a lower loss.

    An epoch without validation is kept until one with it comes, so that a run has weights from its first epoch on.
    """
    kept = next((each for each in progress.rows if each["epoch"] == progress.best_epoch), {})
    if "val_top1" not in row or "val_top1" not in kept:
        return "val_top1" not in kept
    return (row["val_top1"], -row["val_loss"]) > (kept["val_top1"], -kept["val_loss"])


def warn_if_not_learning(recipe: Recipe, progress: Progress, classes: int) -> None:
    """Warn, once, when the loss after a tenth of the run is still that of guessing, ln K."""
    guessing = math.log(classes)
    tenth = max(3, math.ceil(recipe.epochs / 10), math.ceil(recipe.warmup_epochs) + 1)
    if recipe.loss == "cross_entropy" and progress.epoch == tenth:
        loss = progress.rows[-1]["train_loss"]
        if loss > NOT_LEARNING * guessing:
            logger.warning(
                "not learning: the loss is %.3f after %d epochs, guessing has %.3f; usually the learning rate is too "
                "high or too low (--lr is %g), or the labels do not belong to the images (alexnet check)",
                *(loss, progress.epoch, guessing, recipe.lr),
            )


def summary_writer() -> Any:
    """TensorBoard's writer of events, a class that takes a folder."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("tensorboard is not installed; install it with: pip install tensorboard") from error
    return SummaryWriter
