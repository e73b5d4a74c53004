"""Images to predictions and feature vectors, through the same preprocessing as training and evaluation."""

import io
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
from alexnet.errors import ImageError, UsageError, WeightsError
from alexnet.evaluation.predict import probabilities
from alexnet.inference.answers import Prediction
from alexnet.inference.classifier import Classifier, load
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
    """The network's input for these images."""
    seen: list[torch.Tensor] = []
    hook = classifier.network.register_forward_pre_hook(lambda _, batch: seen.append(batch[0]))
    classifier.predict(images, views=views)
    hook.remove()
    return torch.cat(seen)


# --- equal to training and evaluation ---


@pytest.mark.parametrize("views", [1, 10])
def test_network_input_equals_the_one_from_a_packed_store_bit_for_bit(
    views: int, classifier: Classifier, photos: Path, store: Store
) -> None:
    stored = PREPROCESSING.views(torch.from_numpy(store.images(slice(0, len(store)))), views)
    given = inputs_of(classifier, [photos / path for path in store.paths], views)
    assert torch.equal(given, stored)


@pytest.mark.parametrize("views", [1, 10])
def test_predict_and_evaluation_give_equal_probabilities(
    views: int, classifier: Classifier, photos: Path, store: Store
) -> None:
    indices = np.arange(len(store))
    wanted = probabilities(classifier.network, PREPROCESSING, store, indices, views, precision="float32")
    for prediction, row in zip(
        classifier.predict([photos / path for path in store.paths], top_k=3, views=views), wanted, strict=True
    ):
        found = {guess.label: guess.probability for guess in prediction.predictions}
        assert [found[name] for name in NAMES] == pytest.approx(row.tolist(), abs=1e-6)


def test_all_kinds_of_input_give_equal_predictions(classifier: Classifier, photos: Path) -> None:
    path = photos / "china" / "b.png"
    with Image.open(path) as image:
        answers = classifier.predict([path, str(path), image, np.asarray(image), np.asarray(image.convert("RGB"))])
    for answer in answers:  # convolutions may round differently at another place of a batch
        assert [guess.label for guess in answer.predictions] == [guess.label for guess in answers[0].predictions]
        wanted = pytest.approx([guess.probability for guess in answers[0].predictions], abs=1e-6)
        assert [guess.probability for guess in answer.predictions] == wanted
    assert [answer.path for answer in answers] == [str(path), str(path), str(path), None, None]


def test_one_pillow_image_given_many_times_is_safe_across_threads(classifier: Classifier, photos: Path) -> None:
    with Image.open(photos / "flower" / "a.jpg") as image:
        answers = classifier.predict([image] * 20)
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].error is None


# --- predict ---


def test_probabilities_are_sorted_and_sum_to_one_over_all_classes(classifier: Classifier, photos: Path) -> None:
    (answer,) = classifier.predict([photos / "china" / "a.jpg"], top_k=3)
    chances = [guess.probability for guess in answer.predictions]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1)
    assert sorted(guess.label for guess in answer.predictions) == NAMES


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (3, 3), (5, 3), (1000, 3)])
def test_top_k_is_capped_at_the_number_of_classes(asked: int, given: int, classifier: Classifier, photos: Path) -> None:
    (answer,) = classifier.predict([photos / "china" / "a.jpg"], top_k=asked)
    assert len(answer.predictions) == given


@pytest.mark.parametrize("top_k", [0, -3, None, "5", 2.0, True])
def test_wrong_top_k_is_refused(top_k: object, classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=f"top_k is {top_k!r}; give a whole number from 1 up"):
        classifier.predict([], top_k=top_k)


@pytest.mark.parametrize("views", [0, 5, None, "10", 1.0])
def test_wrong_number_of_views_is_refused(views: object, classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=f"views is {views!r}; take 1"):
        classifier.predict([], views=views)


def test_repr_names_network_size_classes_device_and_precision(classifier: Classifier) -> None:
    size, classes = classifier.preprocessing.input_size, len(classifier.class_names)
    precision = str(classifier.precision).split(".")[1]
    assert repr(classifier) == f"<Classifier modern at {size} px, {classes} classes, {classifier.device}, {precision}>"


def test_no_images_give_no_predictions(classifier: Classifier) -> None:
    assert classifier.predict([]) == []


def test_one_image_gives_a_list_of_one_prediction(classifier: Classifier, photos: Path) -> None:
    path = photos / "china" / "a.jpg"
    wanted = classifier.predict([path])
    assert len(wanted) == 1
    assert classifier.predict(path) == classifier.predict(str(path)) == wanted
    with Image.open(path) as image:
        (answer,) = classifier.predict(image)
    assert answer == wanted[0]
    pixels = np.asarray(Image.open(path))
    assert classifier.predict(pixels)[0].predictions == wanted[0].predictions
    assert classifier.predict(torch.from_numpy(pixels.copy()).permute(2, 0, 1))[0].predictions == wanted[0].predictions


@pytest.mark.parametrize("mistake", [b"bytes", 5, None, np.zeros((9, 9, 3)), torch.zeros(3, 9, 9)])
def test_wrong_type_is_refused_before_any_image_is_read(mistake: object, classifier: Classifier, photos: Path) -> None:
    class Unread(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("read before the mistake was found")

    for images in (mistake, [Unread(b"x"), mistake]):
        with pytest.raises(UsageError, match="accepted are paths, open binary files"):
            classifier.predict(images)


def test_array_of_many_images_equals_a_list_of_them(classifier: Classifier, store: Store) -> None:
    images = store.images(slice(0, 4))
    assert classifier.predict(images) == classifier.predict(list(images))


def test_more_images_than_a_batch_keep_their_order(classifier: Classifier, photos: Path) -> None:
    many = [photos / "china" / "a.jpg", photos / "flower" / "b.jpg"] * 40
    answers = classifier.predict(iter(many), top_k=1)
    assert [answer.path for answer in answers] == [str(path) for path in many]
    chances = np.array([answer.predictions[0].probability for answer in answers]).reshape(40, 2)
    assert np.ptp(chances, axis=0).max() < 1e-5


def test_prediction_converts_to_json(classifier: Classifier, photos: Path) -> None:
    (answer,) = classifier.predict([photos / "china" / "a.jpg"], top_k=1)
    again = json.loads(json.dumps(answer.to_json()))
    assert again["path"] == str(photos / "china" / "a.jpg")
    assert again["error"] is None
    assert again["predictions"][0].keys() == {"label", "probability"}


# --- unreadable files ---


def test_unreadable_files_have_an_error_and_the_others_their_predictions(
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


def test_every_image_has_an_error_when_none_is_readable(classifier: Classifier, tmp_path: Path) -> None:
    answers = classifier.predict([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    assert all(isinstance(answer, Prediction) and answer.error for answer in answers)


# --- embed and save ---


@pytest.mark.parametrize(
    ("name", "size", "differences", "layer", "width"),
    [("modern", 64, {"width": 0.25}, "relu7", 512), ("cifar-19pct", 16, {}, "neuron3", 64)],
)
def test_embed_gives_the_last_hidden_values_or_the_average_of_the_last_maps(
    name: str, size: int, differences: dict, layer: str, width: int, photos: Path
) -> None:
    torch.manual_seed(0)
    preprocessing = Preprocessing(size, size, (120.0, 115, 100), (60.0, 58, 57), store_size=size)
    card = Card(name, 3, size, differences, NAMES, preprocessing.to_json())
    classifier = Classifier(create(name, 3, size, **differences), card, "cpu", "float32")
    images = [photos / "china" / "a.jpg", photos / "flower" / "a.jpg"]
    found = classifier.embed(images)
    assert (found.dtype, found.shape) == (np.float32, (2, width))
    with torch.no_grad():
        _, maps = classifier.network(torch.cat([preprocessing(image) for image in images]), return_maps=True)
    wanted = maps[layer].flatten(2).mean(2) if maps[layer].ndim == 4 else maps[layer]
    assert found == pytest.approx(wanted.numpy(), abs=1e-5)
    assert classifier.embed(images[0]) == pytest.approx(found[:1], abs=1e-5)
    assert classifier.embed([]).shape == (0, width)
    assert classifier.embed(images, layer="conv1").shape == (2, maps["conv1"].shape[1])
    flat = classifier.embed(images, layer="conv2", pool="none")
    assert flat == pytest.approx(maps["conv2"].flatten(1).numpy(), abs=1e-5)


def test_embed_refuses_unreadable_files_and_unknown_layers(classifier: Classifier, photos: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read"):
        classifier.embed([photos / "china" / "a.jpg", "gone.jpg"])
    with pytest.raises(UsageError, match="unknown layer of modern 'fc9'"):
        classifier.embed([], layer="fc9")
    with pytest.raises(UsageError, match="unknown pool 'max'"):
        classifier.embed([], pool="max")


def test_saved_classifier_loads_as_an_equal_one(classifier: Classifier, photos: Path, tmp_path: Path) -> None:
    classifier.save(tmp_path / "folder" / "mine.safetensors")
    again = load(tmp_path / "folder" / "mine.safetensors", device="cpu")
    assert again.card == classifier.card
    images = [photos / "china" / "a.jpg", photos / "flower" / "a.jpg"]
    assert again.predict(images) == classifier.predict(images)


@pytest.mark.parametrize(("path", "said"), [("mine.pth", "mine.pth does not end in .safetensors"), (5, "type int")])
def test_save_refuses_another_suffix_and_what_is_no_path(path: object, said: str, classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=said):
        classifier.save(path)


# --- load ---


def test_load_computes_in_float32_unless_asked(classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "mine.safetensors")
    assert load(tmp_path / "mine.safetensors", "cpu").precision == torch.float32
    assert load(tmp_path / "mine.safetensors", "cpu", "bfloat16").precision == torch.bfloat16


@pytest.mark.parametrize("path", [5, None, b"run"])
def test_model_that_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(UsageError, match="is no path to a model"):
        load(path)


@pytest.mark.parametrize("precision", ["float16", None, 32])
def test_unknown_precision_is_refused(precision: object, classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"unknown precision '{precision}'"):
        Classifier(classifier.network, CARD, "cpu", precision)


def test_run_folder_and_its_weights_file_load_as_equal_classifiers(
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


def test_network_is_in_evaluation_mode(classifier: Classifier) -> None:
    assert not any(module.training for module in classifier.network.modules())


def test_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model at .*nothing"):
        load(tmp_path / "nothing")


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a run's folder"):
        load(tmp_path)


def test_run_without_weights_says_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="--resume"):
        load(tmp_path)


def test_file_that_is_onnx_in_name_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07")
    with pytest.raises(WeightsError, match="is no ONNX file"):
        load(tmp_path / "net.onnx")


def test_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="pickle"):
        load(tmp_path / "net.pth")


def test_unknown_device_is_refused(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        Classifier(classifier.network, CARD, "gpu")
