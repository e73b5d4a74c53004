"""Evaluation uses the run's own split, pairs classes by name, and warns if it cannot know what was trained on."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.sources import open_source
from alexnet.data.store import pack
from alexnet.errors import DataError, FileError, UsageError, WeightsError
from alexnet.inference.classifier import load
from alexnet.inference.evaluate import ClassScores, Evaluation, evaluate
from alexnet.inference.parts import class_map, parts_of, run_of

NAMES = ["digit 0", "digit 1", "digit 2"]


@pytest.fixture(scope="module")
def split_data(tmp_path_factory: pytest.TempPathFactory, draw: Callable[[Path], Path]) -> Path:
    """A folder with train and test folders."""
    folder = tmp_path_factory.mktemp("split")
    draw(folder / "train")
    draw(folder / "test")
    return folder


def other_digits(root: Path, count: int) -> Path:
    """`count` real digits of each of the three classes that the run has not."""
    source = open_source("digits")
    for label in range(3):
        (root / f"digit {label}").mkdir(parents=True)
        for row in [row for row, sample in enumerate(source.samples) if sample.label == label][12 : 12 + count]:
            Image.fromarray(source.read(row)).save(root / f"digit {label}" / f"{row}.png")
    return root


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
    write_run(tmp_path / "run", copy, first_seven, digests=False)
    (copy / "digit 0" / "new.png").write_bytes((copy / "digit 0" / "0.png").read_bytes())
    (tmp_path / "link").symlink_to(copy)
    assert evaluate(tmp_path / "run", str(tmp_path / "link"), device="cpu").images == 7


@pytest.fixture
def moved(data: Path, tmp_path: Path) -> Path:
    """A copy of the run's images elsewhere, under other names and with other times."""
    for image in data.glob("*/*.png"):
        folder = tmp_path / "moved" / image.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"renamed {image.name}").write_bytes(image.read_bytes())
        os.utime(folder / f"renamed {image.name}", (1, 1))
    return tmp_path / "moved"


def shown(out: Path) -> list[str]:
    """The digests of the images that were measured: their files' contents."""
    with (out / "predictions.csv").open(newline="") as file:
        return sorted(Path(row["path"]).name.removeprefix("renamed ") for row in csv.DictReader(file))


@pytest.mark.parametrize("form", ["folder", "store"])
def test_the_runs_own_images_are_known_by_content_wherever_they_lie(
    run: Path, data: Path, moved: Path, tmp_path: Path, form: str
) -> None:
    if form == "store":
        pack(open_source(str(moved)), tmp_path / "store", size=72)
    at_home = evaluate(run, data, device="cpu", out=tmp_path / "home")
    away = evaluate(run, str(moved if form == "folder" else tmp_path / "store"), device="cpu", out=tmp_path / "away")
    assert (away.split, away.images, away.top1) == ("test", 7, at_home.top1)
    assert shown(tmp_path / "away") == shown(tmp_path / "home")


def test_a_part_of_other_data_that_was_trained_on_is_left_out_and_told(
    run: Path, data: Path, tmp_path: Path, draw: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    other = other_digits(tmp_path / "other", 16)
    for image in sorted((data / "digit 2").iterdir())[:4]:
        (other / "digit 2" / image.name).write_bytes(image.read_bytes())
    scores = evaluate(run, str(other), device="cpu")
    assert (scores.split, scores.images, scores.left_out, scores.trained_on) == ("all", 48, 4, 0)
    assert "the model was trained on 4 of these 52 images: they are left out" in caplog.text
    caplog.clear()
    every = evaluate(run, str(other), device="cpu", include_trained=True)
    assert (every.images, every.left_out, every.trained_on) == (52, 0, 4)
    assert "the model was trained on 4 of these 52 images: scores say little about new ones" in caplog.text


def test_of_the_runs_data_merged_with_more_all_but_the_training_images_are_measured(
    run: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    merged = shutil.copytree(data, other_digits(tmp_path / "merged", 12), dirs_exist_ok=True)
    scores = evaluate(run, str(merged), device="cpu")
    assert (scores.split, scores.images, scores.left_out) == ("all", 36 + 7, 29)
    assert "the model was trained on 29 of these 72 images: they are left out" in caplog.text


def test_the_runs_own_training_images_alone_are_never_measured_unsaid(
    run: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in NAMES[1:]:  # the seven that were held out are of the first class
        shutil.copytree(data / name, tmp_path / "some" / name)
    assert evaluate(run, str(tmp_path / "some"), device="cpu").images == 24
    assert "the model was trained on 24 of these 24 images: scores say little about new ones" in caplog.text


def test_names_alone_do_not_make_data_the_runs_own(
    run: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for image in data.glob("*/*.png"):
        folder = tmp_path / "other" / image.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - np.asarray(Image.open(image))).save(folder / image.name)
    assert evaluate(run, str(tmp_path / "other"), device="cpu").split == "all"
    assert "names that the run's have, but other pixels" in caplog.text


def test_an_older_run_without_digests_says_that_it_cannot_know(
    tmp_path: Path, data: Path, moved: Path, write_run: Callable[..., dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path / "run", data, first_seven, digests=False)
    assert evaluate(tmp_path / "run", data, device="cpu").images == 7
    assert not caplog.records
    assert evaluate(tmp_path / "run", str(moved), device="cpu").images == 36
    assert "the run kept no digests of its images; scores are too good if" in caplog.text


def test_equal_names_of_known_sets_do_not_make_data_equal(
    tmp_path: Path, data: Path, write_run: Callable[..., dict[str, str]]
) -> None:
    write_run(tmp_path / "run", data, first_seven, digests=False)
    recorded = run_of(tmp_path / "run")
    assert recorded is not None
    store = pack(open_source(str(data)), tmp_path / "store", size=72)
    assert parts_of(store, "cifar10", replace(recorded, data="cifar10", fingerprint="another")) is not None
    others = replace(recorded, data="cifar10", fingerprint="another", parts={("cifar/1.png", 0): "train"})
    assert parts_of(store, "cifar10", others) is None


def test_leaks_are_told_and_counted(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = other_digits(tmp_path / "other", 4)
    first, last = (sorted((other / name).iterdir()) for name in ("digit 0", "digit 2"))
    for part, images in (("train", first[:3]), ("test", [*first[1:4], last[0]])):
        for image in images:
            folder = tmp_path / "three" / part / image.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / image.name).write_bytes(image.read_bytes())
    (tmp_path / "three" / "test" / "digit 2" / "twin.png").write_bytes(first[3].read_bytes())
    scores = evaluate(run, str(tmp_path / "three"), device="cpu")
    assert (scores.leaks["across_parts"], scores.leaks["two_labels"]) == (2, 1)
    assert scores.leaks["examples"][0] == [f"{part}/digit 0/{first[1].name}" for part in ("test", "train")]
    assert "2 pictures stand in more than one part and 1 picture stands under two labels" in caplog.text


def test_other_data_keeps_its_own_split(run: Path, tmp_path: Path) -> None:
    for part, count in (("train", 5), ("test", 4)):
        other_digits(tmp_path / "other" / part, count)
    scores = evaluate(run, str(tmp_path / "other"), device="cpu")
    assert (scores.split, scores.images) == ("test", 12)


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
    with pytest.raises(FileError, match=r"config\.json is damaged") as caught:
        evaluate(run, str(data), device="cpu")
    assert "\n" not in str(caught.value)


def test_model_in_the_root_folder_belongs_to_no_run() -> None:
    with pytest.raises(WeightsError, match="no model at"):
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
