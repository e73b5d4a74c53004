"""What tells one piece of divided work from another. Imports no torch."""

import hashlib
from pathlib import Path
from typing import Any

from alexnet import __version__
from alexnet.inference.answers import Answering
from alexnet.processes.parts import COMPUTED, Parts
from alexnet.processes.shards import Division


def parts_of(division: Division, command: str, model: Answering, told: dict[str, Any]) -> Parts:
    """The parts of a command's work with a model. told: what else was asked, of which data, as JSON values."""
    job = {"command": command, "alexnet": __version__, "model": model.fingerprint(), **told}
    return Parts(division.folder, job if division.shard is None else {**job, COMPUTED: model.computed})


def stamp(path: Path) -> str:
    """The state of a file, its size and modification time, as `alexnet.data.samples.Source.fingerprint` takes it."""
    try:
        found = path.stat()
    except OSError:
        return "gone"
    return f"{found.st_size} {found.st_mtime_ns}"


def sha256(*texts: str) -> str:
    """Hexadecimal SHA-256 of texts, which may hold the bytes of file names that are no text."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()
