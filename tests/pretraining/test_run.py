"""Whole pre-trainings, small: real digits as PNG files, with and without class folders."""

import csv
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from alexnet import cli
from alexnet.data.form import Form
from alexnet.data.sources import open_source
from alexnet.errors import DataError, Interrupted, UsageError, WeightsError
from alexnet.inference.classifier import load
from alexnet.plots import pretraining as drawn
from alexnet.pretraining import task as pretraining
from alexnet.pretraining.run import open_all, pretrain, refuse_data, resume
from alexnet.pretraining.settings import Settings
from alexnet.runs.checkpoint import Progress
from alexnet.runs.folder import CHECKPOINT
from alexnet.training.recipes import recipe
from alexnet.training.run import resume as resume_training
from alexnet.training.run import train
from alexnet.training.saving import Saver
from alexnet.weights.card import BEST, read_card

pytestmark = pytest.mark.usefixtures("shown_log")

SMALL = {"input_size": 64, "batch_size": 8, "layers": "2", "epochs": 2, "augment": "crop"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 real digits in one folder, without classes."""
    source, root = open_source("digits"), tmp_path_factory.mktemp("data") / "digits"
    root.mkdir()
    for row in range(48):
        Image.fromarray(source.read(row)).save(root / f"{row}.png")
    return root


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def equal(one: Path, two: Path) -> bool:
    a, b = load_file(one / BEST), load_file(two / BEST)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def coded(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(
        str(digits), Settings(**{**SMALL, "epochs": 3, "lr": 5e-3}), tmp_path_factory.mktemp("runs") / "coded"
    )


def test_a_run_writes_all_its_files(coded):
    files = "config.json metrics.csv metrics.json split.csv samples.png filters.png rebuilt.png errors.png"
    assert {path.name for path in coded.iterdir()} == {*files.split(), "filters", "weights", "last"}
    rows = table(coded / "metrics.csv")
    assert [row["layer"] for row in rows] == ["conv1"] * 3 + ["conv2"] * 3
    assert [row["split"] for row in table(coded / "split.csv")].count("val") == 5
    assert set(load_file(coded / BEST)) >= {"conv1.weight", "bn1.running_mean", "conv2.weight"}
    assert not any(name.startswith(("conv3", "fc", "trainer")) for name in load_file(coded / BEST))
    assert read_card(coded / BEST).training["layers"] == ["conv1", "conv2"]


@pytest.mark.parametrize(
    ("method", "whiten", "speaks"), [("crbm", True, True), ("crbm", False, False), ("autoencoder", True, False)]
)
def test_the_filter_figure_mentions_whitening_only_if_there_is_any(digits, tmp_path, method, whiten, speaks):
    settings = Settings(**{**SMALL, "layers": "1"}, method=method, whiten=whiten)
    run = pretraining.build(open_all(str(digits), settings), settings)
    run.state.path = tmp_path
    pretraining.keep_filters(run, 0)
    pretraining.draw_filters(run)
    grown = {0: run.layers[0].conv.weight.detach()}
    drawn.filters(grown, f"conv1, {method}", tmp_path / "wanted.png", whitened=speaks)
    assert (tmp_path / "filters.png").read_bytes() == (tmp_path / "wanted.png").read_bytes()


def test_the_held_out_error_falls_below_a_constant_prediction(coded):
    layers = json.loads((coded / "metrics.json").read_text())["layers"]
    assert layers.keys() == {"conv1", "conv2"}
    assert layers["conv1"]["error"] < 0.7 * layers["conv1"]["constant_error"]
    errors = [float(row["error"]) for row in table(coded / "metrics.csv") if row["layer"] == "conv2"]
    assert errors[-1] < errors[0]


def test_additional_data_is_trained_on_and_never_measured_on(digits, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for row in range(48, 68):
        Image.fromarray(open_source("digits").read(row)).save(more / f"{row}.png")
    settings = Settings(**{**SMALL, "layers": "1", "epochs": 1}, also=str(more))
    run = pretrain(str(digits), settings, tmp_path / "run")
    parts = {row["path"]: row["split"] for row in table(run / "split.csv")}
    assert {parts[f"{row}.png"] for row in range(48, 68)} == {"train"}
    assert sum(part == "val" for part in parts.values()) == 5
    built = pretraining.build(open_all(str(digits), settings), settings)
    rows = np.array([67, 0, 48])
    source = open_source("digits")
    for image, row in zip(built.state.loader.store.mapped(rows), rows, strict=True):
        assert np.array_equal(image, Form(built.state.loader.store.size).read(source.read(row)))
    assert np.array_equal(built.state.loader.store.images(rows), np.stack(built.state.loader.store.mapped(rows)))
    (more / "67.png").unlink()
    with pytest.raises(DataError, match="has changed since the run"):
        resume(run)


def test_held_out_images_are_excluded_from_additional_data(digits, tmp_path):
    settings = Settings(**{**SMALL, "layers": "1", "epochs": 1}, also=str(digits))
    run = pretraining.build(open_all(str(digits), settings), settings)
    held_out = set(run.state.parts["val"])
    assert len(held_out) == 5
    assert set(run.state.parts["train"]) == {row for row in range(2 * 48) if row % 48 not in held_out}


def test_few_images_can_be_trained_on_beside_many(digits, tmp_path):
    for row in (0, 1):
        shutil.copy(digits / f"{row}.png", tmp_path / f"{row}.png")
    settings = Settings(**{**SMALL, "layers": "1", "epochs": 1, "validation": 0.0}, also=str(digits))
    assert len(open_all(str(tmp_path), settings, refuse_data)) == 2
    with pytest.raises(UsageError, match="batch size 8 is larger than the 2 training images"):
        open_all(str(tmp_path), Settings(**{**SMALL, "validation": 0.0}), refuse_data)


def test_initial_scales_are_measured_on_all_classes(tmp_path):
    for name, gray in (("black", 0), ("white", 255)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(100):
            Image.new("L", (8, 8), gray).save(tmp_path / "data" / name / f"{number}.png")
    settings = Settings(**SMALL, store_size=64)
    run = pretraining.build(open_all(str(tmp_path / "data"), settings), settings)
    seen = pretraining.probe(run.state.loader, run.layer)
    assert len(seen) == pretraining.PROBE
    assert (seen[:, 0, 32, 32] > 0).float().mean() == 0.5


def test_resume_refuses_other_defaults(digits, tmp_path):
    run = pretrain(str(digits), Settings(**SMALL), tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["recipe"]["lr"] = 0.5
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"began with lr 0\.5, for which this version takes 0\.003; start anew"):
        resume(run)


def test_training_starts_from_pretrained_layers(coded, tmp_path, caplog):
    source, root = open_source("digits"), tmp_path / "classes"
    for row in [row for row, sample in enumerate(source.samples) if sample.label < 2][:32]:
        folder = root / str(source.samples[row].label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.read(row)).save(folder / f"{row}.png")
    small = {"input_size": 64, "batch_size": 8, "train_scale": 1.0, "first_train_scale": 1.0, "epochs": 1, "ema": 0.0}
    run = train(str(root), recipe("modern", init=str(coded), freeze="1", **small), tmp_path / "run")
    assert "conv1, bn1, conv2, bn2; new: conv3" in caplog.text
    assert torch.equal(load_file(run / BEST)["conv1.weight"], load_file(coded / BEST)["conv1.weight"])
    assert not torch.equal(load_file(run / BEST)["conv2.weight"], load_file(coded / BEST)["conv2.weight"])


def test_batchnorm_statistics_are_those_of_the_layers_output(coded, digits):
    run = pretraining.build(open_all(str(digits), Settings(**SMALL)), Settings(**SMALL))
    run.state.network.load_state_dict(load_file(coded / BEST), strict=False)
    images = torch.cat(list(run.views(run.state.parts["train"]))).float()
    found = run.layer.conv(images).detach()
    assert torch.allclose(run.layer.norm.running_mean, found.mean((0, 2, 3)), atol=0.02 * found.std().item())


def test_weights_kept_within_a_layer_have_batchnorm_statistics(digits, tmp_path):
    run = pretraining.build(open_all(str(digits), Settings(**SMALL)), Settings(**SMALL))
    run.state.path = tmp_path
    with Saver(minutes=5, size=0) as saver:
        run.keep(Progress(), {}, saver)
    kept = load_file(tmp_path / BEST)
    found = run.layer.conv(torch.cat(list(run.views(run.state.parts["train"]))).float()).detach()
    assert torch.allclose(kept["bn1.running_mean"], found.mean((0, 2, 3)), atol=0.02 * found.std().item())
    assert torch.allclose(kept["bn1.running_var"], found.var((0, 2, 3)), rtol=0.1)


def test_labels_are_not_read(digits, tmp_path):
    runs = []
    for name, labels in (("same", lambda row: "a" if row % 2 else "b"), ("other", lambda row: "ab"[row < 20])):
        file = digits / f"{name}.csv"
        lines = [f"{row}.png,{labels(row)},{'val' if row % 6 == 0 else 'train'}" for row in range(48)]
        file.write_text("\n".join(["path,label,split", *lines]))
        runs.append(
            pretrain(str(file), Settings(**{**SMALL, "epochs": 1, "layers": "1", "test": 0.0}), tmp_path / name)
        )
        file.unlink()
    assert equal(*runs)


@pytest.mark.parametrize("method", ["autoencoder", "crbm"])
@pytest.mark.parametrize("step", [4, 10, 11, 13])  # in the first layer, at its end, after it, in the second
def test_resume_is_bit_exact(digits, tmp_path, monkeypatch, method, step):
    settings = Settings(**{**SMALL, "method": method})
    unbroken = tmp_path.parent / f"unbroken-{method}"
    if not unbroken.exists():
        pretrain(str(digits), settings, unbroken)
    stop_at(monkeypatch, step)
    with pytest.raises(Interrupted, match="alexnet pretrain --resume"):
        pretrain(str(digits), settings, tmp_path / "stopped")
    monkeypatch.undo()
    resume(tmp_path / "stopped")
    assert equal(unbroken, tmp_path / "stopped")
    for column in ("layer", "train_loss", "error", "on"):
        one, two = ([row[column] for row in table(run / "metrics.csv")] for run in (unbroken, tmp_path / "stopped"))
        assert one == two


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ctrl-C after so many steps, five an epoch."""
    take, taken = pretraining.Pretraining.step, []

    def counting(self, *given):
        taken.append(1)
        if len(taken) == step:
            import signal

            signal.raise_signal(signal.SIGINT)
        return take(self, *given)

    monkeypatch.setattr(pretraining.Pretraining, "step", counting)


def test_mean_activation_of_the_crbm_approaches_its_target(digits, tmp_path):
    settings = {**SMALL, "method": "crbm", "layers": "1", "epochs": 24, "sparsity": 0.02}
    run = pretrain(str(digits), Settings(**settings), tmp_path / "run")
    rows = table(run / "metrics.csv")
    assert 0.01 < float(rows[-1]["on"]) < 0.04  # contrastive divergence pulls the other way: they meet at .032


def test_bfloat16_runs_stay_finite(digits, tmp_path):
    for method in ("autoencoder", "crbm"):
        settings = {**SMALL, "method": method, "precision": "bfloat16", "layers": "1"}
        run = pretrain(str(digits), Settings(**settings), tmp_path / method)
        assert all(tensor.isfinite().all() for tensor in load_file(run / BEST).values())


def test_runs_of_the_other_command_are_refused(coded, tmp_path):
    with pytest.raises(UsageError, match="alexnet pretrain --resume"):
        resume_training(coded)
    with pytest.raises(WeightsError, match="knows no classes; train it first"):
        load(coded)
    other = tmp_path / "trained"
    shutil.copytree(coded, other)
    config = json.loads((other / "config.json").read_text())
    del config["pretraining"], config["kind"]
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="alexnet train --resume"):
        resume(other)


def test_a_damaged_checkpoint_is_one_line(coded, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(coded, broken)
    (broken / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"the checkpoint .* is damaged"):
        resume(broken)


def test_too_few_images_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is empty"):
        pretrain(str(tmp_path / "empty"), Settings(**SMALL), tmp_path / "run")
    (tmp_path / "one").mkdir()
    Image.new("RGB", (70, 70)).save(tmp_path / "one" / "1.png")
    with pytest.raises(DataError, match="has 1 image"):
        pretrain(str(tmp_path / "one"), Settings(**SMALL), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_line_reports_json(digits, tmp_path, capsys):
    small = ["--input-size", "64", "--batch-size", "8", "--epochs", "1", "--layers", "1"]
    assert cli.main(["pretrain", str(digits), "--method", "crbm", *small, "--out", str(tmp_path / "r"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "crbm"
    assert told["layers"]["conv1"]["constant_error"] > 0


def test_the_printed_next_command_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = open_source("digits")
    for row in range(36):
        (tmp_path / "two words" / str(row % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.read(row)).save(tmp_path / "two words" / str(row % 3) / f"{row}.png")
    words = (
        "--network cifar-19pct --input-size 32 --store-size 40 --test 0.3 --no-given-splits --batch-size 8 --epochs 1"
    )
    assert cli.main(["pretrain", "two words", *words.split()]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("epoch ")] == [
        ["epoch", str(number), f"conv{number}"] for number in (1, 2, 3)
    ]
    told = lines[-1].removeprefix("alexnet: next: ")
    program, *command = shlex.split(told)
    assert program == "alexnet"
    assert cli.main([*command, "--epochs", "1", "--batch-size", "8"]) == 0
    config = json.loads((tmp_path / "runs" / "two words-cifar-19pct-1" / "config.json").read_text())
    assert config["initialised"] == ["conv1", "conv2", "conv3"]
    kept = {name: config["recipe"][name] for name in ("input_size", "store_size", "test", "given_splits")}
    assert kept == {"input_size": 32, "store_size": 40, "test": 0.3, "given_splits": False}
