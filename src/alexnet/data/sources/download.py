"""Published files: found on this machine or downloaded, and verified; archives of data sets, unpacked once.

Searched are the folder named by the environment variable ALEXNET_DATA and the cache's downloads, in this order.
"""

import calendar
import gzip
import hashlib
import logging
import os
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from alexnet.console import bar
from alexnet.errors import DataError, UsageError
from alexnet.files import cannot_write, exclusive_lock, whole_folder

log = logging.getLogger(__name__)

CHUNK = 1 << 18  # bytes read at a time
TIMEOUT = 30.0  # seconds without data until the connection counts as lost
PART_OUT_OF_RANGE = 416  # HTTP status: the requested range is empty, so the partial file is complete


@dataclass(frozen=True)
class Archive:
    """A published file: an archive of a known data set, or weights. One checksum is given where there is a URL."""

    filename: str
    url: str = ""  # the publisher's; "" for files that are never downloaded
    md5: str = ""  # of the file at `url`, in hexadecimal
    sha1: str = ""
    sha256: str = ""  # or its first digits, where no more were published

    @property
    def checksum(self) -> tuple[str, str]:
        """The algorithm, as hashlib calls it, and the published digits; ("sha256", "") where there are none."""
        given = (("md5", self.md5), ("sha1", self.sha1), ("sha256", self.sha256))
        return next((each for each in given if each[1]), given[-1])

    def digest(self, path: Path) -> str:
        """The checksum of a file by the same algorithm, in hexadecimal."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.checksum[0]).hexdigest()


def cache_folder() -> Path:
    """Folder of downloads, unpacked archives and packed stores: ALEXNET_CACHE, or the platform's cache folder."""
    named = os.environ.get("ALEXNET_CACHE")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("alexnet")


def data_folders() -> list[Path]:
    """Folders searched for archives, in this order. Raises UsageError if ALEXNET_DATA is not a folder."""
    named = os.environ.get("ALEXNET_DATA")
    if named and not Path(named).expanduser().is_dir():
        raise UsageError(f"ALEXNET_DATA={named} is no folder; name the folder that holds the archives, or unset it")
    return [*([Path(named).expanduser()] if named else []), _downloads()]


def find(archives: Sequence[Archive], folders: Sequence[Path] | None = None) -> Path | None:
    """The first archive that is on this machine, in any of the folders (None: `data_folders`), or None."""
    searched = data_folders() if folders is None else folders
    paths = (folder / archive.filename for archive in archives for folder in searched)
    return next((path for path in paths if path.is_file()), None)


def find_or_download(archives: Sequence[Archive]) -> Path:
    """The first archive found on this machine; else the first with a URL, downloaded."""
    found = find(archives)
    if found is not None:
        return found
    return download(next(archive for archive in archives if archive.url), _downloads())


def download(archive: Archive, folder: Path) -> Path:
    """Download an archive into `folder` unless it is there; return its path.

    File, size, URL and checksum are logged first. An interrupted download stays as `<name>.part`, and the next call
    continues it. The file gets its final name after its checksum was verified.
    Raises DataError if the server is unreachable, the connection breaks or the checksum is wrong.
    """
    path = folder / archive.filename
    with exclusive_lock(path):
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            _receive(archive, path, part)
            _verify(archive, part)
            part.replace(path)
    return path


def extracted(archive: Path) -> Path:
    """The folder with the contents of a .tar.gz, .tgz or .zip, unpacked into the cache by the first call.

    A changed archive (name, size or modification time) gets a new folder. Raises DataError for damaged archives and for
    members that would be written outside the folder.
    """
    stat = archive.stat()
    key = hashlib.sha256(f"{archive.name} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache_folder() / "extracted" / f"{archive.name}-{key}"
    if folder.is_dir():
        return folder
    with exclusive_lock(folder):
        if not folder.is_dir():  # unpacked by another process in the meantime
            log.info("unpacking %s (%s) into %s, this once", archive, _megabytes(stat.st_size), folder)
            with whole_folder(folder) as fresh:
                _extract(archive, fresh)
    return folder


def _downloads() -> Path:
    return cache_folder() / "downloads"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _receive(archive: Archive, path: Path, part: Path) -> None:
    """Complete the partial file `part`."""
    start = part.stat().st_size if part.exists() else 0
    response = _connect(archive, start)
    if response is None:
        return
    with response:
        start = start if response.status == 206 else 0  # the server does not support ranges
        total = start + int(response.headers.get("Content-Length") or 0)
        size = _megabytes(total) if total > start else "unknown size"
        resumed = f", resumed at {_megabytes(start)}" if start else ""
        what = f"{archive.filename} ({size}) from {archive.url} into {path}{resumed}"
        log.info("downloading %s; %s %s", what, *archive.checksum)
        received = _append(response, archive, part, start, total)
    if received < total:
        raise DataError(_interrupted(archive, f"it ended after {received:,} of {total:,} bytes"))


def _connect(archive: Archive, start: int) -> HTTPResponse | None:
    """The response, from byte `start` on if the server supports ranges; None if nothing is left to send."""
    headers = {"User-Agent": "alexnet", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response: HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(archive.url, headers=headers), None, TIMEOUT
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == PART_OUT_OF_RANGE:
            return None
        raise DataError(_unreachable(archive, f"the server answered {error.code} {error.reason}")) from error
    except (OSError, HTTPException) as error:
        raise DataError(_unreachable(archive, str(getattr(error, "reason", error)))) from error
    return response


def _append(response: HTTPResponse, archive: Archive, part: Path, start: int, total: int) -> int:
    """Append the response to the first `start` bytes of `part`; return the resulting length."""
    received = start
    try:
        with part.open("ab" if start else "wb") as file, bar(archive.filename, in_bytes=True) as move:
            for chunk in _chunks(response, archive):
                file.write(chunk)
                received += len(chunk)
                move(received, total or None)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(part, error) from error
    return received


def _chunks(response: HTTPResponse, archive: Archive) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise DataError(_interrupted(archive, str(error))) from error


def _verify(archive: Archive, part: Path) -> None:
    """Raise DataError and remove the file if its checksum is wrong."""
    received = archive.digest(part)
    algorithm, published = archive.checksum
    if not received.startswith(published):
        part.unlink()
        raise DataError(
            f"{archive.filename} from {archive.url} has {algorithm} {received} instead of {published} and was removed; "
            f"run again, or put the right file into {_downloads()}"
        )


def _unreachable(archive: Archive, reason: str) -> str:
    return (
        f"cannot download {archive.filename} from {archive.url}: {reason}; get the file on another machine and put it "
        f"into {_downloads()} or into the folder that ALEXNET_DATA names"
    )


def _interrupted(archive: Archive, reason: str) -> str:
    return (
        f"the download of {archive.filename} from {archive.url} was interrupted: {reason}; "
        "the partial file is kept, run again to continue"
    )


def _extract(archive: Path, folder: Path) -> None:
    """Unpack an archive and verify its own checksums."""
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, folder)
        else:
            _extract_tar(archive, folder)
    except (tarfile.TarError, gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is damaged or unsafe ({error}); remove it and get it again") from error


def _extract_zip(archive: Path, folder: Path) -> None:
    """Restore modification times, as for .tar: fingerprints depend on them."""
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            changed = calendar.timegm(member.date_time)
            os.utime(zipped.extract(member, folder), (changed, changed))


def _extract_tar(archive: Path, folder: Path) -> None:
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        tar.extractall(folder, filter="data")
        while stream.read(CHUNK):  # to the end, where gzip verifies its checksum; tarfile stops before
            pass
