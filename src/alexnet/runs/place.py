"""Where a run goes: a name that is free, and a place that can be written to."""

import logging
import os
from pathlib import Path

from alexnet.errors import AlexNetError
from alexnet.files import cannot_write

logger = logging.getLogger(__name__)


def new_folder(wanted: Path, numbered: bool) -> Path:
    """Make a folder that did not exist: `wanted` itself, or the first of wanted-1 (-2), wanted-2 ... that is free."""
    number = 1 if numbered else 0
    while True:
        folder = wanted.with_name(f"{wanted.name}-{number}") if number else wanted
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not numbered and folder == wanted and folder.is_dir() and not any(folder.iterdir()):
                return folder
            number = number + 1 if number else 2
            continue
        except OSError as error:
            raise cannot_write(folder, error) from error
        if not numbered and folder != wanted:
            logger.warning("%s exists already and is left alone; this run goes to %s", wanted, folder)
        return folder


def check_writable(folder: Path) -> None:
    """AlexNetError where `folder` cannot be made: its nearest existing parent is a file or is not writable."""
    place = next(parent for parent in folder.absolute().parents if os.path.lexists(parent))
    if not place.is_dir():
        raise AlexNetError(f"cannot write {folder}: {place} is not a folder; choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise AlexNetError(f"cannot write {folder}: {place} is not writable; choose another folder")
