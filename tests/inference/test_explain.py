"""Looking inside a model uses the run's own division, writes all or nothing, and says what it leaves out and why."""

import csv
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.inference import gallery
from alexnet.inference.classifier import load
from alexnet.inference.explain import explain
from alexnet.inference.parts import open_data
from alexnet.networks import create
from alexnet.weights.card import Card, save

NAMES = ["0", "1", "4"]
TESTED = 14
ALWAYS = ["filters", "answers", "attribution", "maps-1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real handwritten digits, twelve a class, as PNG in class folders."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    found = load_digits()
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(found.images[found.target == int(name)][:12]):
            Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random small network for them."""
    torch.manual_seed(0)
    network = create("modern", 3, 63, width=0.25)
    preprocessing = Preprocessing(63, 72, network.mean, network.std, store_size=72)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(path, network, Card("modern", 3, 63, {"width": 0.25}, NAMES, preprocessing.to_json()))
    return path


def make_run(folder: Path, data: Path, weights: Path) -> Path:
    """A run's folder around the weights that kept every second image of the first 2 x TESTED for testing."""
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "best.safetensors").write_bytes(weights.read_bytes())
    source = open_source(str(data))
    config = {"data": str(data), "fingerprint": source.fingerprint(), "recipe": {"split_seed": 0}}
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "split.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for number, sample in enumerate(source.samples):
            part = "test" if number % 2 == 0 and number < 2 * TESTED else "train"
            table.writerow([sample.path, NAMES[sample.label], part])
    return folder


@pytest.fixture
def run(tmp_path: Path, data: Path, weights: Path) -> Path:
    return make_run(tmp_path / "run", data, weights)


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory, data: Path, weights: Path) -> dict:
    """The answer about such a run of which nothing but the run was said."""
    return explain(make_run(tmp_path_factory.mktemp("explained") / "run", data, weights), device="cpu")


def names(answer: dict) -> list[str]:
    return [row["name"] for row in answer["pictures"]]


def test_a_run_alone_is_enough_and_its_own_division_is_used(explained: dict) -> None:
    found, folder = names(explained), Path(explained["folder"])
    assert found[:4] == ALWAYS
    assert {"neighbours", "exciting-relu5", "layout", "confusion"} <= set(found)
    assert (explained["split"], folder) == ("test", Path(explained["model"]) / "explain")
    text = (folder / "index.html").read_text()
    assert re.search(rf"part test: \d+ of {TESTED} right", text)
    assert f"{36 - TESTED} training images" in text
    assert text.count("data:image/png;base64,") == len(found)
    assert {path.name for path in folder.iterdir()} == {"explain.json", "index.html", *(f"{n}.png" for n in found)}


def test_a_network_without_normalisation_is_not_told_that_it_has_none(explained: dict) -> None:
    assert not any("normalisation" in row["title"] for row in explained["left_out"])
    assert "normalisation" not in (Path(explained["folder"]) / "index.html").read_text()


def test_a_network_with_normalisation_has_its_picture(data: Path, tmp_path: Path) -> None:
    network = create("cifar-11pct", 3)
    preprocessing = Preprocessing(24, 32, network.mean, network.std, store_size=32)
    save(tmp_path / "m.safetensors", network, Card("cifar-11pct", 3, 24, {}, NAMES, preprocessing.to_json()))
    answer = explain(tmp_path / "m.safetensors", [data / "0" / "0.png"], out=tmp_path / "out", device="cpu")
    assert names(answer) == [*ALWAYS, "inhibition"]


def test_captions_say_how_large_the_occluding_square_is_and_among_how_many_images_was_searched(explained: dict) -> None:
    text = (Path(explained["folder"]) / "index.html").read_text()
    assert f"of {TESTED} that were searched" in text
    assert "a square of the mean colour, with about 1/6 of the image's side" in unescape(text)


def test_every_picture_is_sound_and_not_wider_than_two_pages(explained: dict) -> None:
    for row in explained["pictures"]:
        with Image.open(row["file"]) as image:
            image.load()
            assert 700 < image.width < 2000, row["name"]


def test_the_same_question_gives_the_same_files_and_takes_the_place_of_its_own_alone(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    out, images = tmp_path / "out", [data / "0" / "0.png"]
    answer = explain(weights, images, out=out, device="cpu")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert explain(weights, images, out=out, device="cpu") == answer
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "holiday.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holds 'holiday\.png', so it is no folder of alexnet explain"):
        explain(weights, images, out=out, device="cpu")
    assert (out / "holiday.png").read_bytes() == b"mine"


def test_images_without_data_give_the_pictures_that_need_none_and_the_reason_for_the_others(
    weights: Path, data: Path, tmp_path: Path
) -> None:
    answer = explain(weights, [data / "0" / "0.png"], out=tmp_path / "out", label="4", device="cpu")
    assert names(answer) == ALWAYS
    assert (answer["data"], answer["split"]) == (None, None)
    assert sum("it needs data, and" in row["reason"] for row in answer["left_out"]) == 5
    assert "Asked about the label '4'" in unescape((tmp_path / "out" / "index.html").read_text())


def test_a_run_whose_data_is_gone_still_explains_images(run: Path, data: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    answer = explain(run, [data / "0" / "0.png"], device="cpu")
    assert names(answer) == ALWAYS
    assert "the run's own data is not there (no such folder or file" in answer["left_out"][0]["reason"]
    with pytest.raises(DataError, match="no such folder or file"):
        explain(run, device="cpu")


def test_an_image_of_the_training_part_is_not_its_own_neighbour(run: Path, data: Path) -> None:
    model = load(run, "cpu", "float32")
    part, train = gallery.parts(model, open_data(run, str(data), model), "train", [], None)
    assert train is part
    assert len(part.rows) == part.of == 36 - TESTED
    examples = gallery.spread(part, model)
    assert set(examples.rows) <= set(part.rows.tolist())
    own = gallery.own_places(examples, part)
    assert [part.rows[place] for place in own] == examples.rows


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"split": "tset"}, UsageError, "did you mean 'test'"),
        ({"split": "val"}, UsageError, "no val part; it has train, test, all"),
        ({"label": "5"}, UsageError, "unknown label '5': known: 0, 1, 4"),
        ({"layers": ["conv9"]}, UsageError, "unknown layer of modern 'conv9'"),
        ({"images": [Path("gone.jpg")]}, DataError, "gone.jpg: "),
        ({"images": [Path("gone.jpg")] * 17}, UsageError, "17 images are too many"),
        ({"data": "digits"}, DataError, "classes that the network does not know"),
        ({"device": "abacus"}, UsageError, "unknown device 'abacus'"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    run: Path, settings: dict, error: type[AlexNetError], said: str
) -> None:
    before = sorted(run.rglob("*"))
    with pytest.raises(error, match=said) as caught:
        explain(run, **{"device": "cpu", **settings})
    assert "\n" not in str(caught.value)
    assert sorted(run.rglob("*")) == before


def test_what_is_not_its_own_is_never_replaced(run: Path) -> None:
    folder = run / "explain"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 'notes\.txt', so it is no folder of alexnet explain"):
        explain(run, device="cpu")
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_stop_on_the_way_leaves_nothing(
    weights: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery.maps, "figure", stop)
    with pytest.raises(KeyboardInterrupt):
        explain(weights, [data / "0" / "0.png"], out=tmp_path / "out", device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("count", "most", "wanted"), [(3, 8, [0, 1, 2]), (10, 4, [0, 2, 5, 7]), (0, 4, [])])
def test_images_are_taken_evenly(count: int, most: int, wanted: list[int]) -> None:
    assert gallery._evenly(count, most).tolist() == wanted
