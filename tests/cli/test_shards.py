"""alexnet pack|predict|evaluate|embed --shard I/N, then --merge: what one command gives, byte for byte."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import alexnet

Run = Callable[..., Any]


def divided(run: Run, words: list[Any], parts: Path, count: int = 2) -> Any:
    """What --merge comes to after every shard was done, the last one first."""
    for number in range(count, 0, -1):
        done = run(*words, "--shard", f"{number}/{count}", "--parts", parts, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["shard"] == f"{number}/{count}"
    return run(*words, "--merge", "--parts", parts)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def many(draw: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """75 digits in three classes: two or three batches."""
    folder = tmp_path_factory.mktemp("many") / "digits"
    draw(folder, ["0", "1", "4"], images=25)
    return folder


def test_pack_writes_the_same_store(run: Run, many: Path, tmp_path: Path) -> None:
    words = ["pack", many, "--size", "72"]
    assert run(*words, "--out", tmp_path / "one").code == 0
    done = divided(run, [*words, "--out", tmp_path / "put"], tmp_path / "parts", 3)
    assert done.code == 0, done.err
    assert files(tmp_path / "put") == files(tmp_path / "one")


@pytest.mark.filterwarnings("always:the data has no train")
def test_evaluate_gives_the_same_scores_and_files(run: Run, many: Path, weights: Path, tmp_path: Path) -> None:
    words = ["evaluate", weights, many, "--batch-size", "32", "--json"]
    whole = run(*words, "--out", tmp_path / "one")
    done = divided(run, [*words, "--out", tmp_path / "put"], tmp_path / "parts", 3)
    assert done.code == 0, done.err
    assert done.out == whole.out.replace(str(tmp_path / "one"), str(tmp_path / "put"))
    assert files(tmp_path / "put") == files(tmp_path / "one")
    again = run(*words[:-1], "--shard", "1/3", "--parts", tmp_path / "parts")
    assert "part 1/3: 32 images, done before, in" in again.out


def test_predict_prints_the_same_answers_and_what_cannot_be_read(
    run: Run, many: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "torn.png").write_bytes(b"torn")
    words = ["predict", weights, many, tmp_path / "torn.png", tmp_path / "missing.png", "--views", "10", "--top", "2"]
    done = divided(run, words, tmp_path / "parts", 2)
    for form in ("--json", "--csv"):
        whole, merged = run(*words, form), run(*words, form, "--merge", "--parts", tmp_path / "parts")
        assert (done.code, merged.code, whole.code) == (3, 3, 3)
        assert (merged.out, merged.err) == (whole.out, whole.err)
        assert len(whole.err.splitlines()) == 2


def test_unknown_images_and_sets_are_counted_over_all_parts(
    calibrated_run: "alexnet.Run",
    write_digits: Callable[[Path, int, int], Path],
    foreign_pictures: Path,
    tmp_path: Path,
    run: Run,
) -> None:
    data = write_digits(tmp_path / "digits", 3, 30)
    words = ["evaluate", calibrated_run.folder, data, "--split", "all", "--unknown", foreign_pictures]
    words += ["--coverage", "0.9", "--include-trained"]
    assert run(*words, "--out", tmp_path / "one").code == 0
    done = divided(run, [*words, "--out", tmp_path / "put"], tmp_path / "parts", 3)
    assert done.code == 0, done.err
    assert files(tmp_path / "put") == files(tmp_path / "one")
    told = json.loads((tmp_path / "put" / "metrics.json").read_text(encoding="utf-8"))
    assert told["own_unknown"]["images"] == told["images"] > 64
    assert told["foreign_unknown"]["unknown"] > 0
    assert told["sets"]["asked"] == 0.9


def test_a_shard_of_another_model_or_of_changed_images_is_refused(
    run: Run, digits: Path, weights: Path, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes((digits / "0" / "0.png").read_bytes())
    words = [tmp_path / "photos", "--parts", tmp_path / "parts"]
    assert run("predict", weights, *words, "--shard", "1/2").code == 0
    done = run("predict", trained[0], *words, "--shard", "2/2")
    assert (done.code, "was made with model" in done.err) == (2, True)
    (tmp_path / "photos" / "b.png").write_bytes((digits / "1" / "0.png").read_bytes())
    done = run("predict", weights, *words, "--merge")
    assert (done.code, "was made with images" in done.err) == (2, True)


def test_embed_writes_the_same_file(run: Run, many: Path, weights: Path, tmp_path: Path) -> None:
    words = ["embed", weights, many, "--layer", "conv3", "--layer", "relu7"]
    assert run(*words, "--out", tmp_path / "one.npz").code == 0
    done = divided(run, [*words, "--out", tmp_path / "put.npz"], tmp_path / "parts", 5)
    assert done.code == 0, done.err
    assert (tmp_path / "put.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "2/8"], "--shard 2/8 needs --parts FOLDER"),
        (["--merge"], "--merge needs --parts FOLDER"),
        (["--parts", "P"], "goes with --shard I/N or with --merge"),
        (["--parts", "P", "--merge", "--shard", "1/2"], "were both given"),
        (["--parts", "P", "--shard", "3/2"], "it takes I/N, counted from 1"),
        (["--parts", "P", "--merge"], "P holds no parts; run alexnet"),
    ],
)
@pytest.mark.filterwarnings("ignore:the data has no train")
@pytest.mark.parametrize("command", ["pack", "predict", "evaluate", "embed"])
def test_what_does_not_go_together_is_one_line(
    run: Run,
    digits: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [digits, "--size", "41"] if command == "pack" else [weights, digits]
    done = run(command, *given, *(["--out", "f.npz"] if command == "embed" else []), *words)
    assert done.code == 2
    assert message in done.err
    told = [line for line in done.err.splitlines() if line.startswith("alexnet: ") and "warning: " not in line]
    assert told == done.err.splitlines()[-1:]
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_shard_needs_all_images_of_no_range_and_no_other_process(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["pack", digits, "--shard", "1/2", "--parts", tmp_path / "parts"]
    assert "looks at all images" in run(*words, "--value-range", "auto").err
    assert "packs nothing that could be divided" in run(*words, "--verify").err
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    done = run("predict", "model", digits, "--shard", "1/2", "--parts", tmp_path / "parts")
    assert (done.code, "start them without torchrun and srun" in done.err) == (2, True)
