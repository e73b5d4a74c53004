"""A probe: a run like any other, whose weights file gives what the logistic regression gives."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import alexnet
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import DataError, UsageError, WeightsError
from alexnet.networks import create
from alexnet.runs.folder import RunFolder
from alexnet.training import run as training
from alexnet.training.recipes import recipe
from alexnet.weights.card import Card, read_card, save
from alexnet.weights.pretrained import OWN


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network of two other classes."""
    torch.manual_seed(0)
    network = create("modern", 2, 63, width=0.5)
    preprocessing = Preprocessing(63, 72, network.mean, network.std, store_size=72)
    path = tmp_path_factory.mktemp("init") / "other.safetensors"
    save(path, network, Card("modern", 2, 63, {"width": 0.5}, ["a", "b"], preprocessing.to_json()))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_digits: Callable[[Path, int, int], Path]) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "d", 4, 20)


@pytest.fixture(scope="module")
def probed(weights: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> alexnet.Run:
    out = tmp_path_factory.mktemp("runs") / "probe"
    settings = {"probe": True, "init": str(weights), "precision": "float32", "validation": 0.2, "test": 0.25}
    return alexnet.train(str(data), out=out, **settings)


def test_the_run_is_evaluated_as_any_other_and_agrees(probed: alexnet.Run, data: Path) -> None:
    measured = alexnet.evaluate(probed, str(data))
    assert measured.split == "test"
    assert measured.top1 == pytest.approx(probed.metrics["top1"])
    assert probed.metrics["top1"] > 0.6  # of four classes, with random features
    assert probed.metrics["images"] == 20
    names = {path.name for path in probed.folder.iterdir()}
    assert names >= {"config.json", "split.csv", "metrics.csv", "metrics.json", "predictions.csv", "confusion.png"}
    assert "samples.png" in names


def test_only_the_last_layer_differs_from_the_network_it_began_from(probed: alexnet.Run, weights: Path) -> None:
    one, other = alexnet.load(weights).network.state_dict(), probed.classifier.network.state_dict()
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == ["fc8.weight", "fc8.bias"]
    card = read_card(RunFolder(probed.folder).weights)
    assert (card.num_classes, card.differences, card.input_size) == (4, {"width": 0.5}, 63)
    assert RunFolder(probed.folder).read_config().recipe["network"] == "modern"


def test_metrics_tell_the_choice_and_the_neighbours(probed: alexnet.Run, data: Path) -> None:
    told = probed.metrics["probe"]
    assert (told["layer"], told["features"], told["chosen_on"]) == ("drop7", 512, "cross-validation")
    rows = RunFolder(probed.folder).read_split()
    part = {name: [row for row in rows if row.split == name] for name in ("train", "test")}
    vectors = {name: probed.classifier.embed([data / row.path for row in part[name]]) for name in part}
    distances = ((vectors["test"][:, None] - vectors["train"][None]) ** 2).sum(2)
    right = [
        part["train"][near].label == row.label for near, row in zip(distances.argmin(1), part["test"], strict=True)
    ]
    assert told["neighbours_top1"] == pytest.approx(np.mean(right))


def test_it_is_trained_on_by_more_and_has_nothing_to_resume(probed: alexnet.Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        training.resume(probed.folder)
    folder = training.train_on(probed.folder, 1, tmp_path / "on", batch_size=8, automatic="")
    assert RunFolder(folder).read_config().recipe["probe"] is False
    assert RunFolder(folder).read_metrics()["epochs"] == 1


def test_without_init_the_features_are_those_of_the_package_and_see_photos_whole(data: Path, tmp_path: Path) -> None:
    found = alexnet.train(str(data), out=tmp_path / "run", probe=True, validation=0.2, test=0.25)
    card, own = read_card(RunFolder(found.folder).weights), alexnet.load(OWN).network.state_dict()
    assert (card.input_size, card.preprocessing["store_size"]) == (192, 256)
    assert torch.equal(alexnet.load(found.folder).network.state_dict()["conv3.weight"], own["conv3.weight"])
    assert found.metrics["top1"] > 0.6  # of four digits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init": "WEIGHTS", "epochs": 3, "lr": 0.1}, "takes no --epochs, --lr"),
        ({"init": "WEIGHTS", "balance": "sampling"}, "give --balance weights"),
        ({"init": "WEIGHTS", "network": "bvlc"}, "is of modern; leave --network out"),
        ({"init": "gone.safetensors"}, "no model at"),
    ],
)
def test_what_it_does_not_heed_is_refused(
    weights: Path, data: Path, tmp_path: Path, settings: dict, message: str
) -> None:
    given = {name: str(weights) if value == "WEIGHTS" else value for name, value in settings.items()}
    with pytest.raises((UsageError, WeightsError), match=message):
        training.train(str(data), recipe("modern", probe=True, **given), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pretrained_layers_alone_are_refused(weights: Path, data: Path, tmp_path: Path) -> None:
    model = alexnet.load(weights)
    card = dataclasses.replace(model.card, num_classes=0, class_names=[])
    save(tmp_path / "layers.safetensors", model.network, card, layers=["conv1"])
    with pytest.raises(WeightsError, match="pre-trained layers and knows no classes"):
        training.train(
            str(data), recipe("modern", probe=True, init=str(tmp_path / "layers.safetensors")), tmp_path / "r"
        )


def test_a_class_without_training_images_is_refused(weights: Path, tmp_path: Path, data: Path) -> None:
    lines = ["path,label,split"]
    for label in range(3):
        images = sorted((data / sorted(each.name for each in data.iterdir())[label]).glob("*.png"))
        lines += [f"{path},{label},{'test' if label == 2 else 'train'}" for path in images[:6]]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="2"):
        training.train(str(tmp_path / "t.csv"), recipe("modern", probe=True, init=str(weights)), tmp_path / "run")
