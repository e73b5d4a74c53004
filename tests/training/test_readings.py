"""Steps whose numbers are read together come to the same, and what is not finite is found before anything is saved."""

import csv
import threading
from pathlib import Path

import pytest
import torch

from alexnet.data.sources import open_source
from alexnet.data.store import pack
from alexnet.errors import Diverged
from alexnet.training import loop
from alexnet.training.readings import Readings, interval
from alexnet.training.recipes import recipe
from alexnet.training.run import train
from alexnet.training.supervised import Supervised, build

SMALL = {"input_size": 16, "store_size": 16, "resize": 16, "batch_size": 100, "train_images": 100, "device": "cpu"}


def told(numbers, epoch, step):
    if numbers[0] != numbers[0]:
        raise Diverged(f"step {epoch}.{step}")
    return numbers[0], numbers[1]


def test_numbers_are_read_together_and_in_order():
    readings = Readings(told, 3)
    found = [readings.add(torch.tensor([float(step), 2.0 * step]), 0, step) for step in range(5)]
    assert found == [[], [], [(0, 0), (1, 2), (2, 4)], [], []]
    assert readings.read() == [(3, 6), (4, 8)]
    assert readings.read() == []


def test_the_processor_is_read_at_every_step():
    assert interval(torch.device("cpu")) == 1 < interval(torch.device("cuda"))


def test_the_first_step_that_is_not_finite_is_named():
    readings = Readings(told, 8)
    for step in range(5):
        readings.add(torch.tensor([float("nan") if step in (2, 4) else 1.0, 0.0]), 7, step)
    with pytest.raises(Diverged, match=r"step 7\.2"):
        readings.read()


def test_metrics_do_not_depend_on_how_many_steps_are_read_together(tmp_path, monkeypatch):
    def rows(name):
        run = train("digits", recipe("cifar-80sec", epochs=2, **SMALL), tmp_path / name)
        with open(run / "metrics.csv", newline="") as file:
            return [{key: row[key] for key in row if key != "images_per_second"} for row in csv.DictReader(file)]

    one = rows("one")
    monkeypatch.setattr(loop, "interval", lambda device: 4)
    assert rows("four") == one


class Due:
    """A saver for which a checkpoint is always due."""

    def due(self, epoch_ended):
        return True


def test_a_checkpoint_is_never_of_weights_behind_a_loss_that_was_not_read(tmp_path, monkeypatch):
    store = pack(open_source("digits"), Path(tmp_path) / "store", size=16, workers=1)
    task = build(store, recipe("cifar-80sec", epochs=1, **SMALL))
    step, saved = Supervised.step, []

    def nan_at_2(task, batch, epoch, number):
        numbers = step(task, batch, epoch, number)
        return numbers * float("nan") if number == 2 else numbers

    monkeypatch.setattr(Supervised, "step", nan_at_2)
    monkeypatch.setattr(loop, "interval", lambda device: 100)
    monkeypatch.setattr(loop, "save", lambda state, progress, saver: saved.append(progress.step))
    with pytest.raises(Diverged, match="the loss is nan at epoch 1, step 3; try a lower --lr"):
        loop.train_epoch(task, loop.Progress(), loop.TrainingBar(0), threading.Event(), Due())
    assert saved == [1, 2]
    monkeypatch.setattr(Due, "due", lambda saver, epoch_ended: False)
    with pytest.raises(Diverged, match="the loss is nan at epoch 1, step 3"):  # at the end of the epoch
        loop.train_epoch(task, loop.Progress(), loop.TrainingBar(0), threading.Event(), Due())
    assert saved == [1, 2]
