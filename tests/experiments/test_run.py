"""An experiment runs once, resumes after an interruption, and reports its results."""

import csv
import html
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "alexnet.experiments")


def small(**settings: object) -> Recipe:
    return recipe("cifar-80sec", **{**SMALL, "differences": "norm=batch", **settings})


def made(data: Path, *arms: Arm, measure: str = "error", **settings: object) -> Experiment:
    study = Study("Digits", str(data), small(**settings), arms, measure)
    return Experiment("small", "Does it?", "nothing.", (study,))


RELU, TANH = Arm("ReLU"), Arm("tanh", {"differences": "norm=batch,activation=tanh"}, published="42 times")


def written(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/metrics.json")}


class Lines(logging.Handler):
    """Collects messages."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass(frozen=True)
class Finished:
    """An experiment of two arms and two seeds, an epoch each, with the messages that it logged."""

    out: Path
    results: dict[str, Any]
    log: list[str]


@pytest.fixture(scope="module")
def shared(digits: Path, own_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out, handler, logger = tmp_path_factory.mktemp("shared") / "out", Lines(), logging.getLogger("alexnet.experiments")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        results = run(made(digits, RELU, TANH, epochs=1), out, 2, "alexnet experiment small", False)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return Finished(out, results, handler.lines)


@pytest.fixture
def finished(shared: Finished, tmp_path: Path) -> Path:
    """A copy of that experiment's folder."""
    return shutil.copytree(shared.out, tmp_path / "out")


def test_an_experiment_writes_results_picture_and_a_self_contained_page(shared):
    out, results = shared.out, shared.results
    assert set(written(out)) == {"relu-seed0", "relu-seed1", "tanh-seed0", "tanh-seed1"}
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    (study,) = results["studies"]
    for arm in study["arms"]:
        errors = [1 - json.loads((Path(each["folder"]) / "metrics.json").read_text())["top1"] for each in arm["runs"]]
        assert arm["values"] == [each["error"] for each in arm["runs"]] == pytest.approx(errors)
        assert arm["mean"] == pytest.approx(sum(errors) / 2)
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [(row["arm"], row["seed"]) for row in rows] == [("ReLU", "0"), ("ReLU", "1"), ("tanh", "0"), ("tanh", "1")]
    page, words = html.unescape((out / "report.html").read_text()), (out / "table.md").read_text()
    assert "data:image/png;base64," in page
    assert "https:" not in page
    for text in (study["sentence"], "42 times", "alexnet experiment small", "not JPEG", "differences norm=batch"):
        assert text in page
        assert text in words


def test_progress_is_logged_with_the_number_of_runs_and_the_time_left(shared):
    assert shared.log[0] == f"small: 4 runs in {shared.out} with 3 seeds"
    assert shared.log[1] == "run 1 of 4: Digits, ReLU, seed 0"
    assert shared.log[-1] == "run 4 of 4: Digits, tanh, seed 1; at most 1 min left"


def test_a_finished_run_is_only_read_and_more_seeds_add_runs(digits, shared, finished, caplog):
    experiment = made(digits, RELU, TANH, epochs=1)
    before = written(finished)
    again = run(experiment, finished, 2, "alexnet experiment small", False)
    assert [arm["values"] for arm in again["studies"][0]["arms"]] == [
        arm["values"] for arm in shared.results["studies"][0]["arms"]
    ]
    assert written(finished) == before
    assert caplog.messages == []
    run(experiment, finished, 3, "", False)
    assert {name: stamp for name, stamp in written(finished).items() if name in before} == before
    assert len(written(finished)) == 6


KILLED = """
from pathlib import Path
from alexnet.experiments.experiment import Arm, Experiment, Study
from alexnet.experiments.run import run
from alexnet.training.recipes import recipe
study = Study("Digits", {data!r}, recipe("cifar-80sec", **{settings}), (Arm("ReLU"),))
run(Experiment("small", "Does it?", "nothing.", (study,)), Path({out!r}), 1, "", False)
"""


def test_resume_after_sigkill_is_bit_exact(digits, tmp_path):
    settings = {**SMALL, "differences": "norm=batch", "epochs": 12}
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    code = KILLED.format(settings=settings, data=str(digits), out=str(killed))
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    checkpoint = killed / "runs" / "relu-seed0" / "last" / "checkpoint.safetensors"
    while not checkpoint.is_file():
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert written(killed) == {}
    for out in (killed, unbroken):
        run(made(digits, RELU, epochs=12), out, 1, "", False)
    one, other = (load_file(out / "runs" / "relu-seed0" / BEST) for out in (killed, unbroken))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ctrl_c_saves_reports_progress_and_the_same_command_resumes(digits, tmp_path):
    experiment, out = made(digits, RELU, TANH, epochs=16), tmp_path / "out"

    def press() -> None:
        while not (out / "runs" / "relu-seed0" / "metrics.csv").is_file():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(Interrupted, match="saved; 0 of 2 runs are finished; resume with: alexnet experiment small"):
        run(experiment, out, 1, "alexnet experiment small", False)
    assert written(out) == {}
    before = (out / "runs" / "relu-seed0" / "config.json").stat().st_mtime_ns
    run(experiment, out, 1, "alexnet experiment small", False)
    assert set(written(out)) == {"relu-seed0", "tanh-seed0"}
    assert (out / "runs" / "relu-seed0" / "config.json").stat().st_mtime_ns == before


def test_the_best_rate_is_selected_and_a_slower_one_is_stopped_early(digits, tmp_path):
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


def test_the_time_left_scales_with_the_images_of_an_epoch():
    runs, sizes = Runs(), {"few": 5, "many": 60}
    runs.outcomes["few", "a"] = [Outcome("few", "a", 0, None, "", epochs=10, seconds=50.0)]
    assert runs.seconds_per_epoch("few", "b", sizes) == pytest.approx(5.0)
    assert runs.seconds_per_epoch("many", "a", sizes) == pytest.approx(60.0)
    runs.outcomes["many", "a"] = [Outcome("many", "a", 0, None, "", epochs=10, seconds=700.0)]
    assert runs.seconds_per_epoch("many", "b", sizes) == pytest.approx(70.0)
    assert Runs().seconds_per_epoch("few", "a", sizes) is None


def test_the_rate_is_selected_on_a_split_that_is_not_reported(digits, tmp_path):
    arm = Arm("ReLU", {}, rates=(1e-9, 0.003))
    results = run(made(digits, arm, optimizer="adam"), tmp_path / "out", 1, "", False)
    (study,) = results["studies"]
    rows = csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())
    tried = {float(row["rate"]): float(row["error"]) for row in rows if row["seed"] == str(TUNING_SEED)}
    assert set(tried) == {1e-9, 0.003}
    assert tried[study["arms"][0]["rate"]] == min(tried.values())
    assert [each["seed"] for each in study["arms"][0]["runs"]] == [0]
    assert study["rates"].startswith(f"Rates tried with seed {TUNING_SEED}: ReLU 1e-09 (")


def test_arms_of_several_studies_share_one_pre_training_run_a_seed(digits, tmp_path, caplog):
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
    caplog.clear()
    run(experiment, moved, 1, "", False)
    assert caplog.messages == []
    smaller = tuple(replace(study, base=replace(study.base, resize=70)) for study in studies)
    with pytest.raises(UsageError, match=r"3-labels-random-seed0 was run with another resize \(64, now 70\)"):
        run(replace(experiment, studies=smaller), moved, 1, "", False)
    other = replace(arms[1], pretrained={**coded, "epochs": 2})
    changed = replace(experiment, studies=(replace(studies[0], arms=(arms[0], other)), studies[1]))
    with pytest.raises(UsageError, match="was run with another init"):
        run(changed, moved, 1, "", False)
    for path in moved.glob("runs/*auto-encoder*"):
        shutil.rmtree(path)
    config = moved / "pretrained" / folder.name / "config.json"
    config.write_text(config.read_text().replace('"noise": 0.3', '"noise": 0.4'))
    with pytest.raises(UsageError, match=r"seed0 was run with another noise \(0\.4, now 0\.3\)"):
        run(experiment, moved, 1, "", False)


def test_a_diverged_run_is_an_outcome_and_is_not_repeated(digits, tmp_path, caplog):
    wild = Arm("wild", {"lr": 1e30})
    experiment, out = made(digits, RELU, wild, differences="norm=none", epochs=3), tmp_path / "out"
    results = run(experiment, out, 1, "", False)
    assert results["studies"][0]["sentence"].endswith("wild: diverged.")
    assert "the loss is" in json.loads((out / "runs" / "wild-seed0" / "diverged.json").read_text())["error"]
    caplog.clear()
    assert run(experiment, out, 1, "", False) == results
    assert caplog.messages == []


def test_diverged_pre_training_makes_the_arm_diverge(digits, tmp_path):
    wild = Arm("wild", pretrained={"method": "autoencoder", "layers": "1", "epochs": 1, "batch_size": 6, "lr": 1e30})
    base = small(network="modern", input_size=64, store_size=64, resize=64, differences="", layer_decay="", epochs=1)
    study = Study("Digits", str(digits), base, (Arm("random"), wild))
    results = run(Experiment("small", "Does it?", "nothing.", (study,)), tmp_path / "out", 1, "", False)
    assert results["studies"][0]["sentence"].endswith("wild: diverged.")
    told = json.loads((tmp_path / "out" / "runs" / "wild-seed0" / "diverged.json").read_text())["error"]
    assert "what conv1 minimises is" in told


def test_ten_views_use_the_weights_of_the_one_view_arm(digits, finished):
    ten = Arm("ten views", {}, views=10, trained_as="ReLU")
    before = written(finished)
    results = run(made(digits, RELU, ten, epochs=1), finished, 1, "", False)
    assert written(finished) == before
    one, other = results["studies"][0]["arms"]
    folder = finished / "runs" / "relu-seed0"
    assert one["mean"] == pytest.approx(1 - evaluate(folder, str(digits), 1, "test", precision="auto").top1)
    assert other["mean"] == pytest.approx(1 - evaluate(folder, str(digits), 10, "test", precision="auto").top1)
    rows = list(csv.DictReader((finished / "results.csv").read_text().splitlines()))
    assert [(row["arm"], row["views"]) for row in rows] == [("ReLU", "1"), ("ten views", "10")]
    assert "| ten views | views 10 |" in (finished / "table.md").read_text()
    assert results["hours"] == pytest.approx(float(rows[0]["seconds"]) / 3600, abs=1e-4)


def test_runs_on_changed_data_are_refused(digits, finished, tmp_path):
    data = shutil.copytree(digits, tmp_path / "data")
    next(data.rglob("*.png")).unlink()
    shutil.rmtree(finished / "runs" / "tanh-seed0")
    with pytest.raises(DataError, match=r"the data \S+data has changed between \S+relu-seed0 and \S+tanh-seed0; rest"):
        run(made(data, RELU, TANH, epochs=1), finished, 1, "", False)


def test_a_second_process_in_the_same_folder_is_refused(digits, finished):
    with held(finished), pytest.raises(UsageError, match=r"another process is at work in \S+out; wait"):
        run(made(digits, RELU, epochs=1), finished, 1, "", False)


def test_a_folder_of_something_else_is_refused_and_left_alone(digits, finished, tmp_path):
    experiment = made(digits, RELU, epochs=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"^\S+mine holds something other than an experiment; give --out"):
        run(experiment, tmp_path / "mine", 1, "", False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(
        UsageError, match=r"^\S+out holds the experiment small; give another --out, or leave out --quick"
    ):
        run(experiment, finished, 1, "", True)
    with pytest.raises(UsageError, match=r"relu-seed0 was run with another lr \(0\.003, now 0\.004\)"):
        run(made(digits, RELU, epochs=1, lr=0.004), finished, 1, "", False)
    (finished / "experiment.json").write_text("{")
    with pytest.raises(UsageError, match=r"experiment\.json is damaged"):
        run(experiment, finished, 1, "", False)
