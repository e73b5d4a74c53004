"""alexnet pack"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet import cli


def test_pack_writes_a_store_where_it_is_told_to(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(digits), "--out", str(tmp_path / "store"), "--size", "70", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer.pop("extent")["images"] == 36
    assert answer == {
        "folder": str(tmp_path / "store"),
        "images": 36,
        "classes": 3,
        "size": 70,
        "fit": "crop",
        "value_range": None,
        "exact": False,
        "skipped": [],
    }
    assert err == ""
    assert (tmp_path / "store").is_dir()


def test_pack_says_what_it_skips(tmp_path: Path, capsys: pytest.CaptureFixture[str], draw: Callable[..., None]) -> None:
    draw(tmp_path / "data", ["1", "2"], images=3)
    (tmp_path / "data" / "2" / "torn.png").write_bytes(b"")
    assert cli.main(["pack", str(tmp_path / "data"), "--max-bad", "0"]) == 3
    assert "2/torn.png: empty" in capsys.readouterr().err
    assert cli.main(["pack", str(tmp_path / "data"), "--max-bad", "0.5", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert [row["path"] for row in answer["skipped"]] == ["2/torn.png"]
    assert f"1 image skipped (2/torn.png: empty: 0 bytes), see {answer['folder']}/skipped.csv" in err
    assert cli.main(["pack", str(tmp_path / "data")]) == 0
    assert "6 images of 2 classes, 256 px a side, 1 skipped, in " in capsys.readouterr().out


def test_pack_verify_says_sound_or_what_is_damaged(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert cli.main(["pack", str(digits), "--out", str(store), "--size", "70"]) == 0
    for words in ([str(store)], [str(digits), "--out", str(store)]):
        assert cli.main(["pack", *words, "--verify"]) == 0
        assert "sound: every checksum is right" in capsys.readouterr().out
    assert cli.main(["pack", str(store), "--verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sound"] is True
    with (store / "shard-00000.bin").open("r+b") as shard:
        shard.write(b"other")
    assert cli.main(["pack", str(store), "--verify"]) == 3
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"alexnet: store {store} is damaged: the checksum of shard-00000.bin is wrong\n")


def test_pack_makes_the_form_that_it_is_asked_for_and_trains_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], digits: Path, small: list[str]
) -> None:
    store = str(tmp_path / "store")
    form = ["--fit", "pad", "--value-range", "0,200"]
    assert cli.main(["pack", str(digits), "--out", store, "--size", "72", *form]) == 0
    assert "72 px a side (pad, values 0 to 200)" in capsys.readouterr().out
    assert cli.main(["train", store, *small, "--out", str(tmp_path / "run"), "--fit", "warp"]) == 3
    assert "alexnet pack DATA --size 72 --fit warp --value-range 0,200 --out FOLDER" in capsys.readouterr().err
    assert cli.main(["pack", str(digits), "--size", "72", *form]) == 0
    assert cli.main(["pack", str(digits), "--size", "72", *form, "--verify"]) == 0
    assert cli.main(["pack", str(digits), "--size", "72", "--fit", "warp", "--verify"]) == 3
