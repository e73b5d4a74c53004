"""Files and folders that appear whole or not at all: written beside, flushed, renamed."""

import csv
import fcntl
import glob
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from alexnet.errors import AlexNetError, UsageError

HALF = ".half"  # ends the names of what is still being written


@contextmanager
def alone(path: str | Path) -> Iterator[None]:
    """Let one process at a time make `path`; the others wait here: several may start at once, one for each GPU.

    The empty file `.<name>.lock` that stays beside `path` may be removed when nobody works on it.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise cannot_write(path, error) from error
    with lock:
        yield


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a folder that is there for this process; UsageError at once where another one keeps it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        if not _lock(handle, unknown=True):
            raise UsageError(f"another process is at work in {folder}; wait for it, or stop it first")
        yield
    finally:
        os.close(handle)


@contextmanager
def whole_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that takes its name only when the block ends without an error.

    mode: "w" (UTF-8 text, newlines as written) or "wb". An OSError (disk full, no permission) becomes one clear
    AlexNetError; whatever stood at `path` before is then still there, untouched. What a process that was killed left
    half-written under this name is removed.
    """
    path = Path(path)
    # Names of files may hold bytes that are no UTF-8; surrogateescape writes them back as they were.
    text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""} if "b" not in mode else {}
    beside: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, beside = tempfile.mkstemp(HALF, f".{path.name}.", path.parent)
        _lock(handle)
        os.fchmod(handle, 0o666 & ~_umask())
        with open(handle, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        beside = None
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Indented JSON, whole or not at all; numbers that are not finite become null."""
    with whole_file(path) as file:
        json.dump(_finite(values), file, indent=2, allow_nan=False)
        file.write("\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; ValueError for a file that is damaged."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV with a header, whole or not at all; text may hold the bytes of file names that are no UTF-8."""
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the name `path` only when the block ends without an error.

    A folder that stands at `path` already is replaced at the end. Errors and leftovers as in `whole_file`.
    """
    path = Path(path)
    beside: Path | None = None
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        beside = Path(tempfile.mkdtemp(HALF, f".{path.name}.", path.parent))
        handle = os.open(beside, os.O_RDONLY)
        _lock(handle)
        beside.chmod(0o777 & ~_umask())
        yield beside
        if path.exists():
            shutil.rmtree(path)
        beside.rename(path)
        beside = None
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def refuse_strangers(folder: Path, is_ours: Callable[[str], bool], kind: str) -> None:
    """UsageError where `folder` holds a file that is not of our making, so that it is never replaced."""
    try:
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise cannot_write(folder, error) from error
    if strangers := [name for name in names if not is_ours(name)]:
        raise UsageError(f"{folder} holds {strangers[0]!r}, so it is no {kind}; name a new folder, this one is kept")


def cannot_write(path: Path, error: OSError) -> AlexNetError:
    """The one line for a write that failed."""
    return AlexNetError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder")


def _remove_leftovers(path: Path) -> None:
    """Remove what is half-written under the name of `path` and locked by nobody, for its writer was killed.

    A writer in the few microseconds between making and locking its file would lose it, and say that it cannot write;
    where several may write the same, they go through `alone`.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????{HALF}"):
        with suppress(OSError):  # of another user, say: it stays
            handle = os.open(left, os.O_RDONLY)
            try:
                if _lock(handle) and left.is_dir():
                    shutil.rmtree(left)
                elif _lock(handle):
                    left.unlink()
            finally:
                os.close(handle)


def _lock(handle: int, unknown: bool = False) -> bool:
    """Whether an open file or folder is locked now, until it is closed or its process ends, killed or not.

    unknown: what to say on a file system that has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another has the lock
        return False
    except OSError:
        return unknown
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
