"""Several processes train as one does: gradients, steps, runs, what is sent, and what an end of one of them costs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alexnet.data.sources import open_source
from alexnet.data.store import pack
from alexnet.errors import UsageError
from alexnet.networks import create
from alexnet.networks.layers import skip_init
from alexnet.runs.folder import RunFolder
from alexnet.training.initial import freeze
from alexnet.training.parallel import check_division
from alexnet.training.recipes import recipe
from alexnet.training.splitting import split_layers
from alexnet.training.traffic import sent

HERE = Path(__file__).parent
SCHEMES = ("data", "owt")
NETWORKS = {"modern": (63, {"width": 0.0625}), "cifar-13pct": (16, {}), "cifar-80sec": (16, {})}
FROZEN = {"cifar-80sec": "1"}

Jobs = Callable[..., Path]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, write_digits: Callable[[Path, int, int], Path]) -> Jobs:
    """Lets groups of processes do jobs of parallel_worker.py, once; gives the folder of what they found."""
    folder = tmp_path_factory.mktemp("parallel")
    write_digits(folder / "images", 4, 14)
    pack(open_source(str(folder / "images")), folder / "store", 64, workers=1)
    done: dict[str, list[int]] = {}

    def do(*names: str) -> Path:
        if new := [name for name in names if name not in done]:
            worker = [sys.executable, str(HERE / "parallel_worker.py"), str(folder / "store"), str(folder), *new]
            paths = os.pathsep.join(filter(None, sys.path))
            subprocess.run(worker, check=True, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})
            done.update(codes(folder))
            (folder / "codes.json").write_text(json.dumps(done))
        return folder

    return do


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def checked(request: pytest.FixtureRequest, jobs: Jobs) -> tuple[int, Path, Path]:
    """Processes, what one found, and what so many found."""
    folder = jobs("check-1", f"check-{request.param}")
    assert not any(codes(folder)[f"check-{request.param}"]), (folder / f"check-{request.param}-0.txt").read_text()
    return request.param, folder / "check-1", folder / f"check-{request.param}"


def codes(folder: Path) -> dict[str, list[int]]:
    """The exit codes of each job's processes."""
    return json.loads((folder / "codes.json").read_text())


def worst(one: Path, other: Path) -> float:
    """The largest difference between two files of tensors, as a share of each tensor's largest value."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    largest = {name: tensor.double().abs().max().clamp_min(1e-30) for name, tensor in first.items()}
    return max(float((first[name] - second[name]).double().abs().max() / largest[name]) for name in first)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_are_those_of_one_process(checked: tuple[int, Path, Path], network: str, scheme: str) -> None:
    """With mixed images, dropout, BatchNorm over all images and, in the second scheme, dense layers that are split."""
    _, one, several = checked
    name = f"gradients {network} {scheme}.safetensors"
    assert len(load_file(one / name)) >= 6
    assert worst(one / name, several / name) < 1e-12


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rule", ["sgd", "velocity", "adamw"])
def test_steps_are_those_of_one_process(checked: tuple[int, Path, Path], rule: str, scheme: str) -> None:
    """Weights, running statistics, moving average and the optimizer's state after three steps, and what these told."""
    _, one, several = checked
    name = f"steps {rule} {scheme}.safetensors"
    assert {key.partition(".")[0] for key in load_file(one / name)} == {"network", "average", "optimizer"}
    assert worst(one / name, several / name) < 1e-9
    mine, theirs = (json.loads((each / "told.json").read_text())[f"told {rule} {scheme}"] for each in (one, several))
    assert torch.tensor(theirs) == pytest.approx(torch.tensor(mine), rel=1e-6)


def test_muons_step_of_whole_matrices_is_that_of_one_process(checked: tuple[int, Path, Path]) -> None:
    """Its momentum closely; the weights up to rounding to bfloat16, which its polynomials enlarge."""
    _, one, several = (checked[0], *(load_file(each / "steps muon data.safetensors") for each in checked[1:]))
    momenta = [name for name in one if name.startswith("optimizer.") and name.endswith(".momentum")]
    assert len(momenta) == 7  # five convolutions, two hidden dense layers
    for name in momenta:
        torch.testing.assert_close(several[name], one[name], rtol=0, atol=1e-4 * float(one[name].abs().max()))
    for name in (name for name in one if name.startswith("network.") and name.endswith(".weight")):
        assert float((several[name] - one[name]).norm()) <= 2e-3 * float(one[name].norm())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_steps_in_bfloat16_with_masters_in_float32(checked: tuple[int, Path, Path], scheme: str) -> None:
    """Every process computes with the rounded weights of all; gradients are summed in bfloat16."""
    _, one, several = checked
    name = f"steps bfloat16 {scheme}.safetensors"
    assert load_file(several / name)["network.conv2.weight"].dtype == torch.float32
    mine, theirs = load_file(one / name), load_file(several / name)
    for key in mine:
        assert float((theirs[key] - mine[key]).double().norm()) <= 0.05 * float(mine[key].double().norm()), key
    assert json.loads((several / "told.json").read_text())[f"rounded {scheme}"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("network", NETWORKS)
def test_bytes_sent_are_those_of_the_formula(checked: tuple[int, Path, Path], network: str, scheme: str) -> None:
    ranks, _, several = checked
    counted = json.loads((several / "told.json").read_text())[f"sent {network} {scheme}"]
    side, differences = NETWORKS[network]
    made = create(network, 4, side, **differences).double()
    freeze(made, FROZEN.get(network, ""))
    expected = sent(made, ranks, scheme, 8 // ranks, torch.float64)
    assert {name: counted.get(name, 0) for name in ("gradients", "norm", "activations")} == {
        name: expected[name] for name in ("gradients", "norm", "activations")
    }


def test_a_question_is_answered_alike_by_all(checked: tuple[int, Path, Path]) -> None:
    assert json.loads((checked[2] / "told.json").read_text())["agreed"] == [True, False]


@pytest.fixture(scope="module")
def bvlc() -> Any:
    with skip_init():
        return create("bvlc", 1000)


@pytest.mark.parametrize(
    ("ranks", "stock", "data", "owt"), [(2, 244, 122, 13.8), (4, 366, 183, 34.1), (8, 427, 213, 71.0)]
)
def test_megabytes_of_bvlc_at_128_images_a_gpu(bvlc: Any, ranks: int, stock: int, data: int, owt: float) -> None:
    """Stock: a ring's all-reduce of float32 gradients. Ours in bfloat16."""
    values = sum(each.numel() for each in bvlc.parameters())
    assert round(2 * (ranks - 1) / ranks * values * 4 / 1e6) == stock
    mine, split = (sent(bvlc, ranks, scheme, 128, torch.bfloat16) for scheme in SCHEMES)
    assert round(mine.total() / 1e6) == data
    assert split.total() / 1e6 == pytest.approx(owt, abs=0.06)


@pytest.mark.parametrize(("ranks", "published"), [(2, 18), (4, 41), (8, 79)])
def test_one_weird_trick_sends_what_krizhevskys_scheme_does(bvlc: Any, ranks: int, published: int) -> None:
    """Convolutions in float32, activations in bfloat16, and a thousand scores an image that go back beside."""
    convolutions = sent(bvlc, ranks, "owt", 128, torch.float32)
    activations = sent(bvlc, ranks, "owt", 128, torch.bfloat16)["activations"]
    scores = 2 * 2 * (ranks - 1) * 128 * 1000 // ranks
    total = convolutions["gradients"] + convolutions["weights"] + activations - scores
    assert round(total / 1e6) == published


def test_layers_that_are_split(bvlc: Any) -> None:
    assert split_layers(bvlc, 4) == {
        **{"fc6": "rows", "relu6": "columns", "drop6": "columns"},
        **{"fc7": "columns", "relu7": "columns", "drop7": "columns", "fc8": "columns"},
    }
    assert list(split_layers(create("cifar-80sec", 3, 16), 2)) == ["fc64"]  # three classes do not divide


def test_one_weird_trick_is_refused_where_it_divides_nothing() -> None:
    network = create("cifar-19pct", 3, 16)
    with pytest.raises(UsageError, match="no dense layer of cifar-19pct divides its units among 2 processes"):
        check_division(network, recipe("cifar-19pct", parallel="owt"), 2)
    with pytest.raises(UsageError, match="splits matrices that muon needs whole"):
        check_division(create("modern", 4), recipe("modern", parallel="owt", optimizer="muon"), 2)


# --- runs ---


@pytest.mark.slow
def test_a_run_that_lost_a_process_goes_on_in_one(jobs: Jobs) -> None:
    folder = jobs("lose-2", "resume-1")
    assert (codes(folder)["lose-2"], codes(folder)["resume-1"]) == ([1, -9], [0])
    lines = (folder / "lose-2-0.txt").read_text().splitlines()
    assert lines[-1].startswith("alexnet: another process was lost")
    assert "resuming after 1 of 2 epochs and 1 steps" in (folder / "resume-1-0.txt").read_text()  # none is lost
    assert RunFolder(folder / "lose-2").read_config().environment["processes"] == 2
    assert RunFolder(folder / "resume-1").is_finished


@pytest.mark.slow
def test_an_interrupted_run_comes_to_what_one_process_comes_to(jobs: Jobs) -> None:
    folder = jobs("lose-2", "run-1", "run-2", "resume-1", "resume-4")
    checkpoint = Path("last", "checkpoint.safetensors")
    for other in ("run-2", "resume-1", "resume-4"):
        assert worst(folder / "run-1" / checkpoint, folder / other / checkpoint) < 1e-2
        rows = [RunFolder(folder / each).read_epochs() for each in ("run-1", other)]
        for mine, theirs in zip(*rows, strict=True):
            for name in ("train_loss", "train_top1", "test_loss"):
                assert float(theirs[name] or 0) == pytest.approx(float(mine[name] or 0), rel=1e-3)


@pytest.mark.slow
def test_ctrl_c_in_any_process_saves_once_and_only_the_first_talks(jobs: Jobs) -> None:
    folder = jobs("interrupt-2")
    assert codes(folder)["interrupt-2"] == [130, 130]
    first, second = ((folder / f"interrupt-2-{rank}.txt").read_text() for rank in (0, 1))
    assert "interrupted after 0 of 2 epochs and 2 steps and saved; go on with: alexnet train --resume" in first
    assert second == ""
    assert (folder / "interrupt-2" / "last" / "checkpoint.safetensors").is_file()


@pytest.mark.slow
def test_what_cannot_be_shared_is_refused_in_one_line_by_the_first(jobs: Jobs) -> None:
    folder = jobs("refused-2")
    assert codes(folder)["refused-2"] == [22, 22]
    lines = (folder / "refused-2-0.txt").read_text().splitlines()
    assert "batch size 6 with 2 processes; a multiple of 4 is needed" in lines[1]
    assert "alexnet summary works in one process, and 2 were started" in lines[2]
    assert len(lines) == 3
    assert (folder / "refused-2-1.txt").read_text() == ""
    assert not (folder / "refused-2").exists()


@pytest.mark.slow
def test_evaluate_and_predict_give_one_processs_answers(jobs: Jobs) -> None:
    folder = jobs("run-1", "models-1", "models-2")
    assert codes(folder)["models-2"] == [0, 0]
    one, several = ((folder / f"models-{ranks}-0.txt").read_text().splitlines() for ranks in (1, 2))
    assert len(one) == 3 + 4 * 56  # a warning, JSON, the header of the CSV; four classes of each image
    assert [line for line in several if not line.startswith("process 0")] == [
        line.replace("models-1", "models-2") for line in one
    ]
    assert (folder / "models-2-1.txt").read_text() == ""
    files = ("metrics.json", "predictions.csv")
    assert all(
        (folder / "models-1-evaluation" / file).read_bytes() == (folder / "models-2-evaluation" / file).read_bytes()
        for file in files
    )


@pytest.mark.slow
def test_torchrun_starts_a_lost_process_again_and_the_run_goes_on(jobs: Jobs, tmp_path: Path) -> None:
    folder = jobs()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command += [str(HERE / "parallel_worker.py"), str(folder / "store"), str(tmp_path), "restarted"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resuming after 1 of 2 epochs and 1 steps" in done.stderr  # the step in which it was killed is taken again
    assert RunFolder(tmp_path / "run").is_finished
