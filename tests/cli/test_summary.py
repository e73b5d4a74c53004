"""alexnet summary"""

import json

import pytest

from alexnet import cli
from alexnet.networks import list_networks


def test_summary_without_a_name_lists_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list_networks()
    assert cli.main(["summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list_networks()


def test_summary_json_has_the_published_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "krizhevsky2012", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"network", "input_size", "layers", "params", "trainable_params", "macs"} <= answer.keys()
    assert {"name", "kind", "output_shape", "params", "macs"} <= answer["layers"][0].keys()
    assert (answer["params"], answer["macs"]) == (60_965_224, 724_406_816)


def test_summary_table_holds_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["summary", "one_weird_trick", "--classes", "17", "--input-size", "100"]
    assert cli.main(words) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.strip() == "one_weird_trick, 100 x 100 px"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cli.main([*words, "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [(row[0], row[1]) for row in rows[:-1]] == [(layer["name"], layer["kind"]) for layer in layers]
    assert [row[6] for row in rows[:-1]] == [" x ".join(map(str, layer["output_shape"])) for layer in layers]
    for column, key in ((7, "params"), (8, "macs")):
        assert [row[column] for row in rows[:-1]] == [f"{layer[key]:,}" if layer[key] else "" for layer in layers]
        assert rows[-1][column] == f"{sum(layer[key] for layer in layers):,}"
