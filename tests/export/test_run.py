"""alexnet export from end to end: what is written is proven, and nothing is left of what is not."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import alexnet
from alexnet.cli import main
from alexnet.errors import AlexNetError, UsageError
from alexnet.export import formats
from alexnet.export.formats import Tolerance
from alexnet.export.photos import MOST, held_out, trained_on
from alexnet.export.run import Exported, export
from alexnet.export.verify import prove
from alexnet.inference.classifier import load
from alexnet.inference.runtime import OnnxRuntime
from alexnet.runs.folder import RunFolder
from alexnet.weights.calibration import Calibration, Known, Place
from alexnet.weights.card import save


@pytest.fixture(scope="module")
def run(small_run: "alexnet.Run", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a trained run, which exports may be written into."""
    return Path(shutil.copytree(small_run.folder, tmp_path_factory.mktemp("exported") / "digits"))


@pytest.fixture(scope="module")
def written(run: Path) -> Exported:
    return export(run)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of no class, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, shape in (("tall.png", (90, 31)), ("wide.jpg", (40, 77)), ("tiny.png", (3, 4))):
        Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder


def test_export_is_one_file_in_the_run_that_answers_the_held_out_photos_alike(run: Path, written: Exported) -> None:
    held = [row for row in RunFolder(run).read_split() if row.split == "test"]
    assert written.path == str(run / "model.onnx")
    assert written.proof.photos == written.proof.agree == len(held)
    assert written.proof.difference < 1e-5
    assert written.size == (run / "model.onnx").stat().st_size
    model = onnx.load(run / "model.onnx", load_external_data=False)
    assert not any(tensor.HasField("data_location") and tensor.data_location for tensor in model.graph.initializer)
    assert {entry.key for entry in model.metadata_props} >= {"alexnet.card", "names", "id2label"}


def test_export_in_use_answers_as_its_run(run: Path, written: Exported, photos: Path) -> None:
    pictures = [photos / name for name in ("tall.png", "wide.jpg", "tiny.png")]
    own = load(run, "cpu").predict(pictures)
    found = alexnet.load(written.path).predict(pictures)
    for one, other in zip(own, found, strict=True):
        assert [guess.label for guess in one.predictions] == [guess.label for guess in other.predictions]
        assert one.predictions[0].probability == pytest.approx(other.predictions[0].probability, abs=1e-4)


def test_batched_half_precision_on_photos_of_the_users_own(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos / "small.onnx"
    arguments = ["--batched", "--precision", "fp16", "--data", str(photos), "--out", str(out), "--json"]
    assert main(["export", str(run), *arguments]) == 0
    told, said = capsys.readouterr()
    found = json.loads(told)
    assert (found["proof"]["photos"], found["batched"], found["path"]) == (3, True, str(out))
    assert "broken.png is passed over" in said
    assert OnnxRuntime(out).input == "images"
    assert out.stat().st_size < 0.75 * (run / "weights" / "best.safetensors").stat().st_size


def test_calibrated_run_tells_none_of_these_in_its_export(run: Path, photos: Path) -> None:
    classifier = load(run, "cpu")
    shapes = {"mean": (64,), "projection": (64, 4), "centres": (2, 4)}
    rng = np.random.default_rng(2)
    place = Place("neuron64", **{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
    known = Calibration(0.7, Known(0.5, 5.0, (place,)))
    save(photos / "own.safetensors", classifier.network, replace(classifier.card, calibration=known))
    proof = export(photos / "own.safetensors", out=photos / "own.onnx", data=str(photos)).proof
    assert proof.unknown_agree == proof.photos == 3
    assert proof.unknown_difference is not None
    assert proof.unknown_difference < 1e-4
    own, found = (
        alexnet.load(photos / name).predict(photos / "tall.png")[0] for name in ("own.safetensors", "own.onnx")
    )
    assert own.unknown_score is not None
    assert found.unknown_score == pytest.approx(own.unknown_score, abs=1e-4)


def test_names_tell_the_forms_apart(run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert export(run, precision="fp16", batched=True, data=str(photos)).path == str(run / "model-fp16-batched.onnx")
    assert export(run / "weights" / "best.safetensors", data=str(photos)).path == "best.onnx"


def test_export_that_answers_otherwise_is_not_kept(
    run: Path, written: Exported, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export that stood there stays, and nothing else is left."""
    strict = replace(formats.FORMATS["onnx"], tolerances={"fp16": Tolerance(1.0, 0.0)})
    monkeypatch.setitem(formats.FORMATS, "onnx", strict)
    before, content = sorted(run.iterdir()), Path(written.path).read_bytes()
    with pytest.raises(AlexNetError, match="answers otherwise than the model and is not kept") as refused:
        export(run, precision="fp16", out=written.path)
    assert refused.value.exit_code == 1
    assert sorted(run.iterdir()) == before
    assert Path(written.path).read_bytes() == content


def test_proof_finds_another_networks_answers(run: Path, tmp_path: Path, photos: Path, small_data: Path) -> None:
    settings = {"input_size": 16, "store_size": 20, "resize": 20, "batch_size": 6, "epochs": 1, "seed": 9}
    other = alexnet.train(small_data, "cifar-80sec", tmp_path / "other", **settings)
    path = export(other.folder).path
    classifier = load(run, "cpu")
    proof = prove(classifier, OnnxRuntime(Path(path)), held_out(run).decoded(classifier.form), Tolerance(0.9, 0.01))
    with pytest.raises(AlexNetError, match="answers otherwise"):
        proof.check(Tolerance(0.9, 0.01))


def test_photos_are_those_the_run_held_out_and_trained_on(run: Path) -> None:
    split = RunFolder(run).read_split()
    for photos, part in ((held_out(run), "test"), (trained_on(run), "train")):
        paths = [photos.source.samples[row].path for row in photos.rows]
        assert paths == [row.path for row in split if row.split == part]
    assert str(held_out(run)).endswith(", test")


def test_of_very_many_photos_as_many_are_taken_evenly(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    image = Image.new("RGB", (2, 2)).tobytes()
    for number in range(MOST + 500):
        (tmp_path / "photos" / f"{number:05}.png").write_bytes(image)
    photos = held_out(None, str(tmp_path / "photos"))
    assert len(photos) == MOST
    assert (photos.rows[0], photos.rows[-1]) == (0, MOST + 499)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and the one line that a command leaves with."""
    code = main(["export", *arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return code, lines[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--format", "onxx"], 2, "did you mean 'onnx'"),
        (["--precision", "fp12"], 2, "onnx is written in fp32, fp16, int8"),
        (["--out", "x.bin"], 2, "does not end in .onnx"),
        (["--data", "/nowhere"], 3, "/nowhere"),
        (["--out", "/proc/x.onnx"], 1, "cannot write"),
    ],
)
def test_bad_arguments_are_told_in_one_line(
    arguments: list[str], code: int, words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, said = refused([str(run), *arguments], capsys)
    assert found == code
    assert words in said


def test_model_without_photos_and_an_export_as_model_are_refused(
    run: Path, written: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "alone.safetensors"
    shutil.copy(run / "weights" / "best.safetensors", weights)
    code, said = refused([str(weights)], capsys)
    assert code == 2
    assert "any will do: --data DATA" in said
    code, said = refused([written.path], capsys)
    assert code == 2
    assert "is an export" in said


def test_photos_that_moved_are_asked_for(run: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(run, tmp_path / "moved"))
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    with pytest.raises(UsageError, match=r"not at hand .* name where they lie now: --data DATA"):
        export(moved)


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "onnx", None)
    return


@pytest.mark.usefixtures("without_onnx")
def test_missing_package_is_named_with_its_install_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run.iterdir())
    code, said = refused([str(run), "--out", str(run / "none.onnx")], capsys)
    assert code == 2
    assert "pip install onnx" in said
    assert sorted(run.iterdir()) == before
