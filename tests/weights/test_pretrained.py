"""Published weights are found, fetched and verified; nothing of another checksum is used."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet.data.sources.download import Archive
from alexnet.errors import UsageError, WeightsError
from alexnet.networks import list_networks
from alexnet.weights import pretrained
from alexnet.weights.card import read
from alexnet.weights.named import load
from alexnet.weights.pretrained import OWN, OWN_FILE, PUBLISHED, fetch, is_name, published

CONTENT = bytes(range(256)) * 4000
SHA1 = hashlib.sha1(CONTENT).hexdigest()
NAME = "imagenet:bvlc"


@pytest.fixture
def server(file_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A server that publishes imagenet:bvlc as CONTENT; a cache of its own, no folder of data."""
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ALEXNET_DATA", raising=False)
    file_server.content = CONTENT
    publish(monkeypatch, file_server.url)
    return file_server


def publish(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    entry = replace(PUBLISHED[NAME], file=Archive("w.caffemodel", url, sha1=SHA1))
    monkeypatch.setitem(PUBLISHED, NAME, entry)


def test_table_names_networks_checksums_and_scores() -> None:
    for name, entry in PUBLISHED.items():
        assert is_name(name)
        assert entry.network in list_networks()
        assert 0.4 < entry.top1 < entry.top5 < 0.9
        if name != OWN:  # whose card has it
            algorithm, digits = entry.file.checksum
            assert len(digits) in (8, hashlib.new(algorithm).digest_size * 2)


def test_weights_of_the_package_are_small_and_say_what_they_are() -> None:
    entry, (card, tensors) = PUBLISHED[OWN], read(fetch(OWN))
    assert OWN_FILE.stat().st_size == entry.size < 7_000_000
    assert (card.network, card.num_classes, card.training["top1"]) == (entry.network, 200, entry.top1)
    assert card.training.keys() >= {"data", "settings", "command", "top5", "measured_on", "machine", "licence"}
    assert {str(tensor.dtype) for tensor in tensors.values() if tensor.ndim > 1} == {"torch.bfloat16"}
    assert load(OWN).network.state_dict()["conv1.weight"].dtype == torch.float32


def test_an_installation_without_its_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_DATA", str(OWN_FILE.parent))  # where it would be found, of another's weights
    monkeypatch.setitem(PUBLISHED, OWN, replace(PUBLISHED[OWN], folder=tmp_path))
    with pytest.raises(WeightsError, match=f"not in this installation: {tmp_path}/.* is missing; install alexnet"):
        fetch(OWN)


@pytest.mark.parametrize("name", ["imagenet:bvlc", "imagenet:oops", "onnx-zoo:x"])
def test_names_are_known_by_their_form(name: str) -> None:
    assert is_name(name)
    assert is_name(Path(name))


@pytest.mark.parametrize("path", ["runs/mine", "imagenet:/folder", "C:weights", "x.pth", "imagenet:", 5, None])
def test_paths_are_no_names(path: object) -> None:
    assert not is_name(path)


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'imagenet:bvlc'"):
        published("imagenet:bvcl")


def test_downloads_once_and_tells_name_size_and_checksum(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        path = fetch(NAME)
    assert path.read_bytes() == CONTENT
    assert all(part in caplog.text for part in ("w.caffemodel (1.0 MB)", f"sha1 {SHA1}", "http://127.0.0.1"))
    assert fetch(NAME) == path
    assert server.ranges == [None]


def test_an_interrupted_download_is_continued(server: Any) -> None:
    server.breaks_after = 300_000
    with pytest.raises(WeightsError, match="run again to continue"):
        fetch(NAME)
    server.breaks_after = None
    assert fetch(NAME).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_wrong_content_is_refused_and_removed(server: Any, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=f"instead of {SHA1} and was removed"):
        fetch(NAME)
    assert not [path for path in tmp_path.rglob("*caffemodel*") if path.is_file()]


def test_a_missing_page_is_one_line_with_the_way_out(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, f"{server.url}/missing")
    with pytest.raises(WeightsError, match=r"the server answered 404.*ALEXNET_DATA") as told:
        fetch(NAME)
    assert "\n" not in str(told.value)


def test_a_file_in_alexnet_data_comes_first_and_is_verified(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("ALEXNET_DATA", str(tmp_path / "data"))
    mine = tmp_path / "data" / "w.caffemodel"
    mine.write_bytes(CONTENT)
    assert fetch(NAME) == mine
    assert server.ranges == []
    mine.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"data/w.caffemodel has sha1 .*published is"):
        fetch(NAME)


def test_a_verified_file_is_not_read_again(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(NAME)
    monkeypatch.setattr(Archive, "digest", lambda archive, path: pytest.fail("read again"))
    fetch(NAME)


def test_files_without_a_url_say_where_to_get_them(server: Any) -> None:
    with pytest.raises(WeightsError, match=r"get bvlcalexnet-12.onnx from github.com/onnx/models.*and put it into"):
        fetch("onnx-zoo:bvlc")
    assert pretrained.here("onnx-zoo:bvlc") is None
