"""Models on a hub by name: hub:OWNER/NAME, or hub:OWNER/NAME@REVISION; found, fetched, pinned, verified.

One file is fetched, model.safetensors, with the card in it; it is read as safetensors and JSON and as nothing else.
A branch or tag is resolved to the commit that it names now, and messages name that commit. The file lies in
huggingface_hub's cache (HF_HUB_CACHE), where it is found without a network, too.
"""

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.errors import UsageError, WeightsError
from alexnet.weights.hub_client import client, endpoint, is_unreachable, plain_errors, quiet, reason, status_of

PREFIX = "hub:"
FILE = "model.safetensors"
BRANCH = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # Git's of a small file; SHA-256 of one in large file storage
PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")  # OWNER or NAME
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,254}")

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A model on a hub."""

    repository: str  # "owner/name"
    revision: str  # a branch, a tag or a commit

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a whole commit, which never changes."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + ("" if self.revision == BRANCH else f"@{self.revision}")


class Fetched(NamedTuple):
    """A model's file on this machine."""

    file: Path
    name: str  # "hub:owner/name@commit"


def is_name(model: object) -> bool:
    """Whether this is, or is meant as, a model on a hub, whatever file of that name lies around."""
    return isinstance(model, str | os.PathLike) and os.fsdecode(model).startswith(PREFIX)


def place_of(name: str | os.PathLike[str]) -> Place:
    """The model that a name means; UsageError for a name that no hub has."""
    text = os.fsdecode(name).replace("\\", "/")  # a path on Windows turns its slashes
    repository, at, revision = text.removeprefix(PREFIX).partition("@")
    if at and (not REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
        raise UsageError(f"{text!r} names no revision after the @; give a branch, a tag or a commit of 40 digits")
    return Place(checked_repository(repository, text), revision or BRANCH)


def checked_repository(repository: str, given: str | None = None) -> str:
    """The same "owner/name"; UsageError, which shows `given`, for what no hub takes as one."""
    parts = repository.split("/")
    strange = any(mark in repository for mark in ("--", "..")) or repository.endswith(".git")
    if len(parts) != 2 or strange or not all(PART.fullmatch(part) for part in parts):
        raise UsageError(
            f"{given or repository!r} is no model of a hub; give OWNER/NAME, each of letters, digits, '-', '_' and '.',"
            " beginning with a letter or digit, without '--' and '..'"
        )
    return repository


def fetch(name: str | os.PathLike[str]) -> Fetched:
    """The file of a model on a hub, downloaded where it is not in the cache, and its name with the commit.

    UsageError for a name that no hub has, WeightsError for a model that is not there, cannot be had, or whose file is
    not what the hub announces. Without a network the cached file of the revision is taken, which is said.
    """
    place, hub = place_of(name), client()
    cached = _cached(hub, place)
    if cached is not None and place.is_pinned:
        return _verified(cached, _announced_by(cached.file), place)
    with plain_errors(str(place), WeightsError), quiet():
        try:
            told = _ask(hub, place)
        except Exception as error:
            if not is_unreachable(error) or cached is None:
                raise
            log.warning("no answer from %s (%s): using the cached %s", endpoint(), reason(error), cached.name)
            return _verified(cached, _announced_by(cached.file), place)
        if cached is None or cached.name != told.name:
            log.info(
                "fetching %s (%s)", told.name, "unknown size" if told.size is None else f"{told.size / 1e6:.1f} MB"
            )
        found = _download(hub, place)
    if found.name != told.name:
        raise WeightsError(f"{place} changed from {told.name} to {found.name} while it was fetched; run again")
    if not place.is_pinned:
        log.info("%s is %s", place, found.name)
    return _verified(found, told.checksum, place)


class _Told(NamedTuple):
    """What a hub announces of a file."""

    name: str
    checksum: str
    size: int | None  # bytes


def _ask(hub: Any, place: Place) -> _Told:
    """What the hub says of the model's file; WeightsError for an answer that cannot be a hub's."""
    url = hub.hf_hub_url(place.repository, FILE, revision=place.revision, endpoint=endpoint())
    found = hub.get_hf_file_metadata(url, endpoint=endpoint())
    commit, checksum = found.commit_hash or "", found.etag or ""
    if not COMMIT.fullmatch(commit) or not CHECKSUM.fullmatch(checksum):
        raise WeightsError(
            f"{place}: {endpoint()} tells no commit and checksum of {FILE}, as a hub does; check HF_ENDPOINT"
        )
    if place.is_pinned and commit != place.revision:
        raise WeightsError(f"{place}: {endpoint()} answers with the commit {commit}; nothing of it is used")
    return _Told(f"{PREFIX}{place.repository}@{commit}", checksum, found.size)


def _download(hub: Any, place: Place) -> Fetched:
    """The file in the cache, fetched where it is not."""
    try:
        path = hub.hf_hub_download(place.repository, FILE, revision=place.revision, endpoint=endpoint())
    except OSError as error:
        if status_of(error) is not None or is_unreachable(error):
            raise
        raise WeightsError(f"{place} was not received as announced ({' '.join(str(error).split())[:200]})") from error
    return _fetched(place, Path(path))


def _cached(hub: Any, place: Place) -> Fetched | None:
    """The file as the cache has it, without asking the hub."""
    path = hub.try_to_load_from_cache(place.repository, FILE, revision=place.revision)
    return _fetched(place, Path(path)) if isinstance(path, str) else None


def _fetched(place: Place, file: Path) -> Fetched:
    """The cache keeps a commit's files in a folder of its name."""
    return Fetched(file, f"{PREFIX}{place.repository}@{file.parent.name}")


def _announced_by(file: Path) -> str | None:
    """The checksum by which the cache keeps a file; None where the system has no links."""
    name = file.resolve().name
    return name if CHECKSUM.fullmatch(name) else None


def _verified(found: Fetched, checksum: str | None, place: Place) -> Fetched:
    """The same; WeightsError, and the file is removed from the cache, where it has another checksum."""
    if checksum is not None and _digest(found.file, checksum) != checksum:
        for path in (found.file.resolve(), found.file):
            path.unlink(missing_ok=True)
        raise WeightsError(
            f"{place}: {FILE} is not what the hub announces (checksum {checksum[:12]}...); it was removed, run again"
        )
    return found


def _digest(file: Path, like: str) -> str:
    """The checksum of a file in hexadecimal, of the kind of `like`: SHA-256, or SHA-1 as Git names contents."""
    with file.open("rb") as content:
        if len(like) == 64:
            return hashlib.file_digest(content, "sha256").hexdigest()
        digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
        while block := content.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
