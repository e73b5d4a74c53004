"""Evaluation uses the run's own division, pairs classes by name, and warns where it cannot know what was seen."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.data.store import pack
from alexnet.errors import DataError, UsageError
from alexnet.inference.evaluate import evaluate
from alexnet.inference.parts import run_of
from alexnet.networks import create
from alexnet.weights.card import Card, save

NAMES = ["0", "1", "4"]


def write_model(path: Path, class_names: list[str], order: list[int]) -> Path:
    """Weights whose output n is output order[n] of one and the same random network."""
    torch.manual_seed(0)
    network = create("modern", len(class_names), 63, width=0.25)
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.copy_(last.weight[order].clone())
        last.bias.copy_(last.bias[order].clone())
    preprocessing = Preprocessing(63, 72, network.mean, network.std, store_size=72)
    names = [class_names[index] for index in order]
    save(path, network, Card("modern", len(names), 63, {"width": 0.25}, names, preprocessing.to_json()))
    return path


def draw(folder: Path) -> Path:
    """Real handwritten digits, twelve a class, as PNG in class folders."""
    found = load_digits()
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(found.images[found.target == int(name)][:12]):
            Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes that does not say which images are for testing."""
    return draw(tmp_path_factory.mktemp("unsplit") / "digits")


@pytest.fixture(scope="module")
def split_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train and test folders."""
    folder = tmp_path_factory.mktemp("split")
    draw(folder / "train")
    draw(folder / "test")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.safetensors", NAMES, [0, 1, 2])


def write_run(folder: Path, data: Path, tested: int) -> dict[str, str]:
    """A run's folder around weights, in which the first images of the data are test images; path -> part."""
    write_model(folder / "weights" / "best.safetensors", NAMES, [0, 1, 2])
    source = open_source(str(data))
    parts = {sample.path: "test" if n < tested else "train" for n, sample in enumerate(source.samples)}
    config = {"data": str(data), "fingerprint": source.fingerprint(), "recipe": {"split_seed": 0}}
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "split.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        table.writerows(
            [sample.path, source.class_names[sample.label], parts[sample.path]] for sample in source.samples
        )
    return parts


@pytest.mark.parametrize("inside", ["", "weights/best.safetensors"])
def test_the_division_that_the_run_recorded_is_used(data: Path, tmp_path: Path, inside: str) -> None:
    parts = write_run(tmp_path / "run", data, tested=7)
    scores = evaluate(tmp_path / "run" / inside, str(data), device="cpu", out=tmp_path / "out")
    assert (scores["split"], scores["images"]) == ("test", 7)
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [path for path, part in parts.items() if part == "test"]
    assert evaluate(tmp_path / "run" / inside, str(data), split="train", device="cpu")["images"] == 29


def test_the_runs_data_is_known_by_another_name_and_after_a_change(data: Path, tmp_path: Path) -> None:
    copy = draw(tmp_path / "copy")
    write_run(tmp_path / "run", copy, tested=7)
    (copy / "0" / "new.png").write_bytes((copy / "0" / "0.png").read_bytes())
    (tmp_path / "link").symlink_to(copy)
    assert evaluate(tmp_path / "run", str(tmp_path / "link"), device="cpu")["images"] == 7


def test_other_data_is_divided_as_it_says_itself(data: Path, split_data: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "run", data, tested=7)
    scores = evaluate(tmp_path / "run", str(split_data), device="cpu")
    assert (scores["split"], scores["images"]) == ("test", 36)


def test_classes_are_paired_by_name_whatever_their_order(model: Path, split_data: Path, tmp_path: Path) -> None:
    shuffled = write_model(tmp_path / "shuffled.safetensors", NAMES, [2, 0, 1])
    one, other = (
        evaluate(each, str(split_data), device="cpu", precision="float32", out=tmp_path / each.stem)
        for each in (model, shuffled)
    )
    assert one["top1"] == other["top1"]
    assert np.array_equal(np.array(one["confusion"])[np.ix_([2, 0, 1], [2, 0, 1])], other["confusion"])
    tables = [(tmp_path / each.stem / "predictions.csv").read_text() for each in (model, shuffled)]
    answers = [[row[:3] for row in csv.reader(table.splitlines())] for table in tables]
    assert answers[0] == answers[1]


def test_data_with_other_classes_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    (tmp_path / "data" / "4").rename(tmp_path / "data" / "four")
    with pytest.raises(DataError, match="classes that the network does not know: four; it knows 3"):
        evaluate(model, str(tmp_path / "data"), device="cpu")


def test_data_may_show_fewer_classes_than_the_network_knows(model: Path, split_data: Path, tmp_path: Path) -> None:
    for name in NAMES[:2]:
        (tmp_path / "fewer" / "test" / name).mkdir(parents=True)
        for image in (split_data / "test" / name).iterdir():
            (tmp_path / "fewer" / "test" / name / image.name).write_bytes(image.read_bytes())
    scores = evaluate(model, str(tmp_path / "fewer"), device="cpu")
    assert [row["images"] for row in scores["per_class"]] == [12, 12, 0]


def test_a_warning_says_that_nobody_knows_what_was_trained_on(model: Path, data: Path) -> None:
    with pytest.warns(UserWarning, match="scores are too good if some were"):
        scores = evaluate(model, str(data), device="cpu")
    assert (scores["split"], scores["images"]) == ("all", 36)


def test_a_part_that_there_is_not_is_refused(model: Path, split_data: Path) -> None:
    with pytest.raises(UsageError, match="no val part; it has train, test, all"):
        evaluate(model, str(split_data), split="val", device="cpu")


def test_ten_views_are_more_than_one(model: Path, split_data: Path, tmp_path: Path) -> None:
    tables = []
    for views in (1, 10):
        out = tmp_path / str(views)
        assert evaluate(model, str(split_data), views=views, device="cpu", out=out)["views"] == views
        tables.append((out / "predictions.csv").read_text())
    assert tables[0] != tables[1]


def test_pictures_and_predictions_go_into_the_run_without_a_folder_named(data: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "run", data, tested=7)
    scores = evaluate(tmp_path / "run", str(data), device="cpu")
    folder = tmp_path / "run" / "evaluation-test-1"
    assert scores["files"] == [str(folder / name) for name in ("metrics.json", "confusion.png", "predictions.csv")]
    assert all(Path(file).is_file() for file in scores["files"])


def test_a_file_on_its_own_gets_no_pictures_unless_a_folder_is_named(
    model: Path, split_data: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert evaluate(model, str(split_data), device="cpu")["files"] == []
    assert sorted(tmp_path.rglob("*")) == before


def test_a_packed_stores_folder_is_data_too(model: Path, split_data: Path, tmp_path: Path) -> None:
    source = open_source(str(split_data))
    pack(source, tmp_path / "store", size=72)
    assert evaluate(model, str(tmp_path / "store"), device="cpu")["images"] == 36
    pack(source, tmp_path / "small", size=64)
    with pytest.raises(DataError, match="64 px a side, 72 are needed"):
        evaluate(model, str(tmp_path / "small"), device="cpu")


@pytest.mark.parametrize("damage", ['{"data": ', "[]", "{}", '{"data": "x", "fingerprint": "y", "recipe": null}'])
def test_a_damaged_record_of_a_run_is_one_line(data: Path, tmp_path: Path, damage: str) -> None:
    write_run(tmp_path / "run", data, tested=7)
    (tmp_path / "run" / "config.json").write_text(damage)
    with pytest.raises(UsageError, match=r"run has a damaged config\.json or split\.csv") as caught:
        evaluate(tmp_path / "run", str(data), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_model_at_the_root_of_all_folders_lies_in_no_run() -> None:
    with pytest.raises(UsageError, match="no model at"):
        evaluate(Path("/nowhere.safetensors"), "digits")
    assert run_of(Path("/nowhere.safetensors")) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"views": 3}, "views is 3"), ({"split": "tset"}, "did you mean 'test'"), ({"batch_size": 0}, "batch size is 0")],
)
def test_wrong_settings_are_refused_before_anything_is_read(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluate(Path("nowhere"), "nothing", **settings)  # type: ignore[arg-type]
