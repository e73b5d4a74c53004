"""`alexnet pretrain` from its first line to its last: refuse, open the data, build, train, finish.

The loop, its progress, checkpoints and interrupts are those of training. Labels are read for one thing alone: to divide
labelled data as `alexnet train` does, so that no image is learned from that judges.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.console import bar
from alexnet.data.form import Form
from alexnet.data.loader import check_batch
from alexnet.data.sources import Source, open_images, recorded_name
from alexnet.data.store import Store, named_store
from alexnet.device import pick_device, pick_precision
from alexnet.errors import DataError, UsageError
from alexnet.pretraining.cut import chosen, cut
from alexnet.pretraining.settings import Settings, from_json
from alexnet.pretraining.task import build
from alexnet.runs.checkpoint import Progress, read_progress
from alexnet.runs.environment import environment
from alexnet.runs.folder import Config, RunFolder
from alexnet.runs.place import check_writable, new_folder
from alexnet.training.division import split
from alexnet.training.loop import train_in
from alexnet.training.resuming import check_same_parts, keep_place, moved
from alexnet.training.run import found_form, replaced, shape_of, warn_of_differences
from alexnet.training.settings import Recipe
from alexnet.training.settings import from_json as recipe_from_json
from alexnet.training.task import preprocessing_of


def pretrain(data: str, settings: Settings, out: Path | None = None) -> Path:
    """Pre-train a network's convolutions on the images called `data` and return the run's folder.

    data: as for `alexnet.training.run.train`, or a folder of images without classes. out: as there. Everything that can
    be refused is refused before the first image is read.
    """
    refuse_settings(settings)
    check_writable(out or Path("runs", "new"))
    settings = dataclasses.replace(settings, also=",".join(recorded_name(name) for name in settings.more))
    stores = open_all(data, settings, refuse_data)
    settings = dataclasses.replace(settings, **found_form(stores[0]))
    for store in stores:
        store.warn_of_extent()
    task = build(stores, settings)
    place = Path("runs") / f"{stores[0].name}-{settings.network}-{settings.method}"
    folder = new_folder(out or place, numbered=out is None)
    config = Config(
        kind="pretrain",
        data=recorded_name(data),
        fingerprint=task.state.loader.store.fingerprint,
        recipe=dataclasses.asdict(task.state.recipe),
        pretraining=dataclasses.asdict(settings),
        environment=environment(task.state.device, task.state.dtype),
    )
    RunFolder(folder).write_config(config)
    return train_in(folder, task)


def resume(folder: Path, device: str | None = None, workers: int | None = None, data: str | None = None) -> Path:
    """Continue the pre-training in `folder` from its last checkpoint, to the weights of an uninterrupted run.

    data: where the run's first data lies now; its images are known by their pixels.
    """
    config = RunFolder(folder).read_config()
    if config.kind != "pretrain":
        raise UsageError(f"{folder} is a run of alexnet train; resume it by: alexnet train --resume {folder}")
    settings = replaced(from_json(config.pretraining), device, workers)
    refuse_settings(settings)
    try:
        stores = open_all(data or config.data, settings)
    except DataError as error:
        raise (error if data else moved(error, config, folder)) from error
    task = build(stores, settings, layer_at(read_progress(folder), settings))
    check_same_parts(task.state, config, folder)
    keep_place(config, data, task.state.loader.store, folder)
    _refuse_other_defaults(config.recipe, task.state.recipe, folder)
    warn_of_differences(config, task.state.device, task.state.dtype)
    return train_in(folder, task)


def refuse_settings(settings: Settings) -> None:
    """UsageError for settings that cannot work, whatever the data; reads no data."""
    recipe = settings.recipe(1)
    pick_precision(recipe.precision, pick_device(recipe.device))
    network = shape_of(recipe, 2)
    chosen(cut(network), settings.layers)
    preprocessing_of(network, recipe, Form(recipe.store_size or 256))


def _refuse_other_defaults(began: dict[str, Any], recipe: Recipe, folder: Path) -> None:
    """UsageError where a setting that the run left open is another in this version than in the one it began with."""
    now = dataclasses.asdict(recipe)
    for name, value in dataclasses.asdict(recipe_from_json(began)).items():
        if name not in ("device", "workers") and now[name] != value:
            raise UsageError(
                f"the run {folder} began with {name} {value}, for which this version takes {now[name]}; start anew"
            )


def layer_at(progress: Progress | None, settings: Settings) -> int:
    """Index of the layer that a checkpoint holds the trainer of: at an epoch's end still that of this epoch."""
    if progress is None:
        return 0
    epoch = progress.epoch if progress.step else max(0, progress.epoch - 1)
    return epoch // settings.epochs


def open_all(data: str, settings: Settings, look: Callable[[Source, Settings], None] | None = None) -> list[Store]:
    """The store of the data called `data`, and of all that is named in `also`, in its form; packed if need be.

    look: raises an error for a first source that cannot be used.
    """
    check = None if look is None else lambda source: look(source, settings)
    recipe = settings.recipe(1)
    wanted = {"size": recipe.store_size, "fit": recipe.fit, "value_range": recipe.values, "exact": recipe.exact}
    first = _opened(data, settings, wanted, check)
    return [first, *(_opened(name, settings, vars(first.form)) for name in settings.more)]


def _opened(
    data: str, settings: Settings, form: Mapping[str, Any], look: Callable[[Source], None] | None = None
) -> Store:
    with bar("packing") as packing:
        return named_store(data, **form, progress=packing, max_bad=settings.max_bad, look=look, opener=open_images)


def refuse_data(source: Source, settings: Settings) -> None:
    """Refuse, before any image is read, data with too few images."""
    if len(source.samples) < 2:
        raise DataError(f"{source.name} has {len(source.samples)} images; at least 2 are needed, better thousands")
    labels = np.array([sample.label for sample in source.samples])
    given = np.array([sample.split for sample in source.samples])
    parts = split(labels, given, source.class_names, source.fractions, settings.recipe(1))
    if not settings.also:  # else that is known when all are open
        check_batch(int((parts == "train").sum()), settings.recipe(1).batch_size)
