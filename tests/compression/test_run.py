"""alexnet compress: its file is a model everywhere, measured on what was held out; what makes no sense is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import alexnet
from alexnet.compression.run import compress
from alexnet.errors import UsageError
from alexnet.export.run import export
from alexnet.runs.folder import RunFolder
from alexnet.weights.card import BEST
from alexnet.weights.compressed import codes_of


@pytest.fixture(scope="module")
def copied(flat_run: "alexnet.Run", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which may be written into."""
    return shutil.copytree(flat_run.folder, tmp_path_factory.mktemp("compress") / "run")


@pytest.fixture(scope="module")
def written(copied: Path) -> Any:
    return compress(copied, bits=4)


def test_the_file_is_small_and_measured_on_what_was_held_out(copied: Path, written: Any) -> None:
    path = Path(written.path)
    assert path == copied / "compressed.safetensors"
    assert written.size == path.stat().st_size
    assert written.model_size == (copied / BEST).stat().st_size
    assert written.ratio > 6
    rows = [row for row in RunFolder(copied).read_split() if row.split == "test"]
    assert written.accuracy.images == len(rows)
    assert written.accuracy.first_top1 == RunFolder(copied).read_metrics()["top1"]
    found = alexnet.evaluate(path, RunFolder(copied).read_config().data, out=copied / "evaluated")
    assert found.images == len(rows), "the run's parts are known"
    assert found.top1 == written.accuracy.second_top1


def test_predictions_are_near_those_of_the_run(copied: Path, written: Any, foreign_pictures: Path) -> None:
    pictures = sorted(foreign_pictures.glob("[0-9].png"))
    one, two = (alexnet.load(each).predict(pictures) for each in (copied, written.path))
    chances = [
        [{guess.label: guess.probability for guess in each.predictions} for each in answers] for answers in (one, two)
    ]
    for mine, theirs in zip(*chances, strict=True):
        assert mine == pytest.approx(theirs, abs=0.2)
    assert chances[0] != chances[1]


def test_layers_are_told_by_weights_zeros_values_and_bits(written: Any) -> None:
    assert {layer.name for layer in written.layers} == set(codes_of(Path(written.path)))
    for layer in written.layers:
        assert layer.values <= (64 if layer.name in ("conv1.weight", "fc10.weight") else 16)
        assert 0 < layer.bits < 6
        assert layer.zeros < 0.2


@pytest.mark.slow
def test_a_compressed_file_is_exported_as_any_other(written: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    made = export(written.path, out=tmp_path / "model.onnx")
    assert made.proof.agree == made.proof.photos
    assert made.proof.difference < 1e-3  # exports scale pictures within a level


@pytest.mark.slow
def test_a_page_keeps_the_codes_of_a_compressed_file(written: Any, copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("wasmtime")
    made = export(written.path, "html", "int4", tmp_path / "small.html")
    assert made.proof.agree + made.proof.ties == made.proof.photos
    assert made.proof.difference < 0.001, "no weight was coded anew"
    plain = export(copied, "html", "int4", tmp_path / "plain.html")
    assert plain.size < (copied / BEST).stat().st_size / 2 + 250_000


def test_pruning_trains_again_in_a_run_of_its_own(copied: Path) -> None:
    made = compress(copied, prune=0.8, epochs=1)
    run = copied.with_name("run-pruned")
    assert made.run == str(run)
    assert Path(made.path) == run / "compressed.safetensors"
    assert RunFolder(run).read_config().recipe["prune"] == 0.8
    assert len(RunFolder(run).read_epochs()) == 1
    zeros = {layer.name: layer.zeros for layer in made.layers}
    stored = {name: float((tensor == 0).float().mean()) for name, tensor in load_file(run / BEST).items()}
    assert all(share >= stored[name] - 1e-6 for name, share in zeros.items())
    assert zeros["fc64.weight"] > 0.79
    assert made.accuracy is not None
    assert made.accuracy.first_top1 == RunFolder(copied).read_metrics()["top1"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"bits": 9}, "bits is 9; it takes a whole number from 2 to 8"),
        ({"bits": 1}, "bits is 1"),
        ({"bits": 4.0}, "bits is 4.0"),
        ({"prune": 1.0}, "prune is 1.0; it takes a share"),
        ({"prune": -0.1}, "prune is -0.1"),
        ({"epochs": 3}, "nothing is pruned"),
        ({"prune": 0.5, "epochs": 0}, "epochs"),
        ({"out": "x.onnx"}, "does not end in .safetensors"),
    ],
)
def test_what_makes_no_sense_is_refused_before_work_begins(copied: Path, asked: dict[str, Any], said: str) -> None:
    before = sorted(copied.parent.iterdir())
    with pytest.raises(UsageError, match=said):
        compress(copied, **asked)
    assert sorted(copied.parent.iterdir()) == before


def test_a_compressed_file_is_not_compressed_again(written: Any) -> None:
    with pytest.raises(UsageError, match="is compressed already"):
        compress(written.path)


def test_weights_without_a_run_are_compressed_and_not_measured(
    flat_run: "alexnet.Run", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    shutil.copy(flat_run.folder / BEST, "mine.safetensors")
    made = compress("mine.safetensors")
    assert made.path == "mine-compressed.safetensors"
    assert (made.accuracy, made.images, made.seconds) == (None, None, None)
    assert "every weight gets the nearest value, and the file is not measured; name DATA" in caplog.text
    goes = "mine-compressed.safetensors goes to the current folder, for mine.safetensors is a file, not a run's folder"
    assert goes in caplog.text
    with pytest.raises(UsageError, match="is no run's folder"):
        compress("mine.safetensors", prune=0.5)


@pytest.mark.slow
def test_a_run_whose_images_are_gone_is_pruned_with_data_alone(
    flat_run: "alexnet.Run", small_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(flat_run.folder, tmp_path / "run")
    text = (run / "config.json").read_text(encoding="utf-8")
    (run / "config.json").write_text(text.replace(str(small_data), str(tmp_path / "gone")), encoding="utf-8")
    with pytest.raises(UsageError, match=r"pruning trains .* again, and its images are not at hand"):
        compress(run, prune=0.5)
    assert not run.with_name("run-pruned").exists()
    assert compress(run).accuracy is None
    assert "images are not at hand" in caplog.text
    made = compress(run, small_data, prune=0.5, epochs=1)
    assert made.accuracy is not None
    assert np.isfinite(made.accuracy.second_top1)
