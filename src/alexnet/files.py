"""Files and folders that appear whole or not at all, and locks between processes; on Linux, macOS and Windows.

A writer of `path` works on names beside it that share a random token:

    .<name>.<token>.lock   locked while the writer lives; taken before the next two exist
    .<name>.<token>.half   what is being written
    .<name>.<token>.aside  the old folder, where it has to be moved away before the new one takes its name

The system frees a lock when its process ends, killed or not. Names whose lock is free are leftovers, and `recover`
brings them to a whole state: an old folder moved aside means that the new one beside it is complete.
"""

import csv
import ctypes
import errno
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from alexnet.errors import AlexNetError, UsageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

TOKEN_BYTES = 4  # 8 hexadecimal digits
LOCK, HALF, ASIDE = ".lock", ".half", ".aside"

logger = logging.getLogger(__name__)


@contextmanager
def exclusive_lock(path: str | Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive inter-process lock for making `path`; block until it is free.

    on_wait: called once if the lock is not free at once; without it a line is logged. AlexNetError where the lock
    file `.<name>.lock` cannot be created beside `path`. The lock file is removed when the lock is released.
    """
    path = Path(path)
    name = path.with_name(f".{path.name}{LOCK}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _try_lock(name)
        if lock is None:
            (on_wait or (lambda: logger.info("waiting for another process that is making %s", path)))()
            lock = _wait_for_lock(name)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        recover(path)
        yield
    finally:
        _release(lock)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold an exclusive inter-process lock on an existing folder; UsageError at once if another process holds it.

    The lock file `.lock` in the folder is removed when the lock is released.
    """
    try:
        lock = _try_lock(folder.resolve(strict=True) / LOCK)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if lock is None:
        raise UsageError(f"another process is at work in {folder}; wait for it, or stop it first")
    try:
        yield
    finally:
        _release(lock)


@contextmanager
def whole_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that takes its name only when the block ends without an error.

    mode: "w" (UTF-8 text, newlines as written) or "wb". An OSError (disk full, no permission) becomes one clear
    AlexNetError; a file that stood at `path` before is then untouched. Leftovers of killed writers of the same name
    are removed.
    """
    path = Path(path)
    # Names of files may hold bytes that are no UTF-8; surrogateescape writes them back as they were.
    text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""} if "b" not in mode else {}
    with _writing(path) as names:
        with open(names.half, mode.replace("w", "x"), **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(names.half, path)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the name `path` only when the block ends without an error.

    A folder that stands at `path` is replaced at the end, in one step where the system can, and is whole until then.
    Errors and leftovers as in `whole_file`.
    """
    path = Path(path)
    with _writing(path) as names:
        _refuse_other_than_folder(path)
        names.half.mkdir()
        yield names.half
        _refuse_other_than_folder(path)
        _publish(names, path)


def recover(path: str | Path) -> None:
    """Finish or undo what killed writers of `path` left: afterwards it is the old or the new, whole, if it ever was.

    To be called before reading what `whole_folder` may have written, where `path` does not exist. Leftovers of living
    writers, and those that this user may not touch, stay.
    """
    path = Path(path)
    with suppress(OSError):
        for names in _leftovers(path):
            with suppress(OSError):
                lock = _try_lock(names.lock)
                if lock is not None:
                    try:
                        _settle(names, path)
                    finally:
                        _release(lock)


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


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))  # Windows has no quota error
    advice = "free space, or choose another folder" if full else "choose another folder"
    return AlexNetError(f"cannot write {path}: {error.strerror or error}; {advice}")


# --- names beside the path ---


class _Names(NamedTuple):
    """The names beside a path that one writer works on."""

    lock: Path
    half: Path
    aside: Path


def _names(path: Path, token: str) -> _Names:
    return _Names(*(path.with_name(f".{path.name}.{token}{suffix}") for suffix in (LOCK, HALF, ASIDE)))


def _leftovers(path: Path) -> list[_Names]:
    """The names of every writer of `path`, living or not."""
    start, digits = f".{path.name}.", 2 * TOKEN_BYTES
    tokens = set()
    for entry in os.listdir(path.parent):  # noqa: PTH208 - names alone, which need no Path each
        rest = entry.removeprefix(start)
        if rest != entry and rest[digits:] in (LOCK, HALF, ASIDE):
            tokens.add(rest[:digits])
    return [_names(path, token) for token in sorted(tokens)]


@contextmanager
def _writing(path: Path) -> Iterator[_Names]:
    """Locked names for a new writer of `path`; at the end nothing is left under them. OSError: AlexNetError."""
    lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        recover(path)
        while lock is None:  # another writer's `recover` may lock our name before we do
            names = _names(path, secrets.token_hex(TOKEN_BYTES))
            lock = _try_lock(names.lock)
        yield names
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if lock is not None:
            with suppress(OSError):
                _settle(names, path)
            _release(lock)


def _publish(names: _Names, path: Path) -> None:
    """Give the complete folder `half` the name `path`; a folder that had it ends under the name `half`."""
    if not path.exists():
        try:
            names.half.rename(path)
            return
        except OSError:
            if not path.exists():  # else another writer was first, and its folder is replaced
                raise
    if not _exchange(names.half, path):
        path.rename(names.aside)
        names.half.rename(path)


def _settle(names: _Names, path: Path) -> None:
    """Leave nothing under a writer's names, wherever it stopped.

    An old folder that is being removed is under the name `half`, never `aside`: it must not be put back in pieces.
    """
    if names.aside.exists():
        if not path.exists():
            (names.half if names.half.exists() else names.aside).rename(path)
        _remove(names.half)
        if names.aside.exists():
            names.aside.rename(names.half)
    _remove(names.half)


def _refuse_other_than_folder(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, as Linux (renameat2) and macOS (renamex_np) can; whether that was done."""
    here, swap = -100, 2  # AT_FDCWD of Linux; RENAME_EXCHANGE and RENAME_SWAP
    first, second = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    try:
        if sys.platform == "linux":
            return bool(ctypes.CDLL(None).renameat2(here, first, here, second, swap) == 0)
        if sys.platform == "darwin":
            return bool(ctypes.CDLL(None).renamex_np(first, second, swap) == 0)
    except (AttributeError, OSError):  # an older system
        pass
    return False


# --- locks; filelock is imported where it is needed, because it takes longer than all of `alexnet --help` may ---


def _try_lock(name: Path) -> "BaseFileLock | None":
    """The lock on a file, which is created; None if another holds it. OSError where it cannot be created."""
    from filelock import FileLock, Timeout

    lock = FileLock(name, thread_local=False)
    for _ in range(3):
        try:
            lock.acquire(timeout=0)
            return lock
        except Timeout:
            if name.exists():
                return None  # else just released, or filelock takes a folder without files, as /proc, for a held lock
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(name))


def _wait_for_lock(name: Path) -> "BaseFileLock":
    """The lock on a file, once it is free."""
    from filelock import FileLock

    lock = FileLock(name, thread_local=False)
    lock.acquire()
    return lock


def _release(lock: "BaseFileLock") -> None:
    """Release a lock and remove its file.

    Unix: removed before the release, so that whoever waits for it finds it unlinked and takes a new one. Windows
    removes no open file: after the release, unless another process has opened it by then.
    """
    from filelock import UnixFileLock

    name = Path(lock.lock_file)
    with suppress(OSError):
        if isinstance(lock, UnixFileLock):
            name.unlink()
    lock.release()
    with suppress(OSError):
        if not isinstance(lock, UnixFileLock):
            name.unlink()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
