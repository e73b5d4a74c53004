"""Archives of known data sets: found on this machine, or fetched from their publishers, then unpacked once.

Looked into: the folder that the environment variable ALEXNET_DATA names, then the downloads of the cache folder.
"""

import calendar
import gzip
import hashlib
import logging
import os
import sys
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from alexnet.errors import DataError, UsageError
from alexnet.files import alone, cannot_write, whole_folder

log = logging.getLogger(__name__)

CHUNK = 1 << 18  # bytes received at a time
TIMEOUT = 30.0  # seconds without a byte until a server counts as gone
WAIT_LOGGED = 0.3  # seconds until waiting for another process is worth a line
PART_OUT_OF_RANGE = 416  # HTTP status: nothing is left behind the part that we have


@dataclass(frozen=True)
class Archive:
    """A file of a known data set."""

    filename: str
    url: str = ""  # where its publisher offers it; "" when it is only used where it is at hand
    md5: str = ""  # of the file at `url`, in hexadecimal


def cache_folder() -> Path:
    """Where downloads, unpacked archives and packed stores go: ALEXNET_CACHE, or this system's usual place."""
    named = os.environ.get("ALEXNET_CACHE")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("alexnet")


def data_folders() -> list[Path]:
    """Where archives are looked for, in this order. Raises UsageError when ALEXNET_DATA names no folder."""
    named = os.environ.get("ALEXNET_DATA")
    if named and not Path(named).expanduser().is_dir():
        raise UsageError(f"ALEXNET_DATA={named} is no folder; name the folder that holds the archives, or unset it")
    return [*([Path(named).expanduser()] if named else []), _downloads()]


def find(archives: Sequence[Archive]) -> Path | None:
    """The first of these archives that is on this machine, in whichever folder, or None."""
    folders = data_folders()
    paths = (folder / archive.filename for archive in archives for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def find_or_download(archives: Sequence[Archive]) -> Path:
    """One of these archives, in order of preference, else the first that its publisher offers, downloaded."""
    found = find(archives)
    if found is not None:
        return found
    return download(next(archive for archive in archives if archive.url), _downloads())


def download(archive: Archive, folder: Path) -> Path:
    """Fetch an archive into `folder`, unless it is there, and return its path.

    What, how large, from where and into which file is logged before it begins. An interrupted download
    is kept as `<name>.part` and continued by the next call. The file takes its name only when its checksum is right.
    Raises DataError when the server cannot be reached, breaks off or sends something else.
    """
    path = folder / archive.filename
    with one_process(path, f"downloads {archive.filename} into {path}"):
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            _receive(archive, path, part)
            _verify(archive, part)
            part.replace(path)
    return path


def extracted(archive: Path) -> Path:
    """The folder that holds the contents of a .tar.gz, .tgz or .zip, unpacked whole into the cache at the first call.

    A changed archive (name, size or time) gets a new folder. Nothing can be written outside it: such archives, and
    damaged ones, raise DataError.
    """
    stat = archive.stat()
    key = hashlib.sha256(f"{archive.name} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache_folder() / "extracted" / f"{archive.name}-{key}"
    if folder.is_dir():
        return folder
    with one_process(folder, f"unpacks {archive} into {folder}"):
        if not folder.is_dir():  # another process may have made it while this one waited
            log.info("unpacking %s (%s) into %s, this once", archive, _megabytes(stat.st_size), folder)
            with whole_folder(folder) as fresh:
                _extract(archive, fresh)
    return folder


@contextmanager
def one_process(path: Path, work: str) -> Iterator[None]:
    """Let one process at a time make `path`; the others wait, and log for what.

    work: what the holder of the lock does, as in "packs photos".
    """
    waiting = threading.Timer(WAIT_LOGGED, log.info, [f"waiting for another process, which {work}"])
    waiting.daemon = True
    waiting.start()
    try:
        with alone(path):
            waiting.cancel()
            yield
    finally:
        waiting.cancel()


def _downloads() -> Path:
    return cache_folder() / "downloads"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _receive(archive: Archive, path: Path, part: Path) -> None:
    """Bring `part` to the archive's full length."""
    start = part.stat().st_size if part.exists() else 0
    response = _connect(archive, start)
    if response is None:
        return
    with response:
        start = start if response.status == 206 else 0  # a server that cannot go on in the middle begins anew
        total = start + int(response.headers.get("Content-Length") or 0)
        size = _megabytes(total) if total > start else "size not told"
        going_on = f", going on at {_megabytes(start)}" if start else ""
        what = f"{archive.filename} ({size}) from {archive.url} into {path}{going_on}"
        log.info("downloading %s; md5 %s", what, archive.md5)
        received = _append(response, archive, part, start, total)
    if received < total:
        raise DataError(_interrupted(archive, f"it ended after {received:,} of {total:,} bytes"))


def _connect(archive: Archive, start: int) -> HTTPResponse | None:
    """The server's answer, from byte `start` on where it can do so; None when nothing is left to send."""
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
    """Write what the server sends behind the first `start` bytes of `part`; returns the length reached."""
    received = start
    try:
        with part.open("ab" if start else "wb") as file, _progress(archive.filename, start, total) as show:
            for chunk in _chunks(response, archive):
                file.write(chunk)
                received += len(chunk)
                show(received)
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


@contextmanager
def _progress(title: str, start: int, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal; gives the function that moves it: (bytes received)."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=total or None, completed=start)
        yield lambda received: bar.update(task, completed=received)


def _verify(archive: Archive, part: Path) -> None:
    """Raise DataError, and remove the file, when its checksum is not the publisher's."""
    with part.open("rb") as file:
        received = hashlib.file_digest(file, "md5").hexdigest()
    if received != archive.md5:
        part.unlink()
        raise DataError(
            f"{archive.filename} from {archive.url} has md5 {received} instead of {archive.md5} and was removed; "
            f"run again, or put the right file into {_downloads()}"
        )


def _unreachable(archive: Archive, reason: str) -> str:
    return (
        f"cannot download {archive.filename} from {archive.url}: {reason}; get the file on another machine and put it "
        f"into {_downloads()} or into the folder that ALEXNET_DATA names"
    )


def _interrupted(archive: Archive, reason: str) -> str:
    return (
        f"the download of {archive.filename} from {archive.url} broke off: {reason}; what came is kept, "
        "run again to go on from there"
    )


def _extract(archive: Path, folder: Path) -> None:
    """Unpack a whole archive, checking the checksums that it carries."""
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, folder)
        else:
            _extract_tar(archive, folder)
    except (tarfile.TarError, gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is damaged or no archive to trust ({error}); remove it and get it again") from error


def _extract_zip(archive: Path, folder: Path) -> None:
    """Files get the times that the archive gives, as those of a .tar do: fingerprints are made of them."""
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            changed = calendar.timegm(member.date_time)
            os.utime(zipped.extract(member, folder), (changed, changed))


def _extract_tar(archive: Path, folder: Path) -> None:
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        tar.extractall(folder, filter="data")
        while stream.read(CHUNK):  # gzip's checksum stands behind the last byte, where tarfile does not look
            pass
