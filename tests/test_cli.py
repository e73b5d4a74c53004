"""The command line's promises: help, exit codes, one line an error, JSON alone on standard output."""

import csv
import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from sklearn.datasets import load_digits

from alexnet import __version__, cli
from alexnet.data.preprocess import Preprocessing
from alexnet.networks import create, list_networks
from alexnet.training.recipes import recipe
from alexnet.training.settings import Recipe
from alexnet.weights.card import Card, save

ROOT = Path(__file__).parent.parent
SMALL = ["--recipe", "torchvision", "--network", "modern", "--input-size", "63", "--resize", "72"]
SMALL += ["--epochs", "1", "--batch-size", "8"]
COMMANDS = ("summary", "check", "pack", "train", "evaluate", "predict", "explain", "benchmark", "experiment")


def run(*words: str | Path, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user runs it."""
    command = [sys.executable, "-m", "alexnet", *map(str, words)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def draw(folder: Path, digits: list[str], images: int) -> None:
    """Write `images` real handwritten images of each digit as folder/<digit>/<n>.png."""
    found = load_digits()
    for digit in digits:
        (folder / digit).mkdir(parents=True)
        for number, image in enumerate(found.images[found.target == int(digit)][:images]):
            pixels = (image * 15.9).astype(np.uint8).repeat(10, 0).repeat(10, 1)
            Image.fromarray(pixels).save(folder / digit / f"{number}.png")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real images: three classes of twelve."""
    folder = tmp_path_factory.mktemp("data") / "three"
    draw(folder, ["0", "1", "4"], images=12)
    return folder


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of a short run on it, and what the command that trained it printed."""
    folder = tmp_path_factory.mktemp("work") / "first run"
    done = run("train", digits, *SMALL, "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a small network for the same three classes, in a file on its own."""
    network = create("modern", 3, 63, width=0.25)
    preprocessing = Preprocessing(63, 72, network.mean, network.std, store_size=72)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save(path, network, Card("modern", 3, 63, {"width": 0.25}, ["0", "1", "4"], preprocessing.to_json()))
    return path


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


def test_summary_without_a_name_describes_each_network_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list_networks()
    assert "  recommended for your own photos" in lines[list_networks().index("modern")]
    assert max(map(len, lines)) <= 100
    assert cli.main(["summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list_networks()


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"alexnet {__version__}\n"
    assert run("--version").stdout == f"alexnet {__version__}\n"


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
        ("train digits --config no.yaml", "no settings file no.yaml"),
        ("train", "train needs DATA"),
        ("train digits --init nowhere", "no model at"),
        ("train digits --freeze conv9", "did you mean 'conv"),
        ("train digits --freeze fc8", "must learn the classes"),
        ("train digits --init-lr-factor 0.1", "name a run with --init"),
        ("train digits --resume somewhere", "alexnet train --resume somewhere"),
        ("train --resume somewhere --epochs 3", "alexnet train --resume somewhere"),
        ("train --resume somewhere --recipe modern", "alexnet train --resume somewhere"),
        ("train --resume somewhere --device cpu --workers 1", "somewhere is not a run"),
        ("train --resume somewhere", "somewhere is not a run"),
        ("pretrain", "pretrain needs DATA"),
        ("pretrain digits --method crbn", "did you mean 'crbm'?"),
        ("pretrain digits --sparsity 0.2", "sparsity is 0.2, but only the method crbm has it"),
        ("pretrain digits --method crbm --no-tied", "tied is False, but only the method autoencoder has it"),
        ("pretrain digits --layers conv9", "unknown convolution 'conv9'"),
        ("pretrain digits --network modrn", "did you mean 'modern'?"),
        ("pretrain digits --resume somewhere", "alexnet pretrain --resume somewhere"),
        ("pretrain --resume somewhere", "somewhere is not a run"),
        ("summary alexnet", "take 'modern' for your own photos, 'one_weird_trick' for torchvision's"),
        ("summary krizhevsky2021", "did you mean 'krizhevsky2012'?"),
        ("summary modern --input-size 62", "63"),
        ("evaluate nowhere digits", "no model at nowhere"),
        ("evaluate nowhere digits --views 3", "views is 3"),
        ("evaluate nowhere digits --split tset", "did you mean 'test'?"),
        ("explain nowhere", "no model at nowhere"),
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


@pytest.mark.parametrize("command", ["check", "pack", "train"])
@pytest.mark.parametrize("data", ["missing", "empty", "unsorted", "single", "file.txt"])
def test_data_that_cannot_be_used_gets_one_line_and_exit_code_3(
    command: str, data: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    command = f"{sys.executable} -m alexnet.cli summary bvlc | true"
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, shell=True, env=variables, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_no_color_is_honoured() -> None:
    # Escape sequences that set a colour end in 30..37m; bold and dim stay, for they are no colours.
    colours = [run("train", "--help", FORCE_COLOR="1", **more).stdout for more in ({}, {"NO_COLOR": "1"})]
    assert ["\x1b[3" in text or ";3" in text for text in colours] == [True, False]


def test_summary_json_has_the_published_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "krizhevsky2012", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"network", "input_size", "layers", "params", "trainable_params", "macs"} <= answer.keys()
    assert {"name", "kind", "output_shape", "params", "macs"} <= answer["layers"][0].keys()
    assert (answer["params"], answer["macs"]) == (60_965_224, 724_406_816)


def test_summary_table_holds_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "one_weird_trick", "--classes", "17", "--input-size", "100"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "100 x 100 px" in out


def test_check_json_counts_and_changes_nothing(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat() for path in digits.rglob("*")}
    assert cli.main(["check", str(digits), "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["images"], answer["usable"], answer["fatal"], err) == (36, 36, [], "")
    assert [each["images"] for each in answer["classes"]] == [12, 12, 12]
    assert {path: path.stat().st_mtime_ns for path in digits.rglob("*")} == {
        path: facts.st_mtime_ns for path, facts in before.items()
    }


def test_check_says_in_a_line_why_training_could_not_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path, ["1", "2"], images=2)
    (tmp_path / "2" / "torn.png").write_bytes(b"")
    assert cli.main(["check", str(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert "torn.png: empty" in out
    assert err.startswith("alexnet: 1 of 5 images cannot be used")


def test_pack_writes_a_store_where_it_is_told_to(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(digits), "--out", str(tmp_path / "store"), "--size", "70", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer == {
        "folder": str(tmp_path / "store"),
        "images": 36,
        "classes": 3,
        "size": 70,
        "skipped": [],
    }
    assert err == ""
    assert (tmp_path / "store").is_dir()


def test_pack_says_what_it_skips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "data", ["1", "2"], images=3)
    (tmp_path / "data" / "2" / "torn.png").write_bytes(b"")
    assert cli.main(["pack", str(tmp_path / "data")]) == 3
    assert "2/torn.png: empty" in capsys.readouterr().err
    assert cli.main(["pack", str(tmp_path / "data"), "--max-bad", "0.5", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert [row["path"] for row in answer["skipped"]] == ["2/torn.png"]
    assert f"1 image skipped, see {answer['folder']}/skipped.csv" in err
    assert cli.main(["pack", str(tmp_path / "data")]) == 0
    assert "6 images of 2 classes, 256 px a side, 1 skipped, in " in capsys.readouterr().out


def test_pack_verify_says_sound_or_what_is_damaged(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert cli.main(["pack", str(digits), "--out", str(store), "--size", "70"]) == 0
    for words in ([str(store)], [str(digits), "--out", str(store)]):
        assert cli.main(["pack", *words, "--verify"]) == 0
        assert "sound: every checksum is right" in capsys.readouterr().out
    assert cli.main(["pack", str(store), "--verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sound"] is True
    with (store / "shard-00000.bin").open("r+b") as shard:
        shard.write(b"other")
    assert cli.main(["pack", str(store), "--verify"]) == 3
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"alexnet: store {store} is damaged: the checksum of shard-00000.bin is wrong\n")


def test_sigterm_ends_a_command_as_ctrl_c_does(digits: Path, tmp_path: Path) -> None:
    rows = [f"{digits}/{digit}/0.png,{digit}" for digit in "014"] * 10_000  # minutes of work for one process
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
    assert process.communicate(timeout=60) == ("", "alexnet: interrupted\n")
    assert process.returncode == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_train_answers_with_the_run_and_its_scores(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = trained
    answer = json.loads(done.stdout)
    assert answer == {"run": str(folder), **json.loads((folder / "metrics.json").read_text())}
    assert "Traceback" not in done.stderr
    assert "\r" not in done.stderr  # no progress bar where there is no terminal
    assert "top-5" not in done.stderr  # three classes: every answer is among five


def test_evaluate_on_the_runs_data_uses_the_runs_own_split(
    trained: tuple[Path, subprocess.CompletedProcess[str]], digits: Path, tmp_path: Path
) -> None:
    folder, training = trained
    done = run("evaluate", folder, digits, "--json", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert {"images", "top1", "top5", "macro_f1", "ece", "views", "interval", "per_class"} <= answer.keys()
    at_the_end = json.loads(training.stdout)
    assert {key: answer[key] for key in ("images", "top1", "confusion", "split")} == {
        key: at_the_end[key] for key in ("images", "top1", "confusion", "split")
    }
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "split.csv").open(newline="") as file:
        assert {row["path"] for row in rows} == {
            row["path"] for row in csv.DictReader(file) if row["split"] == answer["split"]
        }
    assert sum(int(row["correct"]) for row in rows) == round(answer["top1"] * answer["images"])
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    measured = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {**measured, "files": answer["files"]} == answer


def test_evaluate_prints_percent_for_people(
    trained: tuple[Path, subprocess.CompletedProcess[str]], digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(trained[0]), str(digits), "--split", "all", "--views", "10"]) == 0
    out = capsys.readouterr().out
    assert "36 images (all), 10 views of each" in out
    assert "top-1 " in out
    assert "top-5" not in out
    assert str(trained[0] / "evaluation-all-10" / "confusion.png") in out


def test_evaluate_of_bare_weights_says_that_it_writes_nothing(
    weights: Path, digits: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = sorted(weights.parent.iterdir())
    assert cli.main(["evaluate", str(weights), str(digits)]) == 0
    assert "where --out FOLDER says" in capsys.readouterr().out
    assert "the data has no train, val or test part" in caplog.text
    assert sorted(weights.parent.iterdir()) == before


def test_a_packed_store_is_data_for_train_and_evaluate(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
    digits: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = str(tmp_path / "store")
    assert cli.main(["pack", str(digits), "--out", store]) == 0
    assert cli.main(["evaluate", str(trained[0]), store, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["confusion"] == json.loads(trained[1].stdout)["confusion"]
    assert cli.main(["train", store, *SMALL, "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_resume_may_be_told_where_to_compute(
    trained: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "--resume", str(trained[0]), "--device", "cpu", "--workers", "1"]) == 0
    assert capsys.readouterr().out == f"{trained[0]}\n"


def test_evaluate_refuses_data_of_other_classes(
    trained: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(trained[0]), "digits"]) == 3
    err = capsys.readouterr().err
    assert "classes that the network does not know" in err
    assert err.count("\n") == 1


@pytest.fixture
def pictures(digits: Path, tmp_path: Path) -> list[str]:
    """A file, one that is damaged, a folder of two in natural order, and one that is missing."""
    (tmp_path / "some").mkdir()
    for name in ("img10.png", "img9.png"):
        (tmp_path / "some" / name).write_bytes((digits / "4" / "0.png").read_bytes())
    whole = (digits / "1" / "0.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    return [str(digits / "1" / "0.png"), *(str(tmp_path / name) for name in ("torn.png", "some", "missing.png"))]


def test_predict_answers_in_the_order_given_and_reports_what_it_cannot_read(
    trained: tuple[Path, subprocess.CompletedProcess[str]], pictures: list[str]
) -> None:
    done = run("predict", trained[0], *pictures, "--top", "2", "--json")
    answers = json.loads(done.stdout)
    good, torn, some, missing = pictures
    assert [answer["path"] for answer in answers] == [good, torn, f"{some}/img9.png", f"{some}/img10.png", missing]
    assert [bool(answer["error"]) for answer in answers] == [False, True, False, False, True]
    assert [len(answer["predictions"]) for answer in answers] == [2, 0, 2, 2, 0]
    assert answers[0]["predictions"][0].keys() == {"label", "probability"}
    assert done.returncode == 3
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [torn, missing]


def test_predict_as_csv_says_the_same(
    trained: tuple[Path, subprocess.CompletedProcess[str]], pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(trained[0]), pictures[0], "--json"]) == 0
    guesses = json.loads(capsys.readouterr().out)[0]["predictions"]
    assert cli.main(["predict", str(trained[0]), *pictures[:2], "--csv"]) == 3
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["path"], row["label"], float(row["probability"])) for row in rows[:-1]] == [
        (pictures[0], guess["label"], pytest.approx(guess["probability"], abs=1e-6)) for guess in guesses
    ]
    assert [row["rank"] for row in rows] == ["1", "2", "3", ""]
    assert (rows[-1]["path"], bool(rows[-1]["error"])) == (pictures[1], True)


def test_predict_prints_names_and_percent_for_people(
    trained: tuple[Path, subprocess.CompletedProcess[str]], pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(trained[0]), pictures[0], "--top", "1"]) == 0
    path, guess = capsys.readouterr().out.splitlines()
    assert path == pictures[0]
    assert guess.split()[1] == "%" or guess.split()[0].endswith("%")


def test_explain_writes_a_page_beside_the_run_and_says_where(
    trained: tuple[Path, subprocess.CompletedProcess[str]], digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained[0]
    assert cli.main(["explain", str(folder), str(digits / "4" / "0.png"), "--label", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["split"], answer["page"]) == ("test", str(folder / "explain" / "index.html"))
    assert all(Path(row["file"]).read_bytes().startswith(b"\x89PNG") for row in answer["pictures"])
    assert "normalisation" not in err
    assert cli.main(["explain", str(folder), "--out", str(folder / "weights")]) == 2
    assert "holds 'best.safetensors'" in capsys.readouterr().err


# --- bad input ---


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file: length, kind, content, checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


GIGANTIC = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
BAD_IMAGES = ("corrupt.png", "truncated.png", "empty.png", "gigantic.png", "text.jpg")


@pytest.fixture(scope="module")
def bad(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of everything that a user may give by mistake; <bad image>/ holds it among five good ones."""
    folder = tmp_path_factory.mktemp("bad")
    draw(folder / "good", ["0", "1", "4"], images=4)
    draw(folder / "lonely", ["0", "1"], images=4)
    draw(folder / "lonely", ["4"], images=1)
    image = (folder / "good" / "0" / "0.png").read_bytes()
    middle = len(image) // 2
    contents = (
        image[:middle] + b"\0" * 20 + image[middle + 20 :],
        image[:middle],
        b"",
        GIGANTIC,
        b"a letter, not a photo",
    )
    for name, content in zip(BAD_IMAGES, contents, strict=True):
        draw(folder / name, ["0"], images=3)
        draw(folder / name, ["1"], images=2)
        (folder / name / "1" / name).write_bytes(content)
    tensors = weights.read_bytes()
    (folder / "small.safetensors").write_bytes(tensors)
    (folder / "truncated.safetensors").write_bytes(tensors[:-100])
    (folder / "tampered.safetensors").write_bytes(tensors[:-1] + bytes([tensors[-1] ^ 1]))
    torch.save({"weight": torch.ones(3)}, folder / "pickled.pt")
    return folder


TRAIN = "--network modern --input-size 63 --epochs 1 --batch-size 2"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("predict truncated.safetensors good/0/0.png", 1, "is truncated"),
        ("predict tampered.safetensors good/0/0.png", 1, "altered or damaged"),
        ("predict pickled.pt good/0/0.png", 1, "is a pickle"),
        ("explain truncated.safetensors good/0/0.png --out pictures", 1, "is truncated"),
        ("explain small.safetensors good/0/0.png", 2, "name a folder: --out FOLDER"),
        ("explain small.safetensors --out pictures", 2, "give images, or DATA with --data"),
        ("explain small.safetensors good/0/0.png --out good", 2, "good holds '0'"),
        ("explain small.safetensors good/0/0.png --out pictures --label 5", 2, "unknown label '5'"),
        ("explain small.safetensors good/0/0.png --out pictures --layer conv9", 2, "unknown layer of modern 'conv9'"),
        ("explain small.safetensors text.jpg/1/text.jpg --out pictures", 3, "text.jpg/1/text.jpg: not an image"),
        ("explain small.safetensors nothing.jpg --out pictures", 3, "nothing.jpg: "),
        ("explain small.safetensors good/0/0.png --data nowhere --out pictures", 3, "no such folder or file"),
        ("explain small.safetensors --data digits --out pictures", 3, "classes that the network does not know"),
        ("explain small.safetensors good/0/0.png --out small.safetensors/pictures", 1, "small.safetensors/pictures"),
        ("summary modren", 2, "did you mean 'modern'?"),
        ("train good --recipe modren", 2, "did you mean 'modern'?"),
        ("train good --epoch 3", 2, "No such option: --epoch"),
        ("train good --epochs 0", 2, "epochs is 0"),
        ("train good --network modern --input-size 63 --batch-size 1000", 2, "larger than the"),
        ("train good --network modern --input-size 62", 2, "63"),
        ("summary modern --input-size 62", 2, "63"),
        (f"train lonely {TRAIN}", 3, "'4'"),
        *((f"train {name} {TRAIN}", 3, f"1/{name}: ") for name in BAD_IMAGES),
        *((f"pack {name}", 3, f"1/{name}: ") for name in BAD_IMAGES),
        (f"train good {TRAIN} --out small.safetensors/run", 1, "cannot write small.safetensors/run"),
        (f"train good {TRAIN} --out /proc/run", 1, "cannot write /proc/run"),
        ("pack good --size 72 --out small.safetensors/store", 1, "small.safetensors/store: "),
        ("pack good --size 72 --out /proc/store", 1, "cannot write /proc/store"),
    ],
)
def test_bad_input_gets_its_exit_code_one_line_and_nothing_written(
    line: str,
    code: int,
    said: str,
    bad: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(bad)
    before = sorted(bad.rglob("*"))
    assert cli.main(line.split()) == code
    out, err = capsys.readouterr()
    (reason,) = (each for each in err.splitlines() if each.startswith("alexnet: "))
    assert said in reason
    assert err.endswith(f"{reason}\n")
    assert "Traceback" not in err
    assert out == ""
    assert sorted(bad.rglob("*")) == before


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_predict_answers_for_the_good_ones_beside_a_bad_image(
    name: str, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(bad / "small.safetensors"), str(bad / name), "--json"]) == 3
    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert [answer["path"] for answer in answers if answer["error"]] == [str(bad / name / "1" / name)]
    assert sum(len(answer["predictions"]) == 3 for answer in answers) == 5
    assert err.startswith(f"alexnet: {bad / name / '1' / name}: ")
    assert err.count("\n") == 1


def test_predict_keeps_the_answers_beside_folders_without_images_or_that_cannot_be_read(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none" / "below").mkdir(parents=True)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    asked = [tmp_path / "none", bad / "good" / "0" / "0.png", tmp_path / "circle", bad / "good" / "1"]
    assert cli.main(["predict", str(bad / "small.safetensors"), *map(str, asked), "--json"]) == 3
    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert [bool(answer["error"]) for answer in answers] == [True, False, True, False, False, False, False]
    lines = err.splitlines()
    assert lines[0] == f"alexnet: {tmp_path / 'none'}: a folder without images"
    assert lines[1].startswith(f"alexnet: {tmp_path / 'circle'}: cannot be read: ")
    assert len(lines) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_predict_keeps_the_answers_beside_a_locked_sub_folder(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "photos", ["0", "1"], images=2)
    (tmp_path / "photos" / "0").chmod(0)
    assert cli.main(["predict", str(bad / "small.safetensors"), str(tmp_path / "photos"), "--json"]) == 3
    (tmp_path / "photos" / "0").chmod(0o700)
    out, err = capsys.readouterr()
    assert [bool(answer["error"]) for answer in json.loads(out)] == [True, False, False]
    assert err == f"alexnet: {tmp_path / 'photos' / '0'}: cannot be read: Permission denied\n"


def test_names_that_are_no_text_are_printed_all_the_same(bad: Path, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(f"{name}.png").write_bytes((bad / "good" / "0" / "0.png").read_bytes())
    done = run("predict", bad / "small.safetensors", f"{name}.png", f"{name}.jpg", PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 3
    assert done.stdout.startswith(f"{tmp_path}/caf\\udce9.png\n")
    assert f"{tmp_path}/caf\\udce9.jpg: " in done.stderr
    assert "Traceback" not in done.stderr


def test_check_of_a_packed_store_says_what_to_check_instead(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(digits), "--out", str(tmp_path / "store"), "--size", "64"]) == 0
    capsys.readouterr()
    assert cli.main(["check", str(tmp_path / "store")]) == 2
    assert "is a packed store; check the images it was made from" in capsys.readouterr().err
