"""Whole runs, small: real digits as PNG files in class folders."""

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from alexnet import cli
from alexnet.data.sources import open_source
from alexnet.data.store import Store, named_store
from alexnet.errors import AlexNetError, DataError, FileError, Interrupted, UsageError, WeightsError
from alexnet.plots.pictures import samples, shares_title
from alexnet.runs.checkpoint import Progress
from alexnet.runs.folder import CHECKPOINT
from alexnet.training.division import class_weights, split
from alexnet.training.loop import log_resumed
from alexnet.training.recipes import recipe
from alexnet.training.run import fitted, resume, train, train_on
from alexnet.training.supervised import Supervised, build, is_best
from alexnet.weights.card import BEST, load

pytestmark = pytest.mark.usefixtures("shown_log")

SOURCE = Path(__file__).parents[2] / "src"
SMALL = {"input_size": 64, "batch_size": 8, "train_scale": 1.0, "first_train_scale": 1.0, "evaluate_every": 1}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of sixteen real digits."""
    source, root = open_source("digits"), tmp_path_factory.mktemp("data") / "digits"
    for label in range(3):
        folder = root / f"digit {label}"
        folder.mkdir(parents=True)
        rows = [row for row, sample in enumerate(source.samples) if sample.label == label][:16]
        for row in rows:
            Image.fromarray(source.read(row)).save(folder / f"{row}.png")
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def start(digits: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    small = [word for key, value in SMALL.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "alexnet.cli", "train", str(digits), "--out", str(out), *small, *options]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(run: "subprocess.Popen[str]", path: Path, changes: int) -> None:
    """Until the file has been written that many times, while the run goes on."""
    seen: set[int] = set()
    while len(seen) < changes:
        assert run.poll() is None, "the run ended before it could be stopped"
        if path.is_file():
            seen.add(path.stat().st_mtime_ns)
        time.sleep(0.005)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / BEST)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def equal(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_writes_all_its_files(digits, tmp_path):
    run = train(str(digits), recipe("modern", epochs=2, **SMALL), tmp_path / "run")
    names = "config.json metrics.csv metrics.json curves.png confusion.png predictions.csv samples.png split.csv"
    assert {path.name for path in run.iterdir()} == {*names.split(), "weights", "last"}
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"]["epochs"] == 2
    assert torch.__version__.startswith(config["versions"]["torch"])
    rows = table(run / "metrics.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["val_top1"]) <= 1 for row in rows)
    scores = json.loads((run / "metrics.json").read_text())
    parts = [row["split"] for row in table(run / "split.csv")]
    assert (parts.count("train"), parts.count("val"), parts.count("test")) == (36, 6, 6)
    assert (scores["split"], scores["images"]) == ("test", 6)
    assert len(table(run / "predictions.csv")) == 6


def test_sample_titles_name_every_mixed_class(digits, tmp_path):
    store, settings = named_store(str(digits), size=80), recipe("modern", epochs=1, cutmix=1.0, mixup=1.0, **SMALL)
    task = build(store, settings)
    task.state.path = tmp_path
    task.begin()
    loader = task.state.loader
    batch, shown = next(loader.batches(0)), loader.preprocessing
    assert (batch.targets.amax(1) < 0.99).any()
    titles = [shares_title(shares, store.class_names) for shares in batch.targets.tolist()]
    for name, wanted in (("mixed.png", titles), ("labels.png", [store.class_names[label] for label in batch.labels])):
        samples(batch.images, shown.mean, shown.std, wanted, tmp_path / name)
    found = (tmp_path / "samples.png").read_bytes()
    assert found == (tmp_path / "mixed.png").read_bytes()
    assert found != (tmp_path / "labels.png").read_bytes()


def test_resume_after_sigkill_is_bit_exact(digits, tmp_path, caplog):
    unbroken = train(str(digits), recipe("modern", epochs=3, **SMALL), tmp_path / "unbroken")
    run = start(digits, tmp_path / "killed", "--epochs", "3", "--checkpoint-minutes", "1e-6")
    wait_for(run, tmp_path / "killed" / CHECKPOINT, changes=6)  # four steps an epoch: in the middle of the second
    run.kill()
    run.communicate()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    threads = json.loads((tmp_path / "killed" / "config.json").read_text())["threads"]
    assert threads == torch.get_num_threads()
    resume(tmp_path / "killed")
    assert "resuming after" in caplog.text
    assert equal(unbroken, tmp_path / "killed")
    columns = ("epoch", "train_loss", "val_top1")
    told = [[row[column] for column in columns] for row in table(unbroken / "metrics.csv")]
    again = table(tmp_path / "killed" / "metrics.csv")
    assert told == [[row[column] for column in columns] for row in again]


@pytest.mark.parametrize("kind", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_saves_exits_130_and_the_run_resumes_bit_exactly(digits, tmp_path, kind):
    run = start(digits, tmp_path / "stopped", "--optimizer", "adam", "--epochs", "2")
    wait_for(run, tmp_path / "stopped" / "split.csv", changes=1)
    run.send_signal(kind)
    _, errors = run.communicate()
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"--resume {tmp_path / 'stopped'}" in errors
    assert (tmp_path / "stopped" / CHECKPOINT).is_file()
    unbroken = train(str(digits), recipe("modern", epochs=2, optimizer="adam", **SMALL), tmp_path / "unbroken")
    resume(tmp_path / "stopped")
    assert equal(unbroken, tmp_path / "stopped")


def test_a_signal_during_the_final_evaluation_is_reported(digits, tmp_path, monkeypatch):
    def press(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("alexnet.plots.pictures.curves", press)
    with pytest.raises(Interrupted, match="interrupted, but the run is finished: "):
        train(str(digits), recipe("modern", epochs=1, **SMALL), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_resuming_a_finished_run_restores_lost_files(digits, tmp_path):
    run = train(str(digits), recipe("modern", epochs=1, **SMALL), tmp_path / "run")
    before = weights(run)
    for lost in ("metrics.csv", "metrics.json", "confusion.png"):
        (run / lost).unlink()
    resume(run)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(run).items())
    assert len(table(run / "metrics.csv")) == 1
    assert (run / "metrics.json").is_file()
    assert (run / "confusion.png").is_file()


def test_a_validation_share_keeps_the_given_test_part(digits, tmp_path):
    given = tmp_path / "given"
    for folder in digits.iterdir():
        for number, image in enumerate(sorted(folder.iterdir())):
            place = given / ("test" if number < 4 else "train") / folder.name / image.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(image.read_bytes())
    run = train(str(given), recipe("modern", epochs=1, validation=0.25, **SMALL), tmp_path / "run")
    rows = table(run / "split.csv")
    assert {row["path"].split("/")[0] for row in rows if row["split"] == "test"} == {"test"}
    assert [sum(row["split"] == part for row in rows) for part in ("train", "val", "test")] == [27, 9, 12]


def test_a_run_stopped_between_evaluations_has_the_weights_of_its_last_epoch(digits, tmp_path, monkeypatch):
    settings = recipe("modern", epochs=3, **{**SMALL, "evaluate_every": 3})
    step = Supervised.step

    def stop_in_epoch_3(task, batch, epoch, number):
        if (epoch, number) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)
        return step(task, batch, epoch, number)

    monkeypatch.setattr(Supervised, "step", stop_in_epoch_3)
    with pytest.raises(Interrupted, match="after 2 of 3 epochs and 2 steps") as stopped:
        train(str(digits), settings, tmp_path / "a run")
    assert load(tmp_path / "a run" / BEST).card.training["epoch"] == 2
    monkeypatch.undo()
    program, *words = shlex.split(str(stopped.value).partition("go on with: ")[2])
    assert (program, cli.main(words)) == ("alexnet", 0)
    assert load(tmp_path / "a run" / BEST).card.training["epoch"] == 3


def test_two_photos_of_two_classes_are_trained_on_without_options(write_digits, tmp_path, caplog):
    photos, sizes = write_digits(tmp_path / "photos", 2, 2), {"input_size": 64, "store_size": 64}
    run = train(str(photos), recipe("modern", epochs=1, **sizes), tmp_path / "run")
    ours = json.loads((run / "config.json").read_text())["recipe"]
    assert (ours["batch_size"], ours["evaluate_every"], ours["init"]) == (2, 1, "tiny-imagenet:modern")
    assert ours["automatic"] == "batch_size,evaluate_every,init,init_lr_factor,mix_probability,dropout"
    for line in (
        "for 2 training images of 2 classes: begins from tiny-imagenet:modern (--init none: random weights) at 0.5 of "
        "the rate, batch size 2, 1 epochs (1 steps), evaluated every 1",
        "drawn from 4 images: 0 for validation, 2 for test",
        "0 validation images are too few to choose an epoch by (30 are needed): the last weights are kept",
    ):
        assert line in caplog.text


def test_a_published_batch_above_the_training_images_is_reduced_with_a_warning(digits, tmp_path, caplog):
    sizes = {name: value for name, value in CIFAR.items() if name != "batch_size"}
    run = train(str(digits), recipe("cifar-80sec", **{**sizes, "epochs": 1}), tmp_path / "run")
    assert json.loads((run / "config.json").read_text())["recipe"]["batch_size"] == 36
    assert "batch size 36 instead of cifar-80sec's 128, for there are 36 training images" in caplog.text


def test_without_held_out_images_training_images_are_measured(digits, tmp_path):
    run = train(str(digits), recipe("modern", epochs=1, validation=0.0, test=0.0, **SMALL), tmp_path / "run")
    scores = json.loads((run / "metrics.json").read_text())
    assert (scores["split"], scores["images"], scores["chosen_on"]) == ("train", 48, None)


def test_a_non_finite_loss_stops_the_run_and_says_what_to_try(digits, tmp_path):
    wild = recipe("modern", epochs=3, optimizer="sgd", lr=1e30, precision="float32", **SMALL)
    with pytest.raises(AlexNetError, match=r"the loss is \S+ at epoch 1, step \d.*try a lower --lr"):
        train(str(digits), wild, tmp_path / "run")
    assert not (tmp_path / "run" / BEST).exists()


def test_a_folder_in_use_is_left_alone_and_the_new_name_is_logged(digits, tmp_path, caplog):
    taken = tmp_path / "run"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    run = train(str(digits), recipe("modern", epochs=1, **SMALL), taken)
    assert run == tmp_path / "run-2"
    assert [path.name for path in taken.iterdir()] == ["thesis.txt"]
    assert "run-2" in caplog.text


def test_wrong_settings_leave_no_folder(digits, tmp_path):
    wrongs = ({"batch_size": 64}, {"batch_size": 1}, {"input_size": 62}, {"network": "lenet"}, {"device": "tpu"})
    for wrong in wrongs:
        with pytest.raises(UsageError):
            train(str(digits), recipe("modern", **{**SMALL, **wrong}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_resume_refuses_damaged_checkpoints(digits, tmp_path):
    run = train(str(digits), recipe("modern", epochs=1, **SMALL), tmp_path / "run")
    checkpoint = (run / CHECKPOINT).read_bytes()
    (run / CHECKPOINT).write_bytes(checkpoint[:1000])
    with pytest.raises(WeightsError, match="is damaged"):
        resume(run)
    (run / CHECKPOINT).write_bytes(checkpoint[:-1] + bytes([checkpoint[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"is damaged \(its checksum"):
        resume(run)
    (run / CHECKPOINT).write_bytes(checkpoint)
    with pytest.raises(FileError, match="is not a run"):
        resume(tmp_path)


def test_resume_refuses_a_checkpoint_of_another_network(digits, tmp_path):
    run = train(str(digits), recipe("modern", epochs=1, **SMALL), tmp_path / "run")
    settings = json.loads((run / "config.json").read_text())
    settings["recipe"]["network"] = "article"
    (run / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="belongs to another network"):
        resume(run)


def test_validation_selects_the_weights_and_test_never_does():
    progress = Progress(best_epoch=1, rows=[{"epoch": 1, "val_top1": 0.8, "val_loss": 0.5}, {"epoch": 2}])
    assert not is_best(progress, {"val_top1": 0.79, "val_loss": 0.1})
    assert is_best(progress, {"val_top1": 0.81, "val_loss": 0.9})
    assert not is_best(progress, {"test_top1": 1.0})


def test_of_equal_validation_scores_the_lower_loss_is_kept():
    progress = Progress(best_epoch=1, rows=[{"epoch": 1, "val_top1": 0.8, "val_loss": 0.5}])
    assert is_best(progress, {"val_top1": 0.8, "val_loss": 0.49})
    assert not is_best(progress, {"val_top1": 0.8, "val_loss": 0.5})


def test_an_epoch_without_validation_is_kept_until_one_with_it_comes():
    assert is_best(Progress(), {"epoch": 1})
    progress = Progress(best_epoch=1, rows=[{"epoch": 1}])
    assert is_best(progress, {"epoch": 2})
    assert is_best(progress, {"epoch": 2, "val_top1": 0.0, "val_loss": 9.0})


def test_class_weights_balance_the_classes():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weighed = class_weights(labels, 3)
    assert torch.allclose(torch.bincount(torch.from_numpy(labels)) * weighed, torch.full((3,), 10 / 3))
    assert weighed[torch.from_numpy(labels)].mean() == pytest.approx(1.0)


@pytest.fixture
def imbalanced(digits: Path, tmp_path: Path) -> Store:
    """Sixteen images of one class and four of another, all for training."""
    root = tmp_path / "imbalanced"
    for label, count in (("digit 0", 16), ("digit 1", 4)):
        (root / label).mkdir(parents=True)
        for image in sorted((digits / label).iterdir())[:count]:
            (root / label / image.name).write_bytes(image.read_bytes())
    return named_store(str(root), size=80)


EVERY = {"validation": 0.0, "test": 0.0, "epochs": 1, **SMALL}


def test_classes_that_differ_fivefold_bring_the_offer_of_balanced_sampling(imbalanced, write_digits, tmp_path, caplog):
    fitted(recipe("modern", **EVERY), imbalanced)
    assert "--balance" not in caplog.text  # fourfold
    photos = write_digits(tmp_path / "photos", 2, 10)
    for image in sorted((photos / "digit 1").iterdir())[2:]:
        image.unlink()
    store = named_store(str(photos), size=16)
    fitted(recipe("modern", balance="sampling", **EVERY), store)
    assert "--balance" not in caplog.text
    fitted(recipe("modern", **EVERY), store)
    assert "'digit 1' has 2 training images, 'digit 0' has 10: --balance sampling" in caplog.text


def test_balanced_sampling_draws_every_class_equally_often(imbalanced):
    loader = build(imbalanced, recipe("modern", balance="sampling", **EVERY)).state.loader
    drawn = np.concatenate([imbalanced.labels[loader.order(epoch)] for epoch in range(50)])
    assert np.mean(drawn == 1) == pytest.approx(0.5, abs=0.06)  # three standard deviations of 1,000 draws
    plain = build(imbalanced, recipe("modern", **EVERY)).state.loader
    assert np.mean(imbalanced.labels[plain.order(0)] == 1) == pytest.approx(0.2)


def test_balanced_weights_reach_the_loss_of_a_step(imbalanced):
    tasks = [build(imbalanced, recipe("modern", balance=balance, lr=1e-6, **EVERY)) for balance in ("weights", "none")]
    assert torch.allclose(tasks[0].class_weights, torch.tensor([20 / 32, 20 / 8]))
    losses = []
    for task in tasks:
        task.begin_epoch(0)
        losses.append(float(task.step(next(task.state.loader.batches(0)), 0, 0)[0]))
    assert losses[0] != losses[1]


def test_a_finished_run_is_trained_on_as_a_new_run_from_its_weights(digits, tmp_path, caplog):
    settings = {**SMALL, "lr": 1e-9, "first_train_scale": 0.5, "ema": 0.0, "weight_decay": 0.0}  # hardly moves a weight
    first = train(str(digits), recipe("modern", epochs=2, split_seed=3, **settings), tmp_path / "first")
    before = (first / "config.json").read_bytes()
    second = train_on(first, 1, tmp_path / "second")
    assert "its weights, settings and data, 1 epochs more, in a new run" in caplog.text
    assert len(table(second / "metrics.csv")) == 1
    assert (first / "config.json").read_bytes() == before
    assert (first / "split.csv").read_bytes() == (second / "split.csv").read_bytes()
    ours = json.loads((second / "config.json").read_text())["recipe"]
    assert (ours["lr"], ours["epochs"], ours["init"], ours["first_train_scale"]) == (1e-9, 1, str(first), 1.0)
    assert all(
        torch.allclose(tensor, weights(first)[name], atol=1e-5)
        for name, tensor in weights(second).items()
        if name.endswith("weight")
    )


def test_only_a_finished_run_is_trained_on(digits, tmp_path):
    run = train(str(digits), recipe("modern", epochs=1, **SMALL), tmp_path / "run")
    (run / "metrics.json").unlink()
    with pytest.raises(FileError, match="is not finished"):
        train_on(run, 1, tmp_path / "second")


def test_tensorboard_writes_events(digits, tmp_path):
    run = train(str(digits), recipe("modern", epochs=1, tensorboard=True, **SMALL), tmp_path / "run")
    assert list((run / "tensorboard").glob("events.*"))


def test_unreadable_images_are_skipped_up_to_max_bad(digits, tmp_path):
    photos = tmp_path / "photos"
    for image in digits.glob("*/*.png"):
        (photos / image.parent.name).mkdir(parents=True, exist_ok=True)
        (photos / image.parent.name / image.name).write_bytes(image.read_bytes())
    next(photos.glob("*/*.png")).write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 48 images cannot be used.*--max-bad"):
        train(str(photos), recipe("modern", epochs=1, max_bad=0.02, **SMALL), tmp_path / "run")
    run = train(str(photos), recipe("modern", epochs=1, max_bad=0.05, **SMALL), tmp_path / "run")
    assert len(table(run / "split.csv")) == 47


CIFAR = {
    "input_size": 16,
    "store_size": 16,
    "resize": 16,
    "batch_size": 6,
    "lr": 0.003,
    "lr_drops": (30,),
    "epochs": 40,
}


def test_a_run_stops_at_its_target_training_error_also_after_a_resume(digits, tmp_path):
    settings = recipe("cifar-80sec", stop_train_error=0.4, differences="norm=batch", **CIFAR)
    run = train(str(digits), settings, tmp_path / "run")
    errors = [1 - float(row["train_top1"]) for row in table(run / "metrics.csv")]
    assert len(errors) < 40
    assert errors[-1] <= 0.4 < min(errors[:-1])
    assert table(run / "metrics.csv")[-1]["val_top1"] != ""
    before = weights(run)
    resume(run)
    assert len(table(run / "metrics.csv")) == len(errors)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(run).items())


def test_without_given_splits_shares_and_seed_divide_all_images():
    labels, given = np.repeat([0, 1], 40), np.array((["test"] * 20 + ["val"] * 10 + ["train"] * 10) * 2)
    settings = {"given_splits": False, "test": 0.25}
    parts = [split(labels, given, ["a", "b"], (0.0, 0.5), recipe("modern", split_seed=n, **settings)) for n in (0, 1)]
    for found in parts:
        assert [(found[labels == label] == "test").sum() for label in (0, 1)] == [10, 10]
        assert set(found) == {"train", "test"}
    assert (parts[0] != parts[1]).any()
    kept = split(labels, given, ["a", "b"], (0.0, 0.5), recipe("modern"))
    assert (kept == given).all()


def test_smaller_training_subsets_are_nested_and_leave_held_out_parts_alone(digits, tmp_path):
    labels = np.repeat(np.arange(3), 16)
    given = np.full(48, "", dtype="<U5")

    def parts(count: int | None) -> dict[str, set[int]]:
        found = split(labels, given, ["a", "b", "c"], (0.125, 0.125), recipe("modern", train_images=count))
        return {part: set(np.flatnonzero(found == part)) for part in ("train", "val", "test")}

    every, five, two = parts(None), parts(5), parts(2)
    assert [len(each["train"]) for each in (every, five, two)] == [36, 15, 6]
    assert two["train"] < five["train"] < every["train"]
    assert all(each[part] == every[part] for each in (five, two) for part in ("val", "test"))
    assert sorted(labels[list(two["train"])]) == [0, 0, 1, 1, 2, 2]
    assert parts(100) == every


def test_network_differences_are_in_the_card_and_wrong_ones_are_refused_before_reading(digits, tmp_path):
    settings = recipe("cifar-80sec", differences="activation=tanh,pool=2", **{**CIFAR, "epochs": 1})
    run = train(str(digits), settings, tmp_path / "run")
    network, card = load(run / BEST)
    assert card.differences == {"activation": "tanh", "pool": 2}
    assert any(isinstance(module, torch.nn.Tanh) for module in network.modules())
    for wrong, line in (("activation=rely", "did you mean 'relu'"), ("act=relu", "unknown difference of cifar-80sec")):
        with pytest.raises(UsageError, match=line):
            train("no/such/data", recipe("cifar-80sec", differences=wrong), tmp_path / "other")
    with pytest.raises(UsageError, match="unknown layer in layer_decay 'fc8'"):
        train("no/such/data", recipe("cifar-80sec", layer_decay="fc8=1"), tmp_path / "other")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "cuda:99"}, "cuda"),
        ({"precision": "float16"}, "float16"),
        ({"batch_size": 1}, "BatchNorm"),
        ({"resize": 60}, "resize 60 is smaller"),
        ({"init": "no/such/run"}, "no model at"),
        ({"freeze": "conv9"}, "conv9"),
        ({"network": "lenet"}, "lenet"),
    ],
)
def test_wrong_settings_are_refused_before_data_is_opened(tmp_path, settings, message):
    with pytest.raises((UsageError, WeightsError), match=message):
        train("no/such/data", recipe("modern", **{**SMALL, **settings}), tmp_path / "run")


def test_an_unwritable_place_is_refused_before_data_is_opened(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AlexNetError, match=r"cannot write .* is not a folder"):
        train("no/such/data", recipe("modern", **SMALL), tmp_path / "file" / "run")


def test_initial_weights_that_fit_nowhere_are_refused_before_data_is_opened(digits, tmp_path):
    wide = recipe("cifar-80sec", differences="norm=batch", **{**CIFAR, "epochs": 1})
    run = train(str(digits), wide, tmp_path / "run")
    with pytest.raises(WeightsError, match="is of the network 'cifar-80sec', this run trains 'modern'"):
        train("no/such/data", recipe("modern", init=str(run), **SMALL), tmp_path / "other")


@pytest.fixture(scope="module")
def leaking(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and test folders of two classes, with two pictures in both, and one under both labels."""
    root = tmp_path_factory.mktemp("leaking") / "photos"
    for name in ("digit 0", "digit 1"):
        images = sorted((digits / name).iterdir())
        for part, some in (("train", images[:12]), ("test", images[11:])):
            (root / part / name).mkdir(parents=True)
            for image in some:
                (root / part / name / image.name).write_bytes(image.read_bytes())
        (root / "train" / name / "x.png").write_bytes(next((digits / "digit 2").iterdir()).read_bytes())
    return root


def test_leaks_are_told_by_a_run_and_stand_in_its_metrics(leaking, tmp_path, caplog):
    settings = recipe("cifar-80sec", validation=0.0, **{**CIFAR, "epochs": 1})
    run = train(str(leaking), settings, tmp_path / "run")
    assert "2 pictures stand in more than one part and 1 picture stands under two labels" in caplog.text
    found = json.loads((run / "metrics.json").read_text())["leaks"]
    assert (found["across_parts"], found["two_labels"], len(found["examples"])) == (2, 1, 3)


def test_without_duplicates_nothing_held_out_is_trained_on(leaking, tmp_path, caplog):
    settings = recipe("cifar-80sec", drop_duplicates=True, **{**CIFAR, "epochs": 1})
    run = train(str(leaking), settings, tmp_path / "run")
    assert "3 images equal another one, pixel for pixel: they are dropped" in caplog.text
    assert "stand in more than one part" not in caplog.text
    rows = table(run / "split.csv")
    digests = [row["digest"] for row in rows]
    assert len(rows) == len(set(digests)) == 36 - 3
    assert sum(row["split"] == "test" for row in rows) == 10
    before = weights(run)
    resume(run)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(run).items())


def test_dropped_duplicates_that_leave_a_class_untrained_are_refused(leaking, tmp_path):
    shutil.copytree(leaking, tmp_path / "photos")
    shutil.rmtree(tmp_path / "photos" / "train" / "digit 1")
    shutil.copytree(tmp_path / "photos" / "test" / "digit 1", tmp_path / "photos" / "train" / "digit 1")
    settings = recipe("cifar-80sec", drop_duplicates=True, **{**CIFAR, "epochs": 1})
    with pytest.raises(DataError, match="no training images of 'digit 1'"):
        train(str(tmp_path / "photos"), settings, tmp_path / "run")


def test_a_resume_says_which_epochs_it_takes_again(digits, tmp_path, caplog):
    run = train(str(digits), recipe("modern", epochs=2, **SMALL), tmp_path / "run")
    resume(run)
    assert "all 2 epochs are finished" in caplog.text
    task = build(named_store(str(digits), size=80), recipe("modern", epochs=9, **SMALL))
    task.state.path = run
    log_resumed(task.state, Progress(epoch=1))
    assert "resuming after 1 of 9 epochs and 0 steps; 1 later epochs" in caplog.text
