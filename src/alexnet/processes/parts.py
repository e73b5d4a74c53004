"""A folder in which machines keep the parts of divided work until one of them puts the parts together. No torch.

    part-00002-of-00008/   appears whole or not at all
        part.json          format, version; shard: [2, 8]; job: what was asked of which model and data; images: how
                           many it has; files: bytes and SHA-256 of every other file
        ...                what the command found

A job is a flat record of JSON values: every part must have been made by the same one. `computed`, the device and type
that a part was computed with, must be equal in all parts; whoever puts them together need not have that device.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.errors import AlexNetError, UsageError
from alexnet.files import exclusive_lock, recover, sha256_of, whole_folder, write_json
from alexnet.processes.shards import Shard

FORMAT, VERSION = "alexnet part", 1
FACTS = "part.json"
COMPUTED = "computed"  # the key of a job that a merge does not know
NAMED = 3  # missing parts that are named
PART = re.compile(r"\.?part-(\d{5})-of-(\d{5})(?:\..*)?")  # its folder, and what its writers left beside it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A part in its folder."""

    folder: Path
    shard: Shard
    images: int
    made: bool = False  # now, and not by an earlier command

    def to_json(self) -> dict[str, Any]:
        """{"part", "shard", "images", "made"}."""
        return {"part": str(self.folder), "shard": str(self.shard), "images": self.images, "made": self.made}


@dataclass(frozen=True)
class Parts:
    """The parts of one job in a folder."""

    folder: Path
    job: Mapping[str, Any]  # has "command", and whatever tells one job from another

    def keep(self, shard: Shard, fill: Callable[[Path], int]) -> Kept:
        """Have `fill` write a part into an empty folder, unless the part is there, and sound.

        fill: returns the number of images in the part. Of several processes that make the same part one does, the
        others wait. UsageError where the folder has parts of another job or division, before anything is computed.
        """
        place = self.folder / _name(shard)
        self._refuse_others(shard.count)
        with exclusive_lock(place):
            if place.exists() and (damage := damage_of(place)):
                logger.warning("part %s is damaged (%s) and is made again", place, damage)
            elif place.exists():
                return Kept(place, shard, _facts(place)["images"])
            with whole_folder(place) as half:
                images = fill(half)
                facts = {"format": FORMAT, "version": VERSION, "shard": [shard.number, shard.count]}
                listed = {file.name: _listed(file) for file in sorted(half.iterdir())}
                write_json(half / FACTS, {**facts, "job": dict(self.job), "images": images, "files": listed})
        return Kept(place, shard, images, made=True)

    def all(self) -> list[Kept]:
        """Every part, in order, its checksums compared.

        UsageError for parts of another job or of several divisions, and for none; AlexNetError for missing and damaged
        ones. Each says what to run.
        """
        found = self._found()
        again = f"alexnet {self.job['command']} with the same arguments and --shard"
        if not found:
            raise UsageError(f"{self.folder} holds no parts; run {again} 1/N to N/N in place of --merge first")
        count = max(shard.count for shard in found)
        self._refuse_others(count)
        wanted = [Shard(number, count) for number in range(1, count + 1)]
        damages = {shard: damage_of(self.folder / _name(shard)) for shard in wanted}
        if bad := [shard for shard in wanted if damages[shard]]:
            named = ", ".join(f"{shard} ({damages[shard]})" for shard in bad[:NAMED])
            more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
            raise AlexNetError(
                f"{self.folder} lacks {len(bad)} of {count} parts: {named}{more}; run {again} {bad[0]} in place of "
                f"--merge{', then the others' if len(bad) > 1 else ''}"
            )
        return [Kept(place, shard, _facts(place)["images"]) for shard, place in found.items()]

    def _found(self) -> dict[Shard, Path]:
        """The parts that are there, in order, sound or not."""
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        found = {}
        for first, second in sorted({match.groups() for match in map(PART.fullmatch, names) if match}):
            shard = Shard(int(first), int(second))
            recover(self.folder / _name(shard))  # what a writer left that was killed while it replaced a damaged part
            if (self.folder / _name(shard)).is_dir():
                found[shard] = self.folder / _name(shard)
        return found

    def _refuse_others(self, count: int) -> None:
        """UsageError where there is a part of another job, or of another number of parts."""
        found = self._found()
        if strange := next((shard for shard in found if shard.count != count), None):
            raise UsageError(
                f"{self.folder} holds parts of {strange.count}, and {count} parts are wanted; keep to one number, "
                "remove the others, or name another --parts folder"
            )
        jobs = {place: _facts(place)["job"] for place in found.values() if not damage_of(place, contents=False)}
        for place, theirs in jobs.items():
            first = {COMPUTED: next(iter(jobs.values())).get(COMPUTED)}
            for key, mine in {**first, **self.job}.items():
                if json.dumps(theirs.get(key)) != json.dumps(mine):
                    raise UsageError(
                        f"{place} was made with {key} {_short(theirs.get(key))}, here it is {_short(mine)}; give all "
                        "shards and the merge the same model, data and settings, or name another --parts folder"
                    )


def damage_of(place: Path, contents: bool = True) -> str:
    """What is wrong with a part, "" for nothing. contents: compare checksums, too, and not sizes alone."""
    if not place.is_dir():
        return "missing"
    try:
        facts = _facts(place)
        if (facts["format"], facts["version"]) != (FORMAT, VERSION):
            return f"format {facts['format']!r} version {facts['version']}, not {FORMAT!r} version {VERSION}"
        for name, told in facts["files"].items():
            if not (place / name).is_file():
                return f"{name} is missing"
            if (place / name).stat().st_size != told["bytes"]:
                return f"{name} has {(place / name).stat().st_size} bytes instead of {told['bytes']}"
            if contents and sha256_of(place / name) != told["sha256"]:
                return f"the checksum of {name} is wrong"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{FACTS} cannot be read: {type(error).__name__}"
    return ""


def _facts(place: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((place / FACTS).read_text(encoding="utf-8"))
    return facts


def _listed(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _name(shard: Shard) -> str:
    return f"part-{shard.number:05d}-of-{shard.count:05d}"


def _short(value: Any) -> str:
    """A value of a job in a message: checksums by their first digits."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{64}", text) else text
