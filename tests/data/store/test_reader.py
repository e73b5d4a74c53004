"""Opening a store detects damage."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.images import digest
from alexnet.data.sources import open_source
from alexnet.data.store import Store, open_store, pack
from alexnet.data.store.format import DIGESTS, FACTS, seal
from alexnet.errors import DataError

SIZE = 32
ROW = SIZE * SIZE * 3


def all_images(store: Store) -> np.ndarray:
    return store.images(slice(None))


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_names(path: Path) -> None:
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "class_names": ["bee", "ant", "class 10"]}))


DAMAGES = {
    "a truncated shard": ("shard-00001.bin", lambda path: os.truncate(path, 100), "shard-00001.bin has 100 bytes"),
    "a flipped byte": ("shard-00002.bin", flip_byte, "checksum of shard-00002.bin"),
    "a missing shard": ("shard-00000.bin", Path.unlink, "shard-00000.bin: No such file"),
    "a changed label": ("samples.csv", lambda path: path.write_text(path.read_text()[:-2] + "0\n"), "samples.csv"),
    "missing samples": ("samples.csv", Path.unlink, "samples.csv"),
    "a changed reason": ("skipped.csv", lambda path: path.write_text("x" * path.stat().st_size), "skipped.csv"),
    "broken facts": ("store.json", lambda path: path.write_text('{"size": '), "store.json cannot be read"),
    "facts of another kind": ("store.json", lambda path: path.write_text("[]"), "store.json cannot be read"),
    "empty facts": ("store.json", lambda path: path.write_text(""), "store.json cannot be read"),
    "changed class names": ("store.json", change_names, "store.json was changed"),
    "missing facts": ("store.json", Path.unlink, "store.json is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_detected_and_named(damage: str, store: Store) -> None:
    open_store(store.folder)
    file, do, message = DAMAGES[damage]
    do(store.folder / file)
    with pytest.raises(DataError, match=f"store {re.escape(str(store.folder))} is damaged: .*{re.escape(message)}"):
        open_store(store.folder)


def test_checksums_of_large_stores_are_compared_on_request(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flip_byte(store.folder / "shard-00002.bin")
    monkeypatch.setattr("alexnet.data.store.reader.VERIFIED_BYTES", 1000)
    assert len(open_store(store.folder)) == 20
    with pytest.raises(DataError, match="checksum"):
        open_store(store.folder, verify=True)


def test_store_of_a_later_version_is_not_called_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.store.reader.VERSION", 0)
    monkeypatch.setattr("alexnet.data.store.reader.READABLE", (0,))
    with pytest.raises(DataError, match=r"version 3, this program reads .* version 0"):
        open_store(store.folder)


@pytest.mark.parametrize("version", [1, 2])
def test_store_of_an_earlier_version_is_read(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    with monkeypatch.context() as changed:
        for module in ("writer", "reader"):
            changed.setattr(f"alexnet.data.store.{module}.VERSION", version)
        old = pack(open_source(str(photos)), tmp_path / "old", SIZE)
    assert f'"version": {version}' in (old.folder / "store.json").read_text()
    assert len(open_store(old.folder, verify=True)) == 20


def test_missing_store_says_how_to_pack(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no store at .*alexnet pack"):
        open_store(tmp_path / "nowhere")


def test_shard_missing_after_opening_is_a_data_error(store: Store) -> None:
    (store.folder / "shard-00003.bin").unlink()
    with pytest.raises(DataError, match=r"is damaged: shard-00003\.bin"):
        all_images(store)


def test_content_depends_on_pixels_and_names_only(photos: Path, store: Store, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "ant" / "0.png", (1, 1))
    copied = pack(open_source(str(tmp_path / "copy")), tmp_path / "copied", SIZE, shard_bytes=6 * ROW)
    assert copied.content == store.content
    assert copied.fingerprint != store.fingerprint
    shutil.copy(photos / "ant" / "1.png", tmp_path / "copy" / "ant" / "0.png")
    changed = pack(open_source(str(tmp_path / "copy")), tmp_path / "changed", SIZE, shard_bytes=6 * ROW)
    (tmp_path / "copy" / "bee").rename(tmp_path / "copy" / "cat")
    renamed = pack(open_source(str(tmp_path / "copy")), tmp_path / "renamed", SIZE, shard_bytes=6 * ROW)
    assert len({store.content, changed.content, renamed.content}) == 3


def test_digests_are_those_of_the_pixels_kept_or_computed_by_a_store_of_an_earlier_program(store: Store) -> None:
    assert store.digests == [digest(image).hex() for image in all_images(store)]
    facts = json.loads((store.folder / FACTS).read_text())
    del facts["seal"], facts["files"][DIGESTS]
    (store.folder / FACTS).write_text(json.dumps({**facts, "seal": seal(facts)}))
    (store.folder / DIGESTS).unlink()
    earlier = open_store(store.folder)
    assert not earlier.keeps_digests
    assert (earlier.digests, earlier.content) == (store.digests, store.content)
