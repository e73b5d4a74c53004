"""Files and folders that appear whole or not at all: written beside, flushed, renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from alexnet.errors import AlexNetError


@contextmanager
def whole_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that takes its name only when the block ends without an error.

    mode: "w" (UTF-8 text, newlines as written) or "wb". An OSError (disk full, no permission) becomes one clear
    AlexNetError; whatever stood at `path` before is then still there, untouched.
    """
    path = Path(path)
    # Names of files may hold bytes that are no UTF-8; surrogateescape writes them back as they were.
    text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""} if "b" not in mode else {}
    beside: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the name `path` only when the block ends without an error.

    A folder that stands at `path` already is replaced at the end. Errors as in `whole_file`.
    """
    path = Path(path)
    beside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
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


def cannot_write(path: Path, error: OSError) -> AlexNetError:
    """The one line for a write that failed."""
    return AlexNetError(
        f"cannot write {path}: {error.strerror or error}; free space or choose another folder, then run again"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
