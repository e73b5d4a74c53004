"""Folders for OpenVINO: written whole, proven there, and used as a model."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet.errors import UsageError, WeightsError
from alexnet.export.run import Exported, export
from alexnet.inference.classifier import load
from alexnet.weights.exported import export_card

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def written(small_run: "alexnet.Run", tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(small_run.folder, "openvino", "int8", tmp_path_factory.mktemp("openvino") / "digits.openvino")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "tall.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 31, 3), np.uint8)).save(path)
    return path


def test_export_is_a_folder_of_two_files_that_answers_alike(written: Exported) -> None:
    assert sorted(file.name for file in Path(written.path).iterdir()) == ["model.bin", "model.xml"]
    assert written.engine == "OpenVINO"
    assert written.proof.photos == written.proof.agree > 0
    assert 0 < written.proof.difference < 0.05  # 0: nothing was quantised


@pytest.mark.parametrize("file", ["", "model.xml"])
def test_folder_and_file_are_models(written: Exported, small_run: "alexnet.Run", photo: Path, file: str) -> None:
    (own,) = load(small_run.folder, "cpu").predict(photo)
    (found,) = alexnet.load(Path(written.path) / file).predict(photo)
    chances = [{guess.label: guess.probability for guess in each.predictions} for each in (own, found)]
    assert chances[1] == pytest.approx(chances[0], abs=0.05)


def test_half_precision_halves_the_weights(small_run: "alexnet.Run", tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "fp16"):
        out = tmp_path / f"{precision}.openvino"
        assert export(small_run.folder, "openvino", precision, out, batched=True).proof.difference < 0.02
        sizes[precision] = (out / "model.bin").stat().st_size
    assert sizes["fp16"] < 0.6 * sizes["fp32"]


def test_the_card_is_read_without_openvino(
    written: Exported, small_run: "alexnet.Run", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    card = export_card(Path(written.path))
    assert card is not None
    assert card.class_names == load(small_run.folder, "cpu").class_names
    with pytest.raises(UsageError, match=r"needs the package openvino; install it: pip install openvino"):
        alexnet.load(written.path)


def test_without_the_package_nothing_is_written(
    small_run: "alexnet.Run", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"install it: pip install openvino"):
        export(small_run.folder, "openvino", out=tmp_path / "x.openvino")
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_foreign_folders_are_told(written: Exported, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written.path, tmp_path / "copy"))
    (folder / "model.bin").unlink()
    with pytest.raises(WeightsError, match="is not run by OpenVINO"):
        alexnet.load(folder)
    text = (folder / "model.xml").read_text(encoding="utf-8")
    (folder / "model.xml").write_text(text.replace("&quot;class_names&quot;", "&quot;names&quot;"), encoding="utf-8")
    with pytest.raises(WeightsError, match="its card is damaged"):
        alexnet.load(folder)
    (folder / "model.xml").write_text(text[:-30], encoding="utf-8")
    with pytest.raises(WeightsError, match="no whole model for OpenVINO"):
        alexnet.load(folder)
    (folder / "model.xml").write_text("<net/>", encoding="utf-8")
    assert export_card(folder) is None


def test_folders_are_refused_by_what_needs_the_network(written: Exported) -> None:
    with pytest.raises(UsageError, match=r"model.xml is an export, which predict and evaluate take"):
        load(written.path, "cpu")
