"""Archives are found, downloaded atomically and unpacked safely; a local HTTP server serves them."""

import hashlib
import io
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.data.sources.download import Archive, cache_folder, download, extracted, find, find_or_download
from alexnet.errors import AlexNetError, DataError, UsageError

CONTENT = bytes(range(256)) * 4000  # what the server serves


@pytest.fixture
def server(file_server):
    assert file_server.content == CONTENT
    return file_server


@pytest.fixture
def archive(server):
    return Archive("set.tgz", server.url, hashlib.md5(CONTENT).hexdigest())


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """A cache of its own and no folder of archives."""
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ALEXNET_DATA", raising=False)
    return tmp_path / "cache"


def names(folder: Path) -> list[str]:
    """What is in a folder, except locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_download_is_logged_and_complete(archive, tmp_path, capfd, caplog):
    caplog.set_level("INFO", "alexnet")
    path = download(archive, tmp_path)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["set.tgz"]
    assert capfd.readouterr() == ("", "")
    assert all(word in caplog.text for word in ("set.tgz", "1.0 MB", archive.url, str(path), archive.md5))


def test_existing_file_is_not_downloaded_again(archive, server, tmp_path):
    download(archive, tmp_path)
    download(archive, tmp_path)
    assert len(server.ranges) == 1


def test_concurrent_downloads_fetch_a_file_once(archive, server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: download(archive, tmp_path), range(4)))
    assert paths[0].read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_interrupted_download_is_reported_and_resumed(archive, server, tmp_path):
    server.breaks_after = 300_000
    with pytest.raises(DataError, match=r"was interrupted.*run again"):
        download(archive, tmp_path)
    assert names(tmp_path) == ["set.tgz.part"]
    server.breaks_after = None
    assert download(archive, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]
    assert names(tmp_path) == ["set.tgz"]


def test_download_restarts_if_the_server_has_no_ranges(archive, server, tmp_path):
    (tmp_path / "set.tgz.part").write_bytes(b"?" * 1000)
    server.knows_ranges = False
    assert download(archive, tmp_path).read_bytes() == CONTENT


def test_complete_partial_file_is_only_renamed(archive, tmp_path):
    (tmp_path / "set.tgz.part").write_bytes(CONTENT)
    assert download(archive, tmp_path).read_bytes() == CONTENT


def test_no_progress_bar_without_a_terminal(archive, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    download(archive, tmp_path)
    assert "\x1b" not in capfd.readouterr().err


def test_file_with_a_wrong_checksum_is_removed(archive, tmp_path):
    wrong = replace(archive, md5="0" * 32)
    with pytest.raises(DataError, match=rf"set\.tgz .* md5 {archive.md5} instead of 0{{32}} and was removed"):
        download(wrong, tmp_path)
    assert names(tmp_path) == []


def test_partial_file_of_other_content_is_removed(archive, tmp_path):
    (tmp_path / "set.tgz.part").write_bytes(b"?" * 1000)
    with pytest.raises(DataError, match="removed"):
        download(archive, tmp_path)
    assert download(archive, tmp_path).read_bytes() == CONTENT


def test_http_error_is_reported(archive, server, tmp_path):
    with pytest.raises(DataError, match="answered 404 Not Found"):
        download(replace(archive, url=f"{server.url}/missing"), tmp_path)


def test_offline_the_error_says_which_file_to_put_where(fresh_cache):
    archive = Archive("set.tgz", "http://127.0.0.1:9/set.tgz", "0" * 32)
    with pytest.raises(DataError) as caught:
        find_or_download([archive])
    message = str(caught.value)
    assert all(word in message for word in ("set.tgz", archive.url, str(fresh_cache / "downloads"), "ALEXNET_DATA"))
    assert "\n" not in message


def test_unwritable_folder_is_one_clear_line(archive, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(AlexNetError, match="cannot write"):
        download(archive, tmp_path / "file")


def test_preferred_archive_is_found_in_any_folder(fresh_cache, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("ALEXNET_DATA", str(data))
    first, second = Archive("a.zip", "http://127.0.0.1:9/a.zip"), Archive("b.tgz")
    assert find([first, second]) is None
    (data / "b.tgz").write_bytes(b"b")
    assert find_or_download([first, second]) == data / "b.tgz"
    (fresh_cache / "downloads").mkdir(parents=True)
    (fresh_cache / "downloads" / "a.zip").write_bytes(b"a")
    assert find([first, second]) == fresh_cache / "downloads" / "a.zip"


def test_downloaded_archive_is_found_in_the_cache(fresh_cache, archive):
    path = find_or_download([Archive("other.tgz"), archive])
    assert path == fresh_cache / "downloads" / "set.tgz"
    assert find([archive]) == path


def test_missing_data_folder_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXNET_DATA", str(tmp_path / "typo"))
    with pytest.raises(UsageError, match=r"ALEXNET_DATA=.*typo is no folder"):
        find([Archive("a.tgz")])


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("ALEXNET_CACHE")
    assert cache_folder().name == "alexnet"


# Unpacking


def tar_file(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_archive_is_unpacked_once_and_reused(fresh_cache, tmp_path, caplog):
    caplog.set_level("INFO", "alexnet")
    path = tar_file(tmp_path / "set.tgz", ("a/b.txt", b"hello"))
    folder = extracted(path)
    assert (folder / "a" / "b.txt").read_bytes() == b"hello"
    assert str(folder) in caplog.text
    caplog.clear()
    assert extracted(path) == folder
    assert caplog.text == ""


def test_changed_archive_is_unpacked_anew(fresh_cache, tmp_path):
    old = extracted(tar_file(tmp_path / "set.tgz", ("a.txt", b"old")))
    tar_file(tmp_path / "set.tgz", ("a.txt", b"new"))
    os.utime(tmp_path / "set.tgz", ns=(1, 1))
    assert (extracted(tmp_path / "set.tgz") / "a.txt").read_bytes() == b"new"
    assert (old / "a.txt").read_bytes() == b"old"


def test_zip_is_unpacked_with_its_times(fresh_cache, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("a/b.txt", (2009, 2, 13, 23, 31, 30)), "hello")
    file = extracted(tmp_path / "set.zip") / "a" / "b.txt"
    assert file.read_text() == "hello"
    assert file.stat().st_mtime == 1234567890  # the archive's: fingerprints are made of it


@pytest.mark.parametrize("cut", [20, 5_000, -4])
def test_truncated_archive_is_refused_and_leaves_nothing(fresh_cache, tmp_path, cut):
    path = tar_file(tmp_path / "set.tgz", ("a.bin", os.urandom(20_000)), ("b.bin", os.urandom(20_000)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"set\.tgz is damaged"):
        extracted(path)
    assert names(fresh_cache / "extracted") == []


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_one_changed_byte_in_an_archive_is_detected(fresh_cache, tmp_path, kind):
    path = tmp_path / f"set.{kind}"
    if kind == "tgz":
        tar_file(path, ("a.bin", os.urandom(20_000)))
    else:
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("a.bin", os.urandom(20_000))
    content = bytearray(path.read_bytes())
    content[10_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        extracted(path)


def test_file_that_is_no_archive_is_refused(fresh_cache, tmp_path):
    (tmp_path / "set.tgz").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="damaged or unsafe"):
        extracted(tmp_path / "set.tgz")


@pytest.mark.parametrize("name", ["../outside.txt", "{absolute}/outside.txt", "a/../../outside.txt"])
def test_no_archive_writes_outside_its_folder(fresh_cache, tmp_path, name):
    path = tar_file(tmp_path / "set.tgz", (name.format(absolute=tmp_path), b"harm"))
    try:
        folder = extracted(path)
    except DataError:
        folder = None
    files = [file for file in tmp_path.rglob("*.txt") if folder is None or not file.is_relative_to(folder)]
    assert files == []


def test_link_out_of_an_archive_is_refused(fresh_cache, tmp_path):
    with tarfile.open(tmp_path / "set.tgz", "w:gz") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(member)
    with pytest.raises(DataError, match="damaged or unsafe"):
        extracted(tmp_path / "set.tgz")
