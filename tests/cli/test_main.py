"""The command line as a whole: help, exit codes, one line an error, signals."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import typer

from alexnet import __version__, cli
from alexnet.training.recipes import recipe
from alexnet.training.settings import Recipe

ROOT = Path(__file__).parent.parent.parent


COMMANDS = ("summary", "check", "pack", "train", "evaluate", "predict", "explain", "benchmark", "experiment")


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import sys; from alexnet import cli;"
        f"codes = [cli.main([*words, '--help']) for words in [[], *([name] for name in {COMMANDS})]];"
        "heavy = {'torch', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'PIL'} & set(sys.modules);"
        "print(codes, heavy, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == f"{[0] * (1 + len(COMMANDS))} set()\n"
    assert all(name in done.stdout for name in COMMANDS)


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "Usage: alexnet" in capsys.readouterr().out


def test_every_setting_of_a_recipe_is_an_option_with_its_help() -> None:
    command = typer.main.get_command(cli.app).commands["train"]  # type: ignore[attr-defined]
    options = {option.name: option for option in command.params}
    for field in fields(Recipe):
        if field.name != "name":
            assert options[field.name].help == field.metadata["help"]
            assert f"--{field.name.replace('_', '-')}" in options[field.name].opts


def test_help_shows_the_defaults_of_the_usual_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"[default: ({recipe().optimizer})]" in shown
    assert "[default: (None)]" not in shown


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"alexnet {__version__}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian digits", "Did you mean 'train', 'pretrain'?; see alexnet --help"),
        ("train digits --epoch 3", "No such option: --epoch (Possible options: --epochs"),
        ("train digits --epochs three", "Invalid value for '--epochs'"),
        ("train digits --epochs three", "but got 'three'; see alexnet train --help"),
        ("train digits --epochs 0", "epochs is 0"),
        ("train digits --recipe modrn", "did you mean 'modern'?"),
        ("train digits --network modrn", "did you mean 'modern'?"),
        ("train digits --input-size 20", "63"),
        ("train", "train needs DATA"),
        ("train digits --freeze conv9", "did you mean 'conv"),
        ("train digits --freeze fc8", "must learn the classes"),
        ("train digits --init none --init-lr-factor 0.1", "name a run with --init"),
        ("train --resume somewhere --epochs 3", "alexnet train --resume somewhere"),
        ("train --resume somewhere --recipe modern", "alexnet train --resume somewhere"),
        ("pretrain", "pretrain needs DATA"),
        ("pretrain digits --method crbn", "did you mean 'crbm'?"),
        ("pretrain digits --sparsity 0.2", "sparsity is 0.2, but only the method crbm has it"),
        ("pretrain digits --method crbm --no-tied", "tied is False, but only the method autoencoder has it"),
        ("pretrain digits --layers conv9", "unknown convolution 'conv9'"),
        ("pretrain digits --network modrn", "did you mean 'modern'?"),
        ("summary krizhevsky2021", "did you mean 'krizhevsky2012'?"),
        ("summary modern --input-size 62", "63"),
        ("evaluate nowhere digits --views 3", "views is 3"),
        ("evaluate nowhere digits --split tset", "did you mean 'test'?"),
        ("explain nowhere --split tset", "did you mean 'test'?"),
        ("benchmark speed", "unknown subject 'speed'"),
        ("benchmark ops --repeats 0", "repeats is 0"),
        ("benchmark ops --device abacus", "unknown device 'abacus'"),
        ("experiment relu-vs-than", "unknown experiment 'relu-vs-than': did you mean 'relu-vs-tanh'?"),
        ("experiment lrn --seeds 0", "seeds is 0; it takes 1 or more"),
        ("predict nowhere", "Missing argument 'IMAGE|FOLDER...'"),
        ("predict nowhere a.jpg --json --csv", "choose one"),
        ("predict nowhere a.jpg --top 0", "Invalid value for '--top'"),
    ],
)
def test_wrong_usage_gets_one_line_and_exit_code_2(
    line: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert err.startswith("alexnet: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


MODEL_OF = [  # MODEL or RUN is the name in each of them, and what else they take is in order
    "predict NAME photo.png",
    "evaluate NAME photos",
    "embed NAME photos --out f.npz",
    "explain NAME photo.png --out pictures",
    "export NAME",
    "compress NAME",
    "compare photo.png photo.png --model NAME",
    "weights convert NAME --out x.safetensors",
    "weights show NAME",
    "benchmark predict --model NAME",
    "train photos --init NAME",
    "calibrate NAME",
    "publish NAME me/x --license mit --dry-run look",
    "train --resume NAME",
    "train --more 3 NAME",
    "pretrain --resume NAME",
    "train photos --config NAME",
]


@pytest.mark.parametrize("name", ["nowhere", "photo.png", "notes.txt"])
@pytest.mark.parametrize("line", MODEL_OF)
def test_what_is_not_there_and_what_is_no_model_get_one_line_and_exit_code_3(
    line: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    draw: Callable[..., None],
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "photos", ["0", "1"], images=4)
    (tmp_path / "photo.png").write_bytes((tmp_path / "photos" / "0" / "0.png").read_bytes())
    (tmp_path / "notes.txt").write_text("bread, milk and cheese")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(line.replace("NAME", name).split()) == 3
    out, err = capsys.readouterr()
    assert name in err
    assert err.startswith("alexnet: ")
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(tmp_path.rglob("*")) == before
    if name == "photo.png" and "is not a run" not in err and "no run's folder" not in err and "--config" not in line:
        assert "photo.png is a picture (PNG) and no model; where a MODEL is wanted give a run's folder" in err


@pytest.mark.parametrize("command", ["check", "pack", "train"])
@pytest.mark.parametrize("data", ["missing", "empty", "unsorted", "single", "file.txt"])
def test_data_that_cannot_be_used_gets_one_line_and_exit_code_3(
    command: str,
    data: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    draw: Callable[..., None],
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "single", ["1"], images=4)
    draw(tmp_path, ["2"], images=4)
    (tmp_path / "2").rename("unsorted")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("not a list of images")
    before = sorted(tmp_path.rglob("*"))
    code = cli.main([command, data])
    err = capsys.readouterr().err
    if (command, data) == ("pack", "single"):  # a store may be of one class; it is training that needs two
        assert code == 0
    else:
        assert code == 3
        assert err.startswith("alexnet: ")
        assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("--debug check missing", "check missing --debug"):
        assert cli.main(line.split()) == 3
        err = capsys.readouterr().err
        assert err.startswith("Traceback (most recent call last)")
        assert err.splitlines()[-1].startswith("alexnet: ")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ZeroDivisionError("a fault\nof ours"), 1, "unexpected ZeroDivisionError: a fault of ours; run with --debug"),
        (PermissionError(13, "Permission denied", "cache"), 1, "cache: Permission denied"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to\nallocate"), 1, "take a smaller --batch-size"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_from_below_gets_one_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("alexnet.networks.summary.summarize", fail)
    assert cli.main(["summary", "modern"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m alexnet.cli train --help | true"
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, shell=True, env=variables, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_no_color_is_honoured() -> None:
    # Escape sequences that set a colour end in 30..37m; bold and dim stay, for they are no colours.
    def coloured(**environment: str) -> bool:
        command = [sys.executable, "-m", "alexnet.cli", "train", "--help"]
        variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "FORCE_COLOR": "1", **environment}
        text = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
        return "\x1b[3" in text or ";3" in text

    assert coloured()
    assert not coloured(NO_COLOR="1")


def test_sigterm_ends_a_command_as_ctrl_c_does(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    for number in range(20_000):  # seconds of work for one process; the same path twice would be taken once
        os.link(digits / "014"[number % 3] / "0.png", tmp_path / "digits" / f"{number}.png")
    rows = [f"digits/{number}.png,{number % 3}" for number in range(20_000)]
    (tmp_path / "long.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "out").mkdir()
    words = ["pack", tmp_path / "long.csv", "--out", tmp_path / "out" / "store", "--size", "32", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "alexnet.cli", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (out, err.splitlines()[-1]) == ("", "alexnet: interrupted")
    assert process.returncode == 130
    assert list((tmp_path / "out").iterdir()) == []
