"""An experiment runs once, goes on where it was stopped, and says what came out."""

import csv
import html
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alexnet.errors import DataError, Interrupted, UsageError
from alexnet.experiments.experiment import TUNING_SEED, Arm, Experiment, Study
from alexnet.experiments.results import Outcome
from alexnet.experiments.run import Runs, run
from alexnet.files import held
from alexnet.inference.evaluate import evaluate
from alexnet.training.recipes import recipe
from alexnet.training.settings import Recipe
from alexnet.weights.card import BEST

pytestmark = pytest.mark.usefixtures("shown_log")

SOURCE = Path(__file__).parents[2] / "src"
SMALL = {"input_size": 16, "store_size": 20, "resize": 20, "batch_size": 6, "lr": 0.003, "epochs": 2, "lr_drops": ()}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, write_digits: Callable[[Path, int, int], Path]) -> Path:
    """Two classes of twelve real digits."""
    return write_digits(tmp_path_factory.mktemp("data") / "digits", 2, 12)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def small(**settings: object) -> Recipe:
    return recipe("cifar-80sec", **{**SMALL, "differences": "norm=batch", **settings})


def made(data: Path, *arms: Arm, measure: str = "error", **settings: object) -> Experiment:
    study = Study("Digits", str(data), small(**settings), arms, measure)
    return Experiment("small", "Does it?", "nothing.", (study,))


RELU, TANH = Arm("ReLU"), Arm("tanh", {"differences": "norm=batch,activation=tanh"}, published="42 times")


def written(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/metrics.json")}


def test_an_experiment_leaves_its_figures_its_picture_and_a_page_that_stands_alone(digits, tmp_path, capsys):
    out = tmp_path / "out"
    results = run(made(digits, RELU, TANH), out, 2, "alexnet experiment small", False)
    assert set(written(out)) == {"relu-seed0", "relu-seed1", "tanh-seed0", "tanh-seed1"}
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    (study,) = results["studies"]
    for arm in study["arms"]:
        errors = [1 - json.loads((Path(each["folder"]) / "metrics.json").read_text())["top1"] for each in arm["runs"]]
        assert arm["values"] == [each["error"] for each in arm["runs"]] == pytest.approx(errors)
        assert arm["mean"] == pytest.approx(sum(errors) / 2)
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [(row["arm"], row["seed"]) for row in rows] == [("ReLU", "0"), ("ReLU", "1"), ("tanh", "0"), ("tanh", "1")]
    page, words = (out / "report.html").read_text(), (out / "table.md").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page
    for text in (study["sentence"], "42 times", "alexnet experiment small", "not JPEG", "differences norm=batch"):
        assert html.escape(text) in page
        assert text in words
    told = capsys.readouterr().err
    assert "run 1 of 4: Digits, ReLU, seed 0\n" in told
    assert told.startswith(f"small: 4 runs in {tmp_path}/")
    assert "run 4 of 4: Digits, tanh, seed 1; at most 1 min left" in told


def test_a_finished_run_is_only_read_and_more_seeds_add_runs(digits, tmp_path, capsys):
    experiment, out = made(digits, RELU, TANH, epochs=1), tmp_path / "out"
    first = run(experiment, out, 1, "", False)
    before = written(out)
    assert run(experiment, out, 1, "", False) == first
    assert written(out) == before
    assert capsys.readouterr().err.count("run 1 of") == 1
    run(experiment, out, 2, "", False)
    assert {name: stamp for name, stamp in written(out).items() if name in before} == before
    assert len(written(out)) == 4


KILLED = """
import sys
from pathlib import Path
from alexnet.experiments.experiment import TUNING_SEED, Arm, Experiment, Study
from alexnet.experiments.run import run
from alexnet.files import held
from alexnet.training.recipes import recipe
base = recipe("cifar-80sec", **{settings})
study = Study("Digits", {data!r}, base, (Arm("ReLU"), Arm("tanh", {tanh})))
run(Experiment("small", "Does it?", "nothing.", (study,)), Path({out!r}), 1, "", False)
"""


def test_an_experiment_killed_in_the_middle_of_a_run_goes_on_to_the_same_weights(digits, tmp_path):
    settings = {**SMALL, "differences": "norm=batch", "epochs": 12}
    code = KILLED.format(settings=settings, data=str(digits), tanh=dict(TANH.settings), out=str(tmp_path / "killed"))
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed" / "runs" / "tanh-seed0" / "last" / "checkpoint.safetensors"
    while not checkpoint.is_file():
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert set(written(tmp_path / "killed")) == {"relu-seed0"}
    experiment = made(digits, RELU, TANH, epochs=12)
    for name in ("killed", "unbroken"):
        run(experiment, tmp_path / name, 1, "", False)
    for arm in ("relu", "tanh"):
        one, other = (load_file(tmp_path / name / "runs" / f"{arm}-seed0" / BEST) for name in ("killed", "unbroken"))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_ctrl_c_saves_says_how_far_it_is_and_the_same_command_goes_on(digits, tmp_path):
    experiment, out = made(digits, RELU, TANH, epochs=60), tmp_path / "out"

    def press() -> None:
        while not (out / "runs" / "relu-seed0" / "last" / "checkpoint.safetensors").is_file():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(Interrupted, match="saved; 0 of 2 runs are finished; go on with: alexnet experiment small"):
        run(experiment, out, 1, "alexnet experiment small", False)
    assert written(out) == {}
    before = (out / "runs" / "relu-seed0" / "config.json").stat().st_mtime_ns
    run(experiment, out, 1, "alexnet experiment small", False)
    assert set(written(out)) == {"relu-seed0", "tanh-seed0"}
    assert (out / "runs" / "relu-seed0" / "config.json").stat().st_mtime_ns == before


def test_the_best_rate_is_taken_and_a_slower_one_is_cut_short(digits, tmp_path):
    arm = Arm("ReLU", {}, rates=(0.003, 1e-6))
    settings = {"stop_train_error": 0.15, "epochs": 60, "optimizer": "adam"}
    results = run(made(digits, arm, measure="epochs", **settings), tmp_path / "out", 2, "", False)
    (study,) = results["studies"]
    rows = csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())
    runs = {(row["rate"], row["seed"]): row for row in rows}
    assert set(runs) == {("0.003", "0"), ("1e-06", "0"), ("0.003", "1")}
    assert study["arms"][0]["rate"] == 0.003
    reached = study["arms"][0]["runs"][0]["epochs"]
    assert reached < 60
    assert runs["1e-06", "0"]["epochs_to_target"] == ""
    assert int(runs["1e-06", "0"]["epochs"]) == reached
    assert study["rates"].startswith("Rates tried with seed 0: ReLU 0.003 (")
    assert study["rates"].endswith(f" % after {reached} epochs), the best at the edge of those tried.")


def test_the_time_that_is_left_counts_the_images_of_an_epoch():
    runs, sizes = Runs(), {"few": 5, "many": 60}
    runs.outcomes["few", "a"] = [Outcome("few", "a", 0, None, "", epochs=10, seconds=50.0)]
    assert runs.seconds_per_epoch("few", "b", sizes) == pytest.approx(5.0)
    assert runs.seconds_per_epoch("many", "a", sizes) == pytest.approx(60.0)
    runs.outcomes["many", "a"] = [Outcome("many", "a", 0, None, "", epochs=10, seconds=700.0)]
    assert runs.seconds_per_epoch("many", "b", sizes) == pytest.approx(70.0)
    assert Runs().seconds_per_epoch("few", "a", sizes) is None


def test_an_error_does_not_choose_the_rate_that_it_is_reported_at(digits, tmp_path):
    arm = Arm("ReLU", {}, rates=(1e-9, 0.003))
    results = run(made(digits, arm, optimizer="adam"), tmp_path / "out", 1, "", False)
    (study,) = results["studies"]
    rows = csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())
    tried = {float(row["rate"]): float(row["error"]) for row in rows if row["seed"] == str(TUNING_SEED)}
    assert set(tried) == {1e-9, 0.003}
    assert tried[study["arms"][0]["rate"]] == min(tried.values())
    assert [each["seed"] for each in study["arms"][0]["runs"]] == [0]
    assert study["rates"].startswith(f"Rates tried with seed {TUNING_SEED}: ReLU 1e-09 (")


def test_arms_of_several_studies_begin_from_one_pre_training_a_seed(digits, tmp_path, capsys):
    coded = {"method": "autoencoder", "layers": "1", "epochs": 1, "batch_size": 6}
    arms = (Arm("random"), Arm("auto-encoder", pretrained=coded))
    base = small(network="modern", input_size=64, store_size=64, resize=64, differences="", layer_decay="", epochs=1)
    studies = tuple(Study(f"{count} labels", str(digits), replace(base, train_images=count), arms) for count in (3, 6))
    experiment = Experiment("small", "Does it?", "nothing.", studies, across=("labels", (3, 6)))
    results = run(experiment, tmp_path / "out", 1, "", False)
    (folder,) = (tmp_path / "out" / "pretrained").iterdir()
    told = json.loads((folder / "metrics.json").read_text())
    for count in (3, 6):
        config = json.loads(
            (tmp_path / "out" / "runs" / f"{count}-labels-auto-encoder-seed0" / "config.json").read_text()
        )
        assert config["recipe"]["init"] == str(folder)
        assert config["initialised"] == ["conv1", "bn1"]
    assert results["pretrained"][0]["layers"] == told["layers"]
    assert results["studies"][0]["arms"][1]["settings"]["pretrained by"].startswith("autoencoder, layers 1")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"Pre-training {folder.name}: {told['images']} images without labels" in page
    moved = tmp_path / "moved"
    (tmp_path / "out").rename(moved)
    capsys.readouterr()
    run(experiment, moved, 1, "", False)
    assert "run " not in capsys.readouterr().err
    smaller = tuple(replace(study, base=replace(study.base, resize=70)) for study in studies)
    with pytest.raises(UsageError, match=r"3-labels-random-seed0 was run with another resize \(64, now 70\)"):
        run(replace(experiment, studies=smaller), moved, 1, "", False)
    for path in moved.glob("runs/*auto-encoder*"):
        shutil.rmtree(path)
    config = moved / "pretrained" / folder.name / "config.json"
    config.write_text(config.read_text().replace('"noise": 0.3', '"noise": 0.4'))
    with pytest.raises(UsageError, match=r"seed0 was run with another noise \(0\.4, now 0\.3\)"):
        run(experiment, moved, 1, "", False)
    config.write_text(config.read_text().replace('"noise": 0.4', '"noise": 0.3'))
    run(experiment, moved, 1, "", False)
    other = replace(arms[1], pretrained={**coded, "epochs": 2})
    changed = replace(experiment, studies=(replace(studies[0], arms=(arms[0], other)), studies[1]))
    with pytest.raises(UsageError, match="was run with another init"):
        run(changed, moved, 1, "", False)


def test_a_loss_that_is_not_finite_is_an_outcome_and_is_not_tried_again(digits, tmp_path, capsys):
    wild = Arm("wild", {"lr": 1e30})
    experiment, out = made(digits, RELU, wild, differences="norm=none", epochs=3), tmp_path / "out"
    results = run(experiment, out, 1, "", False)
    assert results["studies"][0]["sentence"].endswith("wild: diverged.")
    assert "the loss is" in json.loads((out / "runs" / "wild-seed0" / "diverged.json").read_text())["error"]
    capsys.readouterr()
    assert run(experiment, out, 1, "", False) == results
    assert "run " not in capsys.readouterr().err


def test_an_arm_whose_pre_training_diverges_has_diverged(digits, tmp_path):
    wild = Arm("wild", pretrained={"method": "autoencoder", "layers": "1", "epochs": 1, "batch_size": 6, "lr": 1e30})
    base = small(network="modern", input_size=64, store_size=64, resize=64, differences="", layer_decay="", epochs=1)
    study = Study("Digits", str(digits), base, (Arm("random"), wild))
    results = run(Experiment("small", "Does it?", "nothing.", (study,)), tmp_path / "out", 1, "", False)
    assert results["studies"][0]["sentence"].endswith("wild: diverged.")
    told = json.loads((tmp_path / "out" / "runs" / "wild-seed0" / "diverged.json").read_text())["error"]
    assert "what conv1 minimises is" in told


def test_views_are_of_the_same_weights(digits, tmp_path):
    ten = Arm("ten views", {}, views=10, trained_as="ReLU")
    results = run(made(digits, RELU, ten), tmp_path / "out", 1, "", False)
    assert set(written(tmp_path / "out")) == {"relu-seed0"}
    one, other = results["studies"][0]["arms"]
    folder = tmp_path / "out" / "runs" / "relu-seed0"
    assert one["mean"] == pytest.approx(1 - evaluate(folder, str(digits), 1, "test")["top1"])
    assert other["mean"] == pytest.approx(1 - evaluate(folder, str(digits), 10, "test")["top1"])
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert [(row["arm"], row["views"]) for row in rows] == [("ReLU", "1"), ("ten views", "10")]
    assert "| ten views | views 10 |" in (tmp_path / "out" / "table.md").read_text()
    assert results["hours"] == pytest.approx(float(rows[0]["seconds"]) / 3600, abs=1e-4)


def test_runs_of_data_that_has_changed_are_not_compared(digits, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(digits, data)
    run(made(data, RELU, epochs=1), tmp_path / "out", 1, "", False)
    next(data.rglob("*.png")).unlink()
    with pytest.raises(DataError, match=r"the data \S+data has changed between \S+relu-seed0 and \S+tanh-seed0; put"):
        run(made(data, RELU, TANH, epochs=1), tmp_path / "out", 1, "", False)


def test_two_processes_do_not_work_in_one_folder(digits, tmp_path):
    experiment, out = made(digits, RELU, epochs=1), tmp_path / "out"
    out.mkdir()
    with held(out), pytest.raises(UsageError, match=r"another process is at work in \S+out; wait"):
        run(experiment, out, 1, "", False)
    run(experiment, out, 1, "", False)


def test_a_folder_of_something_else_is_left_alone(digits, tmp_path):
    experiment = made(digits, RELU, epochs=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"^\S+mine holds something that is no experiment; give --out"):
        run(experiment, tmp_path / "mine", 1, "", False)
    run(experiment, tmp_path / "out", 1, "", False)
    said = r"^\S+out holds the experiment small; give another --out, or leave out --quick"
    with pytest.raises(UsageError, match=said):
        run(experiment, tmp_path / "out", 1, "", True)
    with pytest.raises(UsageError, match=r"relu-seed0 was run with another lr \(0\.003, now 0\.004\)"):
        run(made(digits, RELU, epochs=1, lr=0.004), tmp_path / "out", 1, "", False)
    (tmp_path / "out" / "experiment.json").write_text("{")
    with pytest.raises(UsageError, match=r"experiment\.json is damaged"):
        run(experiment, tmp_path / "out", 1, "", False)
