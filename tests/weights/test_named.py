"""Whatever names weights gives the same network: a published name, a file of another program, a file of ours."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.models import alexnet

from alexnet import create, evaluate, load
from alexnet.data.sources.download import Archive
from alexnet.data.sources.synsets import imagenet_names
from alexnet.errors import DataError, FileError, UsageError, WeightsError
from alexnet.training.initial import begin_from, check_initial
from alexnet.weights.card import Card, has_card, save
from alexnet.weights.named import class_list, convert_file
from alexnet.weights.pretrained import PUBLISHED

NAME = "imagenet:one_weird_trick"


@pytest.fixture(scope="module")
def theirs() -> alexnet:
    torch.manual_seed(3)
    network = alexnet(weights=None).eval()
    with torch.no_grad():
        network.classifier[6].weight *= 30  # else all answers are nearly equal
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, theirs: alexnet) -> Iterator[Path]:
    """A folder that holds imagenet:one_weird_trick, of random weights, as ALEXNET_DATA."""
    data = tmp_path_factory.mktemp("data")
    torch.save(theirs.state_dict(), data / "w.pth")
    entry = replace(
        PUBLISHED[NAME], file=Archive("w.pth", sha256=hashlib.sha256((data / "w.pth").read_bytes()).hexdigest())
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_DATA", str(data))
        patch.setitem(PUBLISHED, NAME, entry)
        yield data
    (data / "w.pth").unlink()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "x.png"
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(noise).resize((360, 240)).save(path)
    return path


def test_published_name_answers_as_torchvision_does(folder: Path, theirs: alexnet, photo: Path) -> None:
    model = load(NAME)
    assert (model.name, model.origin) == (NAME, None)
    (answer,) = model.predict(photo)
    with torch.no_grad():
        best = theirs(model.preprocessing(photo)).softmax(1)[0].topk(5)
    names = list(imagenet_names().values())
    assert [guess.label for guess in answer.predictions] == [names[index] for index in best.indices]
    assert [guess.probability for guess in answer.predictions] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_evaluate_pairs_synset_folders_with_the_classes(folder: Path, photo: Path, tmp_path: Path) -> None:
    """imagenet:/folder without any file of words has classes called n01440764, ...; the network's are called tench."""
    names = list(imagenet_names())
    for part in ("train", "val"):
        for wnid in (names[3], names[134], names[999]):  # 134: a crane, whose name bears its id
            (tmp_path / part / wnid).mkdir(parents=True)
            Image.open(photo).save(tmp_path / part / wnid / "0.png")
    measured = evaluate(NAME, f"imagenet:{tmp_path}", split="val")
    assert (measured.model, measured.images) == (NAME, 3)
    right = [row for row, row_counts in enumerate(measured.confusion) if sum(row_counts)]
    assert right == [3, 134, 999]


def test_other_classes_are_refused(folder: Path, photo: Path, tmp_path: Path) -> None:
    for name in ("no such thing", "n99999999"):
        (tmp_path / name).mkdir()
        Image.open(photo).save(tmp_path / name / "0.png")
    with pytest.raises(DataError, match="classes that the network does not know"):
        evaluate(NAME, str(tmp_path))


def test_create_takes_weights_and_a_new_last_layer(
    folder: Path, theirs: alexnet, caplog: pytest.LogCaptureFixture
) -> None:
    network = create("one_weird_trick", weights=NAME)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), theirs.parameters(), strict=True))
    with caplog.at_level(logging.INFO):
        few = create("one_weird_trick", 7, weights=folder / "w.pth")
    assert few.classifier[6].weight.shape == (7, 4096)
    assert torch.equal(few.classifier[4].weight, theirs.classifier[4].weight)
    assert "1000 classes: the layer for 7 is new" in caplog.text


def test_wrong_arguments_are_refused_before_weights_are_fetched(folder: Path) -> None:
    with pytest.raises(WeightsError, match="of the network 'one_weird_trick', not 'modern'"):
        create("modern", weights=NAME)
    with pytest.raises(UsageError, match="unknown weights 'imagenet:modern'"):
        create("modern", weights="imagenet:modern")
    with pytest.raises(UsageError, match="dropout"):
        create("one_weird_trick", weights="no such file", dropout=2.0)


def test_training_begins_from_them(folder: Path, theirs: alexnet) -> None:
    network = create("one_weird_trick", 4)
    check_initial(network, str(folder / "w.pth"))
    taken = begin_from(network, NAME, ["a", "b", "c", "d"])
    assert taken == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    assert torch.equal(network.features[0].weight, theirs.features[0].weight)
    with pytest.raises(WeightsError, match="--network one_weird_trick"):
        check_initial(create("modern"), NAME)


def test_the_last_layer_is_taken_for_imagenets_classes_by_synset(folder: Path) -> None:
    taken = begin_from(create("one_weird_trick"), NAME, list(imagenet_names()))
    assert "fc8" in taken


def test_converted_file_has_a_card_and_answers_alike(folder: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    card = convert_file(folder / "w.pth", out).card
    assert has_card(out)
    assert (card.network, card.class_names[0], card.preprocessing["fit"]) == ("one_weird_trick", "tench", "short")
    assert card.training["converted_from"] == "w.pth"
    assert load(out).predict(photo) == load(folder / "w.pth").predict(photo)
    with pytest.raises(UsageError, match="is there already"):
        convert_file(folder / "w.pth", out)
    with pytest.raises(UsageError, match="Caffe's format holds bvlc and caffenet"):
        convert_file(out, tmp_path / "x.caffemodel", to="caffe")
    assert not (tmp_path / "x.caffemodel").exists()
    with pytest.raises(UsageError, match="unknown format of weights 'cafe'"):
        convert_file(out, tmp_path / "x", to="cafe")


def test_our_files_are_told_from_torchvisions(tmp_path: Path) -> None:
    network = create("cifar-19pct")
    card = Card("cifar-19pct", 10, 32, {}, list("abcdefghij"), {"input_size": 32})
    save(tmp_path / "a.safetensors", network, card)
    assert has_card(tmp_path / "a.safetensors")
    assert not has_card(tmp_path / "missing")
    again = create("cifar-19pct", weights=tmp_path / "a.safetensors")
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), network.parameters(), strict=True))


def test_the_development_kits_order_is_its_own(tmp_path: Path) -> None:
    """Its ids number the classes otherwise; those above 1,000 are groups of classes."""
    wnids = ["n02119789", "n02100735", "n01440764"]  # kit fox, English setter, tench: the ids 1, 2 and any
    fields = [("ILSVRC2012_ID", float), ("WNID", object), ("words", object)]
    rows = [(3, wnids[2], "tench"), (1, wnids[0], "kit fox"), (2, wnids[1], "setter"), (1001, "n09999999", "group")]
    savemat(tmp_path / "meta.mat", {"synsets": np.array(rows, dtype=fields)})
    assert class_list(tmp_path / "meta.mat") == ["kit fox", "English setter", "tench"]


def test_class_lists_are_checked(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("rose\n\ntulip \n", encoding="utf-8")
    assert class_list(tmp_path / "names") == ["rose", "tulip"]
    (tmp_path / "names").write_text("rose\nrose\n", encoding="utf-8")
    with pytest.raises(FileError, match="'rose' twice"):
        class_list(tmp_path / "names")
