"""alexnet summary"""

import json

import pytest

from alexnet import cli
from alexnet.networks import list_networks


def test_summary_without_a_name_lists_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary"]) == 0
    assert capsys.readouterr().out.split() == list_networks()
    assert cli.main(["summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list_networks()


def test_summary_json_has_the_published_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "krizhevsky2012", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"network", "input_size", "layers", "params", "trainable_params", "macs"} <= answer.keys()
    assert {"name", "kind", "output_shape", "params", "macs"} <= answer["layers"][0].keys()
    assert (answer["params"], answer["macs"]) == (60_965_224, 724_406_816)


def test_summary_table_holds_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "one_weird_trick", "--classes", "17", "--input-size", "100"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "100 x 100 px" in out
