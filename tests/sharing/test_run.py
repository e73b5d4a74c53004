"""alexnet publish sends four files, private unless asked, tells no place on this machine, and refuses in one line."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexnet
from alexnet import cli
from alexnet.errors import AlexNetError, FileError, UsageError
from alexnet.runs.folder import RunFolder
from alexnet.sharing.files import FILES
from alexnet.sharing.run import publish
from alexnet.weights.card import BEST, read, write

NAME = "me/digits"


@pytest.fixture
def copied(calibrated_run: "alexnet.Run", tmp_path: Path) -> Path:
    """A calibrated run that a test may change."""
    return Path(shutil.copytree(calibrated_run.folder, tmp_path / "run"))


def renamed(run: Path, label: str) -> None:
    """Call the first class of a run otherwise."""
    card, tensors = read(run / BEST)
    write(run / BEST, tensors, replace(card, class_names=[label, *card.class_names[1:]]))


def everything_told(folder: Path) -> str:
    """All texts of a published folder."""
    header = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", header[:8])[0]
    texts = [(folder / name).read_text(encoding="utf-8") for name in FILES if not name.endswith(".safetensors")]
    return "\n".join([*texts, header[8 : 8 + length].decode()])


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's upload
@pytest.mark.parametrize("mode", ["regular", "lfs"])
def test_a_published_run_is_loaded_and_answers_alike(
    hub_server: Any, calibrated_run: "alexnet.Run", small_data: Path, mode: str
) -> None:
    hub_server.upload_mode = mode
    done = publish(calibrated_run, NAME, "MIT")
    (commit, files), *_ = hub_server.commits[NAME]
    assert done.name == f"hub:{NAME}@{commit}"
    assert sorted(files) == sorted(FILES)
    assert done.sizes == {name: len(content) for name, content in files.items()}
    assert hub_server.private[NAME] is True
    photos = sorted(small_data.rglob("*.png"))[:5]
    theirs, ours = alexnet.load(f"hub:{NAME}"), calibrated_run.classifier
    assert [each.to_json() for each in theirs.predict(photos)] == [each.to_json() for each in ours.predict(photos)]


def test_only_public_makes_it_public_and_what_is_there_is_not_opened_or_closed(
    hub_server: Any, calibrated_run: "alexnet.Run"
) -> None:
    publish(calibrated_run, NAME, "mit", public=True)
    assert hub_server.private[NAME] is False
    with pytest.raises(UsageError, match="is there already and is public; give --public"):
        publish(calibrated_run, NAME, "mit")
    publish(calibrated_run, NAME, "apache-2.0", public=True)
    hub_server.private["me/secret"] = True
    with pytest.raises(UsageError, match="is there already and is private; leave --public out"):
        publish(calibrated_run, "me/secret", "mit", public=True)
    assert len(hub_server.commits[NAME]) == 2
    assert "me/secret" not in hub_server.commits


def test_a_dry_run_writes_the_same_files_and_sends_nothing(
    hub_server: Any, calibrated_run: "alexnet.Run", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = publish(calibrated_run, NAME, "mit", dry_run=tmp_path / "look")
    assert hub_server.asked == []
    assert sorted(path.name for path in (tmp_path / "look").iterdir()) == sorted(FILES)
    assert (done.name, done.address, done.folder) == (f"hub:{NAME}", None, str(tmp_path / "look"))
    monkeypatch.setenv("HF_TOKEN", hub_server.token)
    publish(calibrated_run, NAME, "mit")
    assert hub_server.commits[NAME][0][1] == {name: (tmp_path / "look" / name).read_bytes() for name in FILES}
    (tmp_path / "look" / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match=r"holds 'mine.txt'"):
        publish(calibrated_run, NAME, "mit", dry_run=tmp_path / "look")


def test_no_file_tells_where_the_run_or_its_photos_lie(
    calibrated_run: "alexnet.Run", small_data: Path, tmp_path: Path
) -> None:
    recorded = RunFolder(calibrated_run.folder).read_config()
    assert recorded.data == str(small_data)  # else the test proves nothing
    publish(calibrated_run, NAME, "mit", dry_run=tmp_path / "look")
    told = everything_told(tmp_path / "look")
    for place in (small_data, small_data.parent, calibrated_run.folder, Path.home(), Path.cwd(), tmp_path):
        assert str(place) not in told
    assert ".png" not in told
    assert small_data.name in told


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_path_that_is_left_stops_it_before_anything_is_sent(
    hub_server: Any, copied: Path, small_data: Path, quote: str
) -> None:
    renamed(copied, f"{quote}{small_data}/digit 0")
    with pytest.raises(AlexNetError, match=r"would tell .*nothing was sent") as refused:
        publish(copied, NAME, "mit")
    assert str(small_data) in str(refused.value)
    assert hub_server.asked == []


def test_what_a_run_began_from_is_told_by_its_last_name(copied: Path, tmp_path: Path) -> None:
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    config["recipe"]["init"] = "/srv/people/ann/runs/first"
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    card, tensors = read(copied / BEST)
    recipe = {**card.training["recipe"], "init": "/srv/people/ann/runs/first"}
    write(copied / BEST, tensors, replace(card, training={**card.training, "recipe": recipe}))
    publish(copied, NAME, "mit", dry_run=tmp_path / "look")
    told = everything_told(tmp_path / "look")
    assert "begun from first" in told
    assert "/srv" not in told
    assert "ann" not in json.dumps(read(tmp_path / "look" / "model.safetensors").card.training)


def test_the_card_keeps_all_but_places(calibrated_run: "alexnet.Run", tmp_path: Path) -> None:
    publish(calibrated_run, NAME, "mit", dry_run=tmp_path / "look")
    (before, ours), (after, theirs) = read(calibrated_run.folder / BEST), read(tmp_path / "look" / "model.safetensors")
    assert after == replace(before, training=after.training)
    assert after.training["recipe"] == before.training["recipe"]
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "does not accept the token .*hf auth login; it says: no entry"),
        (403, "the token may not write there"),
        (404, "knows no such owner or model"),
        (418, "refuses with status 418"),
        (503, "no answer from .*it answers 503.*try again later"),
    ],
)
def test_a_hub_that_refuses_is_told_in_one_line(
    hub_server: Any, calibrated_run: "alexnet.Run", status: int, told: str
) -> None:
    hub_server.refusal = (status, "no entry")
    with pytest.raises(AlexNetError, match=told) as refused:
        publish(calibrated_run, NAME, "mit")
    assert str(refused.value).startswith(f"{NAME}: ")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 1


def test_without_token_or_network_it_says_so(
    hub_server: Any, calibrated_run: "alexnet.Run", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(AlexNetError, match=r"me/digits: no answer from http://127.0.0.1:9 .*check the network"):
        publish(calibrated_run, NAME, "mit")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(AlexNetError, match="nothing can be sent, for HF_HUB_OFFLINE is set"):
        publish(calibrated_run, NAME, "mit")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AlexNetError, match=r"no token is set.*hf auth login"):
        publish(calibrated_run, NAME, "mit")


def test_what_cannot_be_published_is_refused_before_anything_is_sent(hub_server: Any, copied: Path) -> None:
    for repository, licence in ((NAME, "mine"), ("digits", "mit"), ("me/../x", "mit"), ("", "mit")):
        with pytest.raises(UsageError):
            publish(copied, repository, licence)
    (copied / "metrics.json").unlink()
    with pytest.raises(FileError, match="is not finished"):
        publish(copied, NAME, "mit")
    with pytest.raises(FileError, match="is not a run"):
        publish(copied / "weights", NAME, "mit")
    assert hub_server.asked == []


def test_the_command_publishes_and_the_name_it_prints_is_a_model(
    hub_server: Any, calibrated_run: "alexnet.Run", small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["publish", str(calibrated_run.folder), NAME, "--license", "mit", "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["name"]
    photo = str(next(small_data.rglob("*.png")))
    assert cli.main(["predict", name, photo]) == 0
    assert photo in capsys.readouterr().out
    assert cli.main(["publish", str(calibrated_run.folder), NAME, "--license", "mit"]) == 0
    printed = capsys.readouterr()
    assert "private: only its owner sees it" in printed.out
    assert "it/s" not in printed.err
    assert "licence" not in printed.err
    assert cli.main(["publish", str(calibrated_run.folder), NAME, "--license", "other"]) == 0
    told = capsys.readouterr().err
    assert "licence 'other' says nothing by itself: put its name and its text" in told
    assert "under 'Licence' in the README.md at http" in told
    assert cli.main(["publish", str(calibrated_run.folder), NAME]) == 2
    assert "--license" in capsys.readouterr().err
    hub_server.refusal = (403, "")
    assert cli.main(["publish", str(calibrated_run.folder), NAME, "--license", "mit"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
