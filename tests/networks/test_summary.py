"""The summary gives the published figures."""

import io
import json

import pytest
from rich.console import Console

from alexnet.networks import create, list_networks
from alexnet.networks.summary import notes, summarize, table

PUBLISHED = {  # parameters, trainable ones, multiply-accumulates
    "krizhevsky2012": (60_965_224, 60_965_224, 724_406_816),
    "paper": (60_965_224, 60_965_224, 724_406_816),
    "bvlc": (60_965_224, 60_965_224, 724_406_816),
    "caffenet": (60_965_224, 60_965_224, 724_406_816),
    "one_weird_trick": (61_100_840, 61_100_840, 714_188_480),
    "article": (28_096_769, 28_075_633, 1_039_576_808),
}
KEYS = ["network", "input_size", "layers", "params", "trainable_params", "macs", "weight_bytes"]
LAYER_KEYS = ["name", "kind", "kernel", "stride", "padding", "groups", "output_shape", "params", "macs"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_match_the_published_figures(name: str) -> None:
    summary = summarize(name)
    assert (summary.params, summary.trainable_params, summary.macs) == PUBLISHED[name]


def test_layers_of_krizhevsky2012_match_the_published_figures() -> None:
    layers = {layer.name: (layer.params, layer.macs) for layer in summarize("krizhevsky2012").layers if layer.params}
    assert layers == {
        "conv1": (34_944, 105_415_200),
        "conv2": (307_456, 223_948_800),
        "conv3": (885_120, 149_520_384),
        "conv4": (663_936, 112_140_288),
        "conv5": (442_624, 74_760_192),
        "fc6": (37_752_832, 37_748_736),
        "fc7": (16_781_312, 16_777_216),
        "fc8": (4_097_000, 4_096_000),
    }


def test_layers_of_article_match_its_table() -> None:
    layers = {layer.name: (layer.output_shape, layer.params) for layer in summarize("article").layers}
    assert layers["conv1"] == ([96, 54, 54], 34_944)
    assert layers["conv2"] == ([256, 17, 17], 2_973_952)
    assert layers["bn2"] == ([256, 8, 8], 1_024)
    assert layers["bn5"] == ([256, 1, 1], 1_024)
    assert layers["bn7"] == ([4096], 16_384)
    assert layers["fc9"] == ([17], 17_017)


@pytest.mark.parametrize("name", list_networks())
def test_layers_add_up_to_the_totals_and_the_real_network(name: str) -> None:
    summary = summarize(name, num_classes=5)
    assert sum(layer.params for layer in summary.layers) == summary.params
    assert sum(layer.macs for layer in summary.layers) == summary.macs
    assert summary.weight_bytes == 4 * summary.params
    assert summary.layers[-1].output_shape == [5]
    assert sum(p.numel() for p in create(name, num_classes=5).parameters()) == summary.trainable_params


def test_to_json_has_the_documented_keys_and_round_trips() -> None:
    form = summarize("krizhevsky2012").to_json()
    assert json.loads(json.dumps(form)) == form
    assert list(form) == KEYS
    assert all(list(layer) == LAYER_KEYS for layer in form["layers"])
    pad, conv1 = form["layers"][:2]
    assert pad["padding"] == [0, 3, 0, 3]
    assert (conv1["kernel"], conv1["stride"], conv1["padding"], conv1["groups"]) == (11, 4, 0, 1)


def test_input_size_changes_macs_but_not_parameters() -> None:
    small, usual = summarize("modern", input_size=96), summarize("modern")
    assert small.params == usual.params
    assert small.macs < usual.macs / 3
    assert small.input_size == 96


def test_table_shows_every_layer_and_the_totals() -> None:
    summary = summarize("bvlc")
    console = Console(width=160, file=io.StringIO())
    console.print(table(summary))
    text = console.file.getvalue()
    assert all(layer.name in text for layer in summary.layers)
    assert "60,965,224" in text
    assert "724,406,816" in text
    assert "96 x 55 x 55" in text


def test_eleven_hundred_million_macs_are_explained_for_krizhevsky2012_only() -> None:
    told = " ".join(notes(summarize("krizhevsky2012")))
    assert "'eleven hundred million parameters'" in told
    assert "1,135,256,096 multiply-accumulates of the ungrouped network" in told
    assert not any("eleven" in line for line in notes(summarize("paper")))


def test_notes_give_trainable_parameters_and_weight_size() -> None:
    assert notes(summarize("article"))[0].startswith("28,075,633 parameters trainable, 21,136 not; weights 112.4 MB")
