"""The run folder's format: what is written is read again, older formats too, damage is one line."""

import json

import pytest

from alexnet.errors import FileError
from alexnet.runs.folder import Config, RunFolder, SplitRow

ENVIRONMENT = {"device": "cpu", "precision": "float32", "threads": 2, "processor": "x", "versions": {"torch": "2"}}
FORMAT_1 = {"data": "digits", "fingerprint": "ab", "recipe": {"split_seed": 3}, "initialised": [], **ENVIRONMENT}


def test_a_config_is_read_as_it_was_written(tmp_path):
    run = RunFolder(tmp_path)
    written = Config(
        kind="pretrain", data="digits", fingerprint="ab", recipe={"split_seed": 3}, pretraining={"method": "crbm"},
        environment=ENVIRONMENT,
    )  # fmt: skip
    run.write_config(written)
    assert run.read_config() == written
    assert json.loads((tmp_path / "config.json").read_text())["format"] == 2


@pytest.mark.parametrize(("extra", "kind"), [({}, "train"), ({"pretraining": {"method": "crbm"}}, "pretrain")])
def test_a_config_of_format_1_is_read(tmp_path, extra, kind):
    (tmp_path / "config.json").write_text(json.dumps({**FORMAT_1, **extra}))
    config = RunFolder(tmp_path).read_config()
    assert (config.kind, config.split_seed, config.environment) == (kind, 3, ENVIRONMENT)
    assert config.pretraining == extra.get("pretraining", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a run"),
        ("{", "is damaged"),
        ("{}", "it lacks data"),
        ("[]", "is damaged"),
        (json.dumps({**FORMAT_1, "format": 9}), "format 9; this version reads 1 and 2"),
        (json.dumps({**FORMAT_1, "format": 2, "kind": "pretrain"}), "kind 'pretrain' does not match"),
    ],
)
def test_a_missing_damaged_or_newer_config_is_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(FileError, match=message):
        RunFolder(tmp_path).read_config()


def test_a_split_keeps_its_order_and_images_listed_twice(tmp_path):
    rows = [SplitRow("b.png", "two", "train"), SplitRow("a\udcff.png", "one", "val"), SplitRow("b.png", "two", "test")]
    RunFolder(tmp_path).write_split(rows)
    assert RunFolder(tmp_path).read_split() == rows


def test_a_split_without_labels_is_read(tmp_path):
    RunFolder(tmp_path).write_split([SplitRow("a", "", "train")], labelled=False)
    assert (tmp_path / "split.csv").read_text() == "path,split,digest\na,train,\n"
    assert RunFolder(tmp_path).read_split() == [SplitRow("a", "", "train")]


def test_epochs_have_every_column_that_any_row_has(tmp_path):
    RunFolder(tmp_path).write_epochs([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_top1": 1.0}])
    assert RunFolder(tmp_path).read_epochs()[0] == {"epoch": "1", "loss": "0.5", "val_top1": ""}


def test_metrics_mark_a_run_as_finished(tmp_path):
    run = RunFolder(tmp_path)
    assert not run.is_finished
    with pytest.raises(FileError, match="is not finished"):
        run.read_metrics()
    run.write_metrics({"top1": 0.5})
    assert run.is_finished
    assert run.read_metrics() == {"top1": 0.5}


def test_a_split_keeps_digests_and_one_of_an_earlier_version_is_read_without(tmp_path):
    rows = [SplitRow("a.png", "one", "val", "00ff"), SplitRow("b.png", "two", "test", "ee01")]
    RunFolder(tmp_path).write_split(rows)
    assert RunFolder(tmp_path).read_split() == rows
    (tmp_path / "split.csv").write_text("path,label,split\na.png,one,val\n")
    assert RunFolder(tmp_path).read_split() == [SplitRow("a.png", "one", "val", "")]
