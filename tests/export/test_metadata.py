"""What an export says of itself, as the programs read it that look for it."""

import ast
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from alexnet.data.preprocess import Preprocessing
from alexnet.export.metadata import metadata
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.weights.card import Card

NAMES = ["daisy", "Gänse\"blümchen'", "野菊 \U0001f33c"]


@pytest.fixture
def card(make_card: Callable[..., Card]) -> Card:
    network: Network = create("cifar-80sec", 3)
    return replace(make_card(network, mean=(127.5, 102.0, 51.0), std=(51.0, 51.0, 25.5), resize=64), class_names=NAMES)


def test_values_are_json_and_our_card_comes_back(card: Card) -> None:
    told = metadata(card, batched=False)
    assert Card.from_json(json.loads(told["alexnet.card"])) == card
    for key in ("names", "imgsz", "label_names", "pretrained_cfg", "id2label", "label2id", "preprocessor_config"):
        json.loads(told[key])


def test_ultralytics_reads_names_as_a_literal(card: Card) -> None:
    told = metadata(card, batched=False)
    names = {int(number): name for number, name in ast.literal_eval(told["names"]).items()}
    assert names == dict(enumerate(NAMES))
    assert ast.literal_eval(told["imgsz"]) == [32, 32]
    assert told["task"] == "classify"


def test_timm_and_hugging_face_find_labels_and_preprocessing(card: Card) -> None:
    told = {key: json.loads(value) for key, value in metadata(card, True).items() if value[:1] in "[{"}
    assert told["label_names"] == NAMES
    assert told["id2label"] == {str(number): name for number, name in enumerate(NAMES)}
    assert told["pretrained_cfg"]["mean"] == pytest.approx([0.5, 0.4, 0.2])
    assert told["pretrained_cfg"]["crop_pct"] == 0.5
    assert told["preprocessor_config"]["image_std"] == pytest.approx([0.2, 0.2, 0.1])
    assert told["preprocessor_config"]["size"] == {"shortest_edge": 64}


def test_image_properties_stand_where_the_input_is_a_picture(card: Card) -> None:
    assert metadata(card, batched=False)["Image.BitmapPixelFormat"] == "Rgb8"
    assert not any(key.startswith("Image.") for key in metadata(card, batched=True))


def test_input_tells_the_range_of_values_that_whoever_decodes_applies(card: Card) -> None:
    form = Preprocessing.from_json({**card.preprocessing, "value_range": [0, 4095]})
    told = json.loads(metadata(replace(card, preprocessing=form.to_json()), False)["alexnet.input"])
    assert told["name"] == "image"
    assert told["value_range"] == [0, 4095]
