"""`alexnet train` from its first line to its last: refuse, open the data, build, train, finish."""

import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from alexnet.console import bar
from alexnet.data.form import Form
from alexnet.data.loader import check_batch
from alexnet.data.samples import some_names
from alexnet.data.sources import Data, Source, check_classes, recorded_name
from alexnet.data.store import Store, named_store
from alexnet.data.value_range import range_text
from alexnet.device import pick_device, pick_precision
from alexnet.errors import DataError, UsageError
from alexnet.networks import create
from alexnet.networks.layers import Network, skip_init
from alexnet.processes.place import Place, this_process
from alexnet.processes.together import Together, led, meeting
from alexnet.runs.environment import environment
from alexnet.runs.folder import COMPARED, Config, RunFolder
from alexnet.runs.place import check_writable, new_folder
from alexnet.training.automatic import resolve, tell
from alexnet.training.division import distinct, split
from alexnet.training.initial import check_initial, found_anywhere, freeze
from alexnet.training.loop import train_in
from alexnet.training.optimizer import parameter_groups
from alexnet.training.parallel import check_division, divide
from alexnet.training.recipes import scaled
from alexnet.training.resuming import check_same_parts, keep_place, moved, same_images
from alexnet.training.settings import Recipe, from_json
from alexnet.training.supervised import Supervised, build, summary_writer
from alexnet.training.task import preprocessing_of

UNEQUAL = 5  # times as many training images in one class as in another: balanced sampling is worth a try

logger = logging.getLogger(__name__)


def train(data: Data, recipe: Recipe, out: Path | None = None, same: Path | None = None) -> Path:
    """Train by `recipe` on the data called `data` and return the run's folder.

    data: as for `alexnet.data.store.named_store`. out: the run's folder; a new runs/<data>-<network>-<n>/
    without it. A folder that holds something already is left alone and the next free name beside it is taken.
    same: a run; DataError where the data are other ones than it had.
    Everything that can be refused is refused before the first image is read; nothing is written until then.
    """
    recipe = dataclasses.replace(recipe, init=found_anywhere(recipe.init))
    here = this_process()
    if recipe.probe:
        from alexnet.training import probe

        refuse_several(here, "a probe")
        return probe.train(data, recipe, out)
    if recipe.prune:
        refuse_several(here, "pruning")
    with meeting(here, recipe.device) as together:
        join = partial(joined, data=data, together=together)
        begin = partial(begun, data, recipe, out, same, together)
        task = led(
            together,
            lambda: begun_again(here, out, join) or begin(),
            lambda folder: join(Path(folder)),
            lambda task: str(task.state.path.absolute()),
        )
        return train_in(task.state.path, task)


def begun(data: Data, recipe: Recipe, out: Path | None, same: Path | None, together: Together) -> Supervised:
    """A new run in its folder, before its first step: the first process's part of `train`."""
    refuse_settings(recipe)
    check_writable(out or Path("runs", "new"))
    with bar("packing") as packing:
        store = named_store(
            data,
            size=recipe.store_size,
            fit=recipe.fit,
            value_range=recipe.values,
            exact=recipe.exact,
            progress=packing,
            max_bad=recipe.max_bad,
            look=lambda source: refuse_data(source, recipe, together.ranks),
        )
    store.warn_of_extent()
    store = distinct(store, recipe)
    if same is not None:
        store = same_images(store, RunFolder(same).read_config(), same)
    recipe = dataclasses.replace(fitted(recipe, store), **found_form(store))
    task = build(store, recipe)
    divide(task.state, together)
    folder = new_folder(out or Path("runs") / f"{store.name}-{recipe.network}", numbered=out is None)
    config = Config(
        kind="train",
        data=recorded_name(data),
        fingerprint=store.fingerprint,
        recipe=dataclasses.asdict(recipe),
        initialised=task.initialised,
        environment=environment(task.state.device, task.state.dtype)
        | ({"processes": together.ranks} if together.ranks > 1 else {}),
    )
    RunFolder(folder).write_config(config)
    task.state.path = folder
    return task


def joined(
    folder: Path,
    data: Data | None,
    together: Together,
    device: str | None = None,
    workers: int | None = None,
) -> Supervised:
    """The run in `folder` as it stands, to be trained on from its last checkpoint. UsageError and DataError as in
    `resume`.
    """
    run = RunFolder(folder)
    config = run.read_config()
    recipe = replaced(from_json(config.recipe), device, workers)
    store = same_images(distinct(reopened(config, recipe, folder, data), recipe), config, folder)
    # Once there is a checkpoint, the file that the run began from may be gone.
    task = build(store, recipe, config.initialised if run.checkpoint.is_file() else None)
    check_same_parts(task.state, config, folder)
    divide(task.state, together)
    task.state.path = folder
    return task


def refuse_several(here: Place, what: str) -> None:
    """UsageError where several processes would each do what one does."""
    if here.ranks > 1:
        raise UsageError(f"{what} is the work of one process, and {here.ranks} were started; start it without torchrun")


def begun_again(here: Place, out: Path | None, join: Callable[[Path], Supervised]) -> Supervised | None:
    """The run that these processes had begun in `out`, where they were started again after one was lost, else None.

    UsageError where a restart could not find the run: without `out`, or with one that holds something already.
    """
    if not here.may_restart:
        return None
    if out is None:
        raise UsageError("processes that are started again (--max-restarts) go on with the run in --out; name a folder")
    if not here.restarts and out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} holds something already; name a new folder, or go on with --resume {out}")
    return first_joins(out, join) if here.restarts and RunFolder(out).is_run else None


def train_on(folder: Path, epochs: int, out: Path | None = None, data: Data | None = None, **changes: Any) -> Path:
    """Train a finished run on, as a new run: its weights, settings and data, `epochs` more; returns the new folder.

    The learning rate begins anew (a warm restart: Loshchilov and Hutter 2017, "SGDR"), at the image size with which the
    run ended. data: where its images lie now. changes: settings that shall be others. UsageError for a run that is not
    finished, or of pre-training.
    """
    run = RunFolder(folder)
    config = run.read_config()
    if config.kind != "train":
        raise UsageError(f"{folder} is a run of alexnet pretrain; begin from it by: alexnet train DATA --init {folder}")
    run.read_metrics()  # refuses a run that is not finished
    began = from_json(config.recipe)
    longer = {
        "epochs": epochs,
        "init": str(folder),
        "init_lr_factor": 1.0,  # which spares some layers; now all come from the run
        "first_train_scale": changes.get("train_scale", began.train_scale),
        "automatic": "",
        "probe": False,
        **scaled(began, epochs),
    }
    logger.info("training %s on: its weights, settings and data, %d epochs more, in a new run", folder, epochs)
    recipe = dataclasses.replace(began, **{**longer, **changes})
    return train(config.data if data is None else data, recipe, out, same=folder)


def resume(folder: Path, device: str | None = None, workers: int | None = None, data: Data | None = None) -> Path:
    """Continue the run in `folder` from its last checkpoint, to the weights of an uninterrupted run.

    device, workers: replace the run's own. data: where the run's images lie now; they are known by their pixels.
    Bit-exact weights need the same hardware and versions.
    """
    run = RunFolder(folder)
    config = run.read_config()
    if config.kind != "train":
        raise UsageError(f"{folder} is a run of alexnet pretrain; resume it by: alexnet pretrain --resume {folder}")
    recipe = replaced(from_json(config.recipe), device, workers)
    if recipe.probe:
        raise UsageError(f"{folder} is a probe, made in one go, with nothing to resume; train it on with --more EPOCHS")
    refuse_settings(recipe, begins=False)
    if recipe.prune:
        refuse_several(this_process(), "pruning")
    with meeting(this_process(), recipe.device) as together:
        join = partial(joined, data=data, together=together, device=device, workers=workers)
        task = led(together, lambda: first_joins(folder, join, data), lambda _: join(folder))
        return train_in(folder, task)


def first_joins(folder: Path, join: Callable[[Path], Supervised], data: Data | None = None) -> Supervised:
    """The run in `folder`; where its data lie now is written down where they are given, and what differs is said."""
    task, config = join(folder), RunFolder(folder).read_config()
    keep_place(config, data, task.store, folder)
    warn_of_differences(config, task.state.device, task.state.dtype)
    return task


def refuse_settings(recipe: Recipe, begins: bool = True) -> None:
    """UsageError or WeightsError for settings that cannot work, whatever the data; reads no data.

    begins: whether the run is new, so that its `init` is looked into.
    """
    if recipe.tensorboard:
        summary_writer()
    pick_precision(recipe.precision, pick_device(recipe.device))
    network = shape_of(recipe, 2)
    freeze(network, recipe.freeze)
    parameter_groups(network, recipe)
    preprocessing_of(network, recipe, Form(recipe.store_size or 256))
    check_batchnorm(network, recipe)
    if begins and recipe.init is not None:
        check_initial(network, recipe.init)


def refuse_data(source: Source, recipe: Recipe, ranks: int = 1) -> None:
    """Refuse, before any image is read, data that so many processes cannot train on by this recipe."""
    check_classes(source)
    labels = np.array([sample.label for sample in source.samples])
    given = np.array([sample.split for sample in source.samples])
    splits = split(labels, given, source.class_names, source.fractions, recipe)
    images = int((splits == "train").sum())
    check_batch(images, resolve(recipe, images).batch_size, ranks)
    check_division(shape_of(recipe, len(source.class_names)), recipe, ranks)


def fitted(recipe: Recipe, store: Store) -> Recipe:
    """The recipe with the settings that follow the number of training images; they and other advice are logged."""
    splits = split(store.labels, store.splits, store.class_names, store.fractions, recipe)
    counts = np.bincount(store.labels[splits == "train"], minlength=len(store.class_names))
    judged = int((splits == ("val" if (splits == "val").any() else "test")).sum())
    chosen = resolve(recipe, int(counts.sum()), store.size, judged)
    tell(recipe, chosen, int(counts.sum()), len(counts))
    drawn = [int(((splits == part) & (store.splits != part)).sum()) for part in ("val", "test")]
    if any(drawn):
        logger.info(
            "drawn from %s images: %d for validation, %d for test (--split-seed %d; shares: --validation, --test)",
            *(f"{len(splits):,}", *drawn, recipe.split_seed),
        )
    if unjudged := _unjudged(store, splits):
        logger.warning("no images of %s: scores on them say nothing of these", unjudged)
    if recipe.balance == "none" and counts.max() >= UNEQUAL * counts.min():
        least, most = (store.class_names[int(place)] for place in (counts.argmin(), counts.argmax()))
        logger.warning(
            "%r has %d training images, %r has %d: --balance sampling shows every class equally often",
            *(least, counts.min(), most, counts.max()),
        )
    return chosen


def _unjudged(store: Store, splits: NDArray[np.str_]) -> str:
    """The classes without images in a held-out part that there is: "'ant' in val, 'ant', 'bee' in test"."""
    found = []
    for part in ("val", "test"):
        counts = np.bincount(store.labels[splits == part], minlength=len(store.class_names))
        if counts.any() and not counts.all():
            absent = [store.class_names[label] for label in np.flatnonzero(counts == 0)]
            found.append(f"{some_names(absent)} in {part}")
    return ", ".join(found)


def shape_of(recipe: Recipe, num_classes: int) -> Network:
    """The recipe's network without initial weights, for shape inspection."""
    with skip_init():
        return create(recipe.network, num_classes, recipe.input_size, **recipe.network_differences)


def check_batchnorm(network: nn.Module, recipe: Recipe) -> None:
    """UsageError for batch size 1 with BatchNorm, which then has no variance to normalise by."""
    if recipe.batch_size == 1 and any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise UsageError(f"batch size 1 leaves {recipe.network}'s BatchNorm nothing to average; take --batch-size 2")


def reopened(config: Config, recipe: Recipe, folder: Path, data: Data | None) -> Store:
    """The store of a run's data; DataError says how to name the place where it lies now."""
    with bar("packing") as packing:
        try:
            place = config.data if data is None else data
            return named_store(
                place,
                size=recipe.store_size,
                fit=recipe.fit,
                value_range=recipe.values,
                exact=recipe.exact,
                progress=packing,
                max_bad=recipe.max_bad,
            )
        except DataError as error:
            raise (moved(error, config, folder) if data is None else error) from error


def found_form(store: Store) -> dict[str, Any]:
    """The settings of the store's form that a resume must find again: what `auto` and a packed store came to."""
    if store.form == Form(store.size):
        return {}
    values = {} if store.value_range is None else {"value_range": range_text(store.value_range)}
    return {"fit": store.fit, **values, **({"exact": True} if store.exact else {})}


def warn_of_differences(config: Config, device: torch.device, dtype: torch.dtype) -> None:
    """Say where hardware or versions differ from those that the run began with."""
    now = environment(device, dtype)
    for name in COMPARED:
        if (began := config.environment.get(name)) != now[name]:
            logger.warning(
                "the run began with %s %s, now %s: weights will differ in their last bits", name, began, now[name]
            )


def replaced(settings: Any, device: str | None, workers: int | None) -> Any:
    """The settings, a recipe or those of pre-training, with another device or number of workers where one is given."""
    workers = settings.workers if workers is None else workers
    return dataclasses.replace(settings, device=device or settings.device, workers=workers)
