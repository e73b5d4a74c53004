"""From pictures of any kind to names, by the very steps that training used."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import alexnet
from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.data.store import Store, pack
from alexnet.errors import UsageError, WeightsError
from alexnet.evaluation.predict import probabilities
from alexnet.inference.classifier import Classifier, Prediction, load
from alexnet.networks import create
from alexnet.weights.card import Card, save

NAMES = ["china", "flower", "neither"]
PREPROCESSING = Preprocessing(64, 73, (120.0, 115, 100), (60.0, 58, 57), store_size=80)
CARD = Card("modern", 3, 64, {"width": 0.25}, NAMES, PREPROCESSING.to_json())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes: JPEG, grayscale, 16-bit, a palette with alpha, CMYK, and one turned by its EXIF."""
    root = tmp_path_factory.mktemp("photos")
    china, flower = (Image.fromarray(photo) for photo in load_sample_images().images)
    for name in ("china", "flower"):
        (root / name).mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    china.save(root / "china" / "a.jpg", quality=90)
    china.resize((91, 300)).convert("L").save(root / "china" / "b.png")
    Image.fromarray(np.asarray(china.convert("L")).astype(np.uint16) * 257).save(root / "china" / "c.png")
    flower.save(root / "flower" / "a.jpg", exif=turned)
    flower.convert("CMYK").save(root / "flower" / "b.jpg")
    flower.convert("P").save(root / "flower" / "c.png", transparency=3)
    return root


@pytest.fixture(scope="module")
def store(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return pack(open_source(str(photos)), tmp_path_factory.mktemp("packed") / "store", size=80, workers=1)


@pytest.fixture(scope="module")
def classifier(store: Store) -> Classifier:
    torch.manual_seed(0)
    network = create("modern", 3, 64, width=0.25)
    network(PREPROCESSING.views(torch.from_numpy(store.images(slice(0, len(store))))))  # fills BatchNorm's statistics
    return Classifier(network, CARD, "cpu", "float32")


def inputs_of(classifier: Classifier, images: list, views: int = 1) -> torch.Tensor:
    """What the network is given for these images."""
    seen: list[torch.Tensor] = []
    hook = classifier.network.register_forward_pre_hook(lambda _, batch: seen.append(batch[0]))
    classifier.predict(images, views=views)
    hook.remove()
    return torch.cat(seen)


# --- the same picture, the same numbers ---


@pytest.mark.parametrize("views", [1, 10])
def test_a_picture_reaches_the_network_bit_for_bit_as_from_the_packed_store(
    views: int, classifier: Classifier, photos: Path, store: Store
) -> None:
    stored = PREPROCESSING.views(torch.from_numpy(store.images(slice(0, len(store)))), views)
    given = inputs_of(classifier, [photos / path for path in store.paths], views)
    assert torch.equal(given, stored)


@pytest.mark.parametrize("views", [1, 10])
def test_prediction_and_evaluation_give_the_same_probabilities(
    views: int, classifier: Classifier, photos: Path, store: Store
) -> None:
    indices = np.arange(len(store))
    wanted = probabilities(classifier.network, PREPROCESSING, store, indices, views, precision="float32")
    for prediction, row in zip(
        classifier.predict([photos / path for path in store.paths], top_k=3, views=views), wanted, strict=True
    ):
        found = {guess.label: guess.probability for guess in prediction.predictions}
        assert [found[name] for name in NAMES] == pytest.approx(row.tolist(), abs=1e-6)


def test_a_path_its_text_the_pillow_image_and_its_pixels_are_answered_alike(
    classifier: Classifier, photos: Path
) -> None:
    path = photos / "china" / "b.png"
    with Image.open(path) as image:
        answers = classifier.predict([path, str(path), image, np.asarray(image), np.asarray(image.convert("RGB"))])
    for answer in answers:  # convolutions may round differently at another place of a batch
        assert [guess.label for guess in answer.predictions] == [guess.label for guess in answers[0].predictions]
        wanted = pytest.approx([guess.probability for guess in answers[0].predictions], abs=1e-6)
        assert [guess.probability for guess in answer.predictions] == wanted
    assert [answer.path for answer in answers] == [str(path), str(path), str(path), None, None]


def test_a_pillow_image_that_is_given_many_times_is_answered_alike(classifier: Classifier, photos: Path) -> None:
    with Image.open(photos / "flower" / "a.jpg") as image:
        answers = classifier.predict([image] * 20)
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].error is None


# --- answers ---


def test_answers_are_sorted_sum_to_one_and_name_every_class(classifier: Classifier, photos: Path) -> None:
    (answer,) = classifier.predict([photos / "china" / "a.jpg"], top_k=3)
    chances = [guess.probability for guess in answer.predictions]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1)
    assert sorted(guess.label for guess in answer.predictions) == NAMES


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (3, 3), (5, 3), (1000, 3)])
def test_as_many_answers_are_given_as_asked_for_or_as_there_are_classes(
    asked: int, given: int, classifier: Classifier, photos: Path
) -> None:
    (answer,) = classifier.predict([photos / "china" / "a.jpg"], top_k=asked)
    assert len(answer.predictions) == given


@pytest.mark.parametrize("top_k", [0, -3])
def test_fewer_than_one_answer_is_refused(top_k: int, classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=f"top_k is {top_k}"):
        classifier.predict([], top_k=top_k)


@pytest.mark.parametrize("views", [0, 5])
def test_a_number_of_views_that_there_is_not_is_refused(views: int, classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=f"views is {views}"):
        classifier.predict([], views=views)


def test_a_notebook_shows_what_a_classifier_is_and_what_the_package_has(classifier: Classifier) -> None:
    size, classes = classifier.preprocessing.input_size, len(classifier.class_names)
    precision = str(classifier.precision).split(".")[1]
    assert repr(classifier) == f"<Classifier modern at {size} px, {classes} classes, {classifier.device}, {precision}>"
    assert {"create", "load", "ops", "Classifier"} <= set(dir(alexnet))


def test_no_images_give_no_answers(classifier: Classifier) -> None:
    assert classifier.predict([]) == []


@pytest.mark.parametrize("one", ["a.jpg", Path("a.jpg"), Image.new("RGB", (9, 9)), np.zeros((9, 9, 3), np.uint8)])
def test_one_image_without_a_list_is_not_taken_for_many(one: object, classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=r"predict\(\[image\]\)"):
        classifier.predict(one)


def test_an_array_of_many_images_is_many_images(classifier: Classifier, store: Store) -> None:
    images = store.images(slice(0, 4))
    assert classifier.predict(images) == classifier.predict(list(images))


def test_more_images_than_a_batch_are_answered_in_order(classifier: Classifier, photos: Path) -> None:
    many = [photos / "china" / "a.jpg", photos / "flower" / "b.jpg"] * 40
    answers = classifier.predict(iter(many), top_k=1)
    assert [answer.path for answer in answers] == [str(path) for path in many]
    chances = np.array([answer.predictions[0].probability for answer in answers]).reshape(40, 2)
    assert np.ptp(chances, axis=0).max() < 1e-5


def test_an_answer_is_json(classifier: Classifier, photos: Path) -> None:
    (answer,) = classifier.predict([photos / "china" / "a.jpg"], top_k=1)
    again = json.loads(json.dumps(answer.to_json()))
    assert again["path"] == str(photos / "china" / "a.jpg")
    assert again["error"] is None
    assert again["predictions"][0].keys() == {"label", "probability"}


# --- what cannot be read ---


def test_what_cannot_be_read_gets_its_reason_and_the_others_their_answers(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    whole = (photos / "china" / "a.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    bad = [tmp_path / name for name in ("truncated.jpg", "empty.png", "text.jpg", "missing.jpg")] + [tmp_path]
    good = [photos / "flower" / "a.jpg", photos / "china" / "a.jpg"]
    answers = classifier.predict([good[0], *bad, good[1]], top_k=1)
    assert [answer.path for answer in answers] == [str(path) for path in (good[0], *bad, good[1])]
    assert [bool(answer.error) for answer in answers] == [False, True, True, True, True, True, False]
    assert all(not answer.predictions for answer in answers[1:-1])
    wanted = classifier.predict(good, top_k=1)
    assert [answers[0].predictions[0].label, answers[-1].predictions[0].label] == [
        answer.predictions[0].label for answer in wanted
    ]


def test_when_nothing_can_be_read_every_image_has_its_error(classifier: Classifier, tmp_path: Path) -> None:
    answers = classifier.predict([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    assert all(isinstance(answer, Prediction) and answer.error for answer in answers)


# --- load ---


def test_a_run_folder_and_its_weights_file_load_as_the_same_classifier(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    save(tmp_path / "run" / "weights" / "best.safetensors", classifier.network, CARD)
    images = [photos / "china" / "a.jpg", photos / "flower" / "c.png"]
    wanted = classifier.predict(images)
    for path in (tmp_path / "run", str(tmp_path / "run"), tmp_path / "run" / "weights" / "best.safetensors"):
        again = alexnet.load(path, device="cpu", precision="float32")
        assert again.class_names == NAMES
        assert again.preprocessing == PREPROCESSING
        assert again.predict(images) == wanted


def test_the_network_is_in_evaluation_mode(classifier: Classifier) -> None:
    assert not any(module.training for module in classifier.network.modules())


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model at .*nothing"):
        load(tmp_path / "nothing")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run's folder"):
        load(tmp_path)


def test_a_run_without_weights_says_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="--resume"):
        load(tmp_path)


def test_an_export_is_refused_as_not_yet_readable(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07")
    with pytest.raises(UsageError, match="cannot be loaded yet"):
        load(tmp_path / "net.onnx")


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="pickle"):
        load(tmp_path / "net.pth")


def test_an_unknown_device_is_refused(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        Classifier(classifier.network, CARD, "gpu")
