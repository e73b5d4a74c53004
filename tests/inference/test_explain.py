"""Looking inside a model uses the run's own split, writes all or nothing, and says what it leaves out and why."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import torch
from PIL import Image

from alexnet.cli.evaluate import print_scores
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.files import read_json
from alexnet.inference import gallery
from alexnet.inference.classifier import load
from alexnet.inference.evaluate import evaluate
from alexnet.inference.explain import explain
from alexnet.inference.parts import open_data
from alexnet.networks import create
from alexnet.runs.folder import RunFolder
from alexnet.weights.card import Card, save

TESTED = 14
ALWAYS = ["filters", "answers", "attribution", "maps-1"]


def every_second(number: int) -> str:
    """The part of an image in a run that holds out every second of the first 2 x TESTED images."""
    return "test" if number % 2 == 0 and number < 2 * TESTED else "train"


@pytest.fixture
def run(tmp_path: Path, data: Path, write_run: Callable[..., object]) -> Path:
    write_run(tmp_path / "run", data, every_second)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory, data: Path, write_run: Callable[..., object]) -> dict:
    """The answer about such a run for which nothing but the run was given."""
    folder = tmp_path_factory.mktemp("explained") / "run"
    write_run(folder, data, every_second)
    return explain(folder, device="cpu")


@pytest.fixture(scope="module")
def of_one_image(tmp_path_factory: pytest.TempPathFactory, data: Path, weights: Path) -> dict:
    """The answer about weights without a run, for one image and label."""
    out = tmp_path_factory.mktemp("one") / "out"
    return explain(weights, [data / "digit 0" / "0.png"], out=out, label="digit 2", device="cpu")


def names(answer: dict) -> list[str]:
    return [row["name"] for row in answer["pictures"]]


def test_run_alone_is_enough_and_its_own_split_is_used(explained: dict) -> None:
    found, folder = names(explained), Path(explained["folder"])
    assert found[:4] == ALWAYS
    assert {"neighbours", "exciting-relu5", "layout", "confusion"} <= set(found)
    assert (explained["split"], folder) == ("test", Path(explained["model"]) / "explain")
    text = (folder / "index.html").read_text()
    assert re.search(rf"part test: \d+ of {TESTED} right", text)
    assert f"{36 - TESTED} training images" in text
    assert text.count("data:image/png;base64,") == len(found)
    assert {path.name for path in folder.iterdir()} == {"explain.json", "index.html", *(f"{n}.png" for n in found)}


def test_network_without_normalisation_has_no_mention_of_it(explained: dict) -> None:
    assert not any("normalisation" in row["title"] for row in explained["left_out"])
    assert "normalisation" not in (Path(explained["folder"]) / "index.html").read_text()


def test_network_with_normalisation_has_its_picture(data: Path, tmp_path: Path) -> None:
    network = create("cifar-11pct", 3)
    preprocessing = Preprocessing(24, 32, network.mean, network.std, store_size=32)
    save(tmp_path / "m.safetensors", network, Card("cifar-11pct", 3, 24, {}, list("abc"), preprocessing.to_json()))
    answer = explain(tmp_path / "m.safetensors", [data / "digit 0" / "0.png"], out=tmp_path / "out", device="cpu")
    assert names(answer) == [*ALWAYS, "inhibition"]


def test_accuracy_on_the_page_equals_the_evaluation(explained: dict, data: Path, tmp_path: Path) -> None:
    scores = evaluate(explained["model"], data, device="cpu", out=tmp_path / "out")
    right = round(scores.top1 * scores.images)
    text = (Path(explained["folder"]) / "index.html").read_text()
    assert f"part {scores.split}: {right} of {scores.images} right ({scores.top1:.1%})" in text


@pytest.fixture(scope="module")
def of_many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of 101 classes: its answers are almost equally probable."""
    torch.manual_seed(0)
    path, names = tmp_path_factory.mktemp("many") / "m.safetensors", [f"digit {number}" for number in range(101)]
    network = create("cifar-80sec", 101)
    preprocessing = Preprocessing(24, 32, network.mean, network.std, store_size=32)
    save(path, network, Card("cifar-80sec", 101, 24, {}, names, preprocessing.to_json()))
    return path


@pytest.mark.filterwarnings("ignore:the data has no train")
def test_of_many_classes_page_and_evaluation_name_the_same_confusions_and_count_the_same(
    of_many: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, model = evaluate(of_many, data, device="cpu"), load(of_many, "cpu", "float32")
    found = open_data(of_many, str(data), model)
    part, _ = gallery.parts(model, found, found.rows("all"), [], None)
    said = part.activations.probabilities.argmax(1)
    assert int((said == part.labels).sum()) == round(scores.top1 * scores.images)
    pairs = [(pair.label, pair.prediction, str(pair.images)) for pair in scores.most_confused]
    assert pairs
    assert gallery.confused_pairs(part, model.class_names).rows == pairs
    print_scores(scores.to_json())
    out = capsys.readouterr().out
    for label, prediction, images in pairs:
        assert re.search(rf"{label}, taken for {prediction} +{images}\n", out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the data has no train")
def test_page_about_many_classes_has_the_table_of_those_most_often_confused(
    of_many: Path, data: Path, tmp_path: Path
) -> None:
    scores = evaluate(of_many, data, device="cpu", out=tmp_path / "scores")
    explain(of_many, data=str(data), out=tmp_path / "out", device="cpu")
    text = (tmp_path / "out" / "index.html").read_text()
    for pair in scores.most_confused:
        assert f"<td>{pair.label}</td><td>{pair.prediction}</td><td>{pair.images}</td>" in text
    assert read_json(tmp_path / "scores" / "metrics.json")["most_confused"] == scores.to_json()["most_confused"]


def test_captions_give_the_size_of_the_occluding_square_and_the_number_of_images(explained: dict) -> None:
    text = (Path(explained["folder"]) / "index.html").read_text()
    assert f"of {TESTED} that were searched" in text
    assert "a square of the mean colour, with about 1/6 of the image's side" in unescape(text)


def test_every_picture_is_readable_and_at_most_two_pages_wide(explained: dict) -> None:
    for row in explained["pictures"]:
        with Image.open(row["file"]) as image:
            image.load()
            assert 700 < image.width < 2000, row["name"]


def test_without_data_pictures_that_need_it_are_left_out_with_the_reason(of_one_image: dict) -> None:
    assert names(of_one_image) == ALWAYS
    assert (of_one_image["data"], of_one_image["split"]) == (None, None)
    assert sum("it needs data, and" in row["reason"] for row in of_one_image["left_out"]) == 5
    assert "Asked about the label 'digit 2'" in unescape(Path(of_one_image["page"]).read_text())


def test_same_call_gives_the_same_files_and_replaces_only_its_own(
    of_one_image: dict, weights: Path, data: Path
) -> None:
    out, call = (
        Path(of_one_image["folder"]),
        {"images": [data / "digit 0" / "0.png"], "label": "digit 2", "device": "cpu"},
    )
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert explain(weights, **call, out=out) == of_one_image
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "holiday.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holds 'holiday\.png', so it is no folder of alexnet explain"):
        explain(weights, **call, out=out)
    assert (out / "holiday.png").read_bytes() == b"mine"
    (out / "holiday.png").unlink()


def test_images_are_explained_when_the_data_of_the_run_is_gone(run: Path, data: Path, tmp_path: Path) -> None:
    config = RunFolder(run).read_config()
    RunFolder(run).write_config(replace(config, data=str(tmp_path / "gone")))
    answer = explain(run, [data / "digit 0" / "0.png"], device="cpu")
    assert names(answer) == ALWAYS
    assert "the run's own data is not there (no such folder or file" in answer["left_out"][0]["reason"]
    with pytest.raises(DataError, match="no such folder or file"):
        explain(run, device="cpu")


def test_training_image_is_not_its_own_neighbour(run: Path, data: Path) -> None:
    model = load(run, "cpu", "float32")
    found = open_data(run, str(data), model)
    part, train = gallery.parts(model, found, found.rows("train"), [], None)
    assert train is part
    assert len(part.rows) == part.of == 36 - TESTED
    examples = gallery.evenly_spaced_examples(part, model)
    assert set(examples.rows) <= set(part.rows.tolist())
    own = gallery.own_places(examples, part)
    assert [part.rows[place] for place in own] == examples.rows


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"split": "tset"}, UsageError, "did you mean 'test'"),
        ({"split": "val"}, UsageError, "no val part; it has train, test, all"),
        ({"label": "digit 5"}, UsageError, "unknown label 'digit 5': did you mean 'digit [012]'"),
        ({"layers": ["conv9"]}, UsageError, "unknown layer of modern 'conv9'"),
        ({"images": [Path("gone.jpg")]}, DataError, "gone.jpg: "),
        ({"images": [Path("gone.jpg")] * 17}, UsageError, "17 images are too many"),
        ({"data": "digits"}, DataError, "classes that the network does not know"),
        ({"device": "abacus"}, UsageError, "unknown device 'abacus'"),
    ],
)
def test_wrong_input_is_refused_in_one_line_and_nothing_is_written(
    run: Path, settings: dict, error: type[AlexNetError], said: str
) -> None:
    before = sorted(run.rglob("*"))
    with pytest.raises(error, match=said) as caught:
        explain(run, **{"device": "cpu", **settings})
    assert "\n" not in str(caught.value)
    assert sorted(run.rglob("*")) == before


def test_folder_with_other_files_is_never_replaced(run: Path) -> None:
    folder = run / "explain"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 'notes\.txt', so it is no folder of alexnet explain"):
        explain(run, device="cpu")
    assert (folder / "notes.txt").read_text() == "mine"


def test_interruption_leaves_no_files(
    weights: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery.maps, "figure", stop)
    with pytest.raises(KeyboardInterrupt):
        explain(weights, [data / "digit 0" / "0.png"], out=tmp_path / "out", device="cpu")
    assert list(tmp_path.iterdir()) == []
