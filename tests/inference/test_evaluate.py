"""Evaluation uses the run's own split, pairs classes by name, and warns if it cannot know what was trained on."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.sources import open_source
from alexnet.data.store import pack
from alexnet.errors import DataError, UsageError
from alexnet.inference.classifier import load
from alexnet.inference.evaluate import ClassScores, Evaluation, evaluate
from alexnet.inference.parts import class_map, run_of

NAMES = ["digit 0", "digit 1", "digit 2"]


@pytest.fixture(scope="module")
def split_data(tmp_path_factory: pytest.TempPathFactory, draw: Callable[[Path], Path]) -> Path:
    """A folder with train and test folders."""
    folder = tmp_path_factory.mktemp("split")
    draw(folder / "train")
    draw(folder / "test")
    return folder


def first_seven(number: int) -> str:
    """The part of an image in a run that holds out seven images."""
    return "test" if number < 7 else "train"


@pytest.fixture
def run(tmp_path: Path, data: Path, write_run: Callable[..., dict[str, str]]) -> Path:
    write_run(tmp_path / "run", data, first_seven)
    return tmp_path / "run"


@pytest.mark.parametrize("inside", ["", "weights/best.safetensors"])
def test_split_recorded_by_the_run_is_used(
    data: Path, tmp_path: Path, write_run: Callable[..., dict[str, str]], inside: str
) -> None:
    parts = write_run(tmp_path / "run", data, first_seven)
    scores = evaluate(tmp_path / "run" / inside, data, device="cpu", out=tmp_path / "out")
    assert (scores.split, scores.images) == ("test", 7)
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [path for path, part in parts.items() if part == "test"]
    assert evaluate(tmp_path / "run" / inside, data, split="train", device="cpu").images == 29


def test_path_that_split_csv_has_twice_keeps_both_parts(run: Path) -> None:
    (run / "split.csv").write_text("path,label,split\na.png,0,test\nb.png,1,val\na.png,0,train\n")
    found = run_of(run)
    assert found
    assert found.parts == {("a.png", 0): "test", ("b.png", 0): "val", ("a.png", 1): "train"}


def test_data_of_the_run_is_recognised_by_another_path_and_after_a_change(
    tmp_path: Path, draw: Callable[[Path], Path], write_run: Callable[..., dict[str, str]]
) -> None:
    copy = draw(tmp_path / "copy")
    write_run(tmp_path / "run", copy, first_seven)
    (copy / "digit 0" / "new.png").write_bytes((copy / "digit 0" / "0.png").read_bytes())
    (tmp_path / "link").symlink_to(copy)
    assert evaluate(tmp_path / "run", str(tmp_path / "link"), device="cpu").images == 7


def test_other_data_keeps_its_own_split(run: Path, split_data: Path) -> None:
    scores = evaluate(run, str(split_data), device="cpu")
    assert (scores.split, scores.images) == ("test", 36)


def test_loaded_classifier_is_measured_like_its_run(run: Path, data: Path, tmp_path: Path) -> None:
    wanted = evaluate(run, data, device="cpu", out=tmp_path / "out")
    assert evaluate(load(run, "cpu"), data, out=tmp_path / "out") == wanted


def test_record_has_typed_fields_and_its_json_is_what_was_written(run: Path, data: Path) -> None:
    scores = evaluate(run, data, device="cpu")
    assert isinstance(scores, Evaluation)
    assert isinstance(scores.per_class[0], ClassScores)
    assert sum(map(sum, scores.confusion)) == scores.images == sum(row.images for row in scores.per_class)
    found = scores.to_json()
    assert found == json.loads(json.dumps(found))
    assert list(found)[:7] == ["model", "data", "split", "views", "images", "top1", "top5"]
    written = json.loads((run / "evaluation-test-1" / "metrics.json").read_text())
    assert {**written, "files": list(scores.files)} == found
    assert repr(scores).startswith(f"<Evaluation of {run} on {data}, test, 7 images: top-1 {scores.top1:.2%} (")


def test_scores_are_computed_in_float32_unless_asked(run: Path, data: Path, tmp_path: Path) -> None:
    tables = []
    for settings in ({}, {"precision": "float32"}, {"precision": "bfloat16"}):
        evaluate(run, data, device="cpu", out=tmp_path / "out", **settings)
        tables.append((tmp_path / "out" / "predictions.csv").read_text())
    assert tables[0] == tables[1] != tables[2]


def test_classes_are_paired_by_name_in_any_order(
    weights: Path, split_data: Path, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    shuffled = write_model(tmp_path / "shuffled.safetensors", (2, 0, 1))
    one, other = (
        evaluate(each, str(split_data), device="cpu", out=tmp_path / each.stem) for each in (weights, shuffled)
    )
    assert one.top1 == other.top1
    assert np.array_equal(np.array(one.confusion)[np.ix_([2, 0, 1], [2, 0, 1])], other.confusion)
    tables = [(tmp_path / each.stem / "predictions.csv").read_text() for each in (weights, shuffled)]
    answers = [[row[:3] for row in csv.reader(table.splitlines())] for table in tables]
    assert answers[0] == answers[1]


def test_data_with_unknown_classes_is_refused(weights: Path, tmp_path: Path, draw: Callable[[Path], Path]) -> None:
    draw(tmp_path / "data")
    (tmp_path / "data" / "digit 2").rename(tmp_path / "data" / "four")
    with pytest.raises(DataError, match="classes that the network does not know: four; it knows 3"):
        evaluate(weights, str(tmp_path / "data"), device="cpu")


def test_data_may_have_fewer_classes_than_the_network(weights: Path, split_data: Path, tmp_path: Path) -> None:
    for name in NAMES[:2]:
        (tmp_path / "fewer" / "test" / name).mkdir(parents=True)
        for image in (split_data / "test" / name).iterdir():
            (tmp_path / "fewer" / "test" / name / image.name).write_bytes(image.read_bytes())
    scores = evaluate(weights, str(tmp_path / "fewer"), device="cpu")
    assert [row.images for row in scores.per_class] == [12, 12, 0]


def test_caller_is_warned_if_the_training_images_are_unknown(weights: Path, data: Path) -> None:
    with pytest.warns(UserWarning, match="scores are too good if the model was trained on some of these") as caught:
        scores = evaluate(weights, str(data), device="cpu")
    assert caught[0].filename == __file__
    assert (scores.split, scores.images) == ("all", 36)


def test_missing_part_is_refused(weights: Path, split_data: Path) -> None:
    with pytest.raises(UsageError, match="no val part; it has train, test, all"):
        evaluate(weights, str(split_data), split="val", device="cpu")


def test_ten_views_give_other_predictions_than_one(weights: Path, split_data: Path, tmp_path: Path) -> None:
    tables = []
    for views in (1, 10):
        out = tmp_path / str(views)
        assert evaluate(weights, str(split_data), views=views, device="cpu", out=out).views == views
        tables.append((out / "predictions.csv").read_text())
    assert tables[0] != tables[1]


def test_files_go_into_the_run_by_default(run: Path, data: Path) -> None:
    scores = evaluate(run, str(data), device="cpu")
    folder = run / "evaluation-test-1"
    assert scores.files == tuple(str(folder / name) for name in ("metrics.json", "confusion.png", "predictions.csv"))
    assert all(Path(file).is_file() for file in scores.files)


def test_weights_file_outside_a_run_writes_nothing_by_default(weights: Path, split_data: Path) -> None:
    before = sorted(weights.parent.rglob("*"))
    assert evaluate(weights, str(split_data), device="cpu").files == ()
    assert sorted(weights.parent.rglob("*")) == before


def test_folder_of_a_packed_store_is_data(weights: Path, split_data: Path, tmp_path: Path) -> None:
    source = open_source(str(split_data))
    pack(source, tmp_path / "store", size=72)
    assert evaluate(weights, str(tmp_path / "store"), device="cpu").images == 36
    pack(source, tmp_path / "small", size=64)
    with pytest.raises(DataError, match="64 px a side, 72 px a side are needed"):
        evaluate(weights, str(tmp_path / "small"), device="cpu")


@pytest.mark.parametrize("damage", ['{"data": ', "[]", "{}", '{"data": "x", "fingerprint": "y", "recipe": null}'])
def test_damaged_files_of_a_run_are_refused_in_one_line(run: Path, data: Path, damage: str) -> None:
    (run / "config.json").write_text(damage)
    with pytest.raises(UsageError, match=r"config\.json is damaged") as caught:
        evaluate(run, str(data), device="cpu")
    assert "\n" not in str(caught.value)


def test_model_in_the_root_folder_belongs_to_no_run() -> None:
    with pytest.raises(UsageError, match="no model at"):
        evaluate(Path("/nowhere.safetensors"), "digits")
    assert run_of(Path("/nowhere.safetensors")) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"views": 3}, "views is 3"),
        ({"views": "10"}, "views is '10'"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"split": 1}, "unknown split '1'"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"batch_size": "64"}, "batch size is '64'"),
        ({"out": 5}, "out is of type int"),
        ({"data": None}, "data of type NoneType; a name, a path or a tuple"),
        ({"data": np.zeros((2, 8, 8, 3), np.uint8)}, "data of type ndarray"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_read(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluate(**{"model": Path("nowhere"), "data": "nothing", **settings})  # type: ignore[arg-type]


def test_names_of_classes_are_the_same_composed_and_decomposed() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert class_map([decomposed, "tea"], ["tea", composed]).tolist() == [1, 0]
    assert class_map([composed], ["tea", decomposed]).tolist() == [1]
    assert class_map([composed, decomposed], [decomposed, composed]).tolist() == [1, 0]  # old weights may know both
    with pytest.raises(DataError, match="does not know: Tea"):
        class_map(["Tea"], ["tea"])
