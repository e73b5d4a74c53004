"""A run's folder: a name that is free, and what it began with."""

from pathlib import Path
from typing import Any

from alexnet.console import say
from alexnet.errors import UsageError
from alexnet.files import cannot_write, read_json

COMPARED = ("device", "precision", "threads", "processor", "versions")  # what a resumed run should find again


def new_folder(wanted: Path, numbered: bool) -> Path:
    """Make a folder that was not there: `wanted` itself, or the first of wanted-1 (-2), wanted-2 ... that is free."""
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
            say(f"{wanted} is there already and is left alone; this run goes to {folder}")
        return folder


def read_config(folder: Path) -> dict[str, Any]:
    """A run's config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"{folder} is not a run: it has no config.json; give the folder that alexnet train made")
    try:
        config = read_json(path)
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}); start the run anew") from error
    missing = [key for key in ("data", "fingerprint", "recipe", *COMPARED) if key not in config]
    if missing:
        raise UsageError(f"{path} is damaged (it lacks {', '.join(missing)}); start the run anew")
    return config
