"""Paths of this machine: found in what a run recorded, taken out of what is published, and searched for at the end.

A run's config.json holds where its photos lie and the command that made it; a weights file's card repeats some of it.
"""

import json
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

ABSOLUTE = re.compile(
    r"(?:^|(?<=[=:,\s\"']))(?:[A-Za-z]:)?[/\\][^,\"']+"
)  # in "imagenet:/data/x", "/a.csv,/b.csv:kind"


def local_paths(recorded: Any, folder: Path) -> frozenset[str]:
    """Every path of a machine that a run's record names, with the folders above it, and those of this machine.

    recorded: JSON values, such as those of config.json. folder: the run's. Single names such as "/data" are not
    among them: they are too short to tell them from other text.
    """
    named = [found for text in strings(recorded) for found in absolute_paths(text)]
    here = [str(path) for place in (folder, Path.cwd()) for path in (place.absolute(), place.resolve())]
    told = {each for path in [*named, *here] for each in _with_parents(path)}
    home = str(Path.home())
    return frozenset(told | ({home} if len(home) > 1 else set()))


def absolute_paths(text: str) -> Iterator[str]:
    """The absolute paths in a text, of any system: as they stand, and without the column that may follow a table."""
    for found in ABSOLUTE.findall(text):
        path = found.rstrip()
        yield path
        if ":" in path[2:]:  # behind a drive's letter
            yield path[: path.rindex(":")]


def without(value: Any, local: Iterable[str]) -> Any:
    """JSON values in which each of these paths is its last name alone."""
    longest_first = sorted(local, key=len, reverse=True)
    if isinstance(value, str):
        for path in longest_first:
            value = value.replace(path, _last_name(path))
        return value
    if isinstance(value, dict):
        return {without(name, longest_first): without(each, longest_first) for name, each in value.items()}
    return [without(each, longest_first) for each in value] if isinstance(value, list | tuple) else value


def told_in(file: Path, local: Iterable[str]) -> str | None:
    """One of these paths that a file holds, the longest; None where it holds none. file: .md, .json, .safetensors."""
    texts = list(_texts(file))
    return next((path for path in sorted(local, key=len, reverse=True) if any(path in text for text in texts)), None)


def strings(value: Any) -> Iterator[str]:
    """Every text in JSON values, names of members too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def _texts(file: Path) -> Iterator[str]:
    """The texts of a file, those in JSON as they are meant and not as they are escaped."""
    if file.suffix == ".safetensors":
        with file.open("rb") as content:
            header = json.loads(content.read(struct.unpack("<Q", content.read(8))[0]))
        yield from strings(header)
        yield from (text for entry in header["__metadata__"].values() for text in strings(json.loads(entry)))
    elif file.suffix == ".json":
        yield from strings(json.loads(file.read_text(encoding="utf-8")))
    else:
        yield file.read_text(encoding="utf-8")


def _with_parents(path: str) -> Iterator[str]:
    """The path and the folders above it, as far as they have two names at least."""
    kind = PurePosixPath if path.startswith("/") else PureWindowsPath
    yield from (str(each) for each in (kind(path), *kind(path).parents) if len(each.parts) > 2)


def _last_name(path: str) -> str:
    kind = PurePosixPath if path.startswith("/") else PureWindowsPath
    return kind(path).name
